"""``wan-mcp http``: the application under uvicorn, from its start to the end of the last answer."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from types import FrameType

import anyio
import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from wan_mcp.errors import SettingsError, reason_of
from wan_mcp.server.http import request_log, startup
from wan_mcp.server.http.app import LAST_WORK, PATH, address_of, create_app
from wan_mcp.server.http.metrics import exporting
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

LAST_ANSWERS = LAST_WORK + 0.4
"""Seconds after which a connection whose answer is not complete is cut, when the server is about to stop."""
END = 2.9
"""Seconds after which the process ends, whatever still holds it, such as a thread that decodes a picture."""
CONNECTIONS = 65_536
"""Files, and so connections, that the process may have open, where the system allows it."""
KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: longer than the proxies in front of it keep theirs."""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; then end all waits with their answer, and stop within three seconds.

    Raises:
        SettingsError: when a server with these settings must not start, or the address cannot be used.
    """
    startup.check(settings, host)
    if settings.database_url is not None:
        anyio.run(startup.try_ledger, settings)
    _allow_connections()
    listener = _listener(host, port)
    host, port = listener.getsockname()[:2]
    request_log.configure(settings.log_level)  # first: else the SDK's server would log to a terminal
    logger.setLevel(logging.INFO)
    app = create_app(settings, host=host, port=port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would show the queries of addresses
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_ANSWERS,  # type: ignore[arg-type] # passed on to a function that takes it
    )
    # sse-starlette would cut the waits before they have answered.
    AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
    gc.collect()
    gc.freeze()  # what is here now stays: the searches for garbage among many calls would go through it
    with exporting():
        logger.info("serving at %s%s, WAN_MCP_AUTH=%s", address_of(host, port), PATH, settings.auth)
        _Server(config, app).run([listener])
        logger.info("stopped")
    gc.freeze()  # Python would look through all objects once more when it ends: a third of a second or more


class _Server(uvicorn.Server):
    """Ends the waits before it stops."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:  # the second signal ends it at once
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.state.hosted.drain)
        last = threading.Timer(END, os._exit, [0])  # the ledger is safe: it survives a kill
        last.daemon = True
        last.start()


def _allow_connections() -> None:
    """Let the process have more connections than the 1,024 that most systems give unless they are asked."""
    if sys.platform == "win32":
        return
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS if most == resource.RLIM_INFINITY else min(CONNECTIONS, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise SettingsError(
            f"The server cannot listen at {host}, port {port}: {reason}.",
            next_step="Choose another one with --host and --port.",
        ) from error
    # Its connections inherit it; the loop sets it only on sockets that it has made itself. Without it,
    # an answer of several small writes waits for the client's delayed acknowledgement, some 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
