"""Serving a sandbox on a port of this machine."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from wan_mcp.sandbox.app import create_app
from wan_mcp.sandbox.sandbox import Sandbox

HOST = "127.0.0.1"
LAST_SECONDS = 1


@dataclass(frozen=True)
class Answered:
    """One request, for a log: nothing of its headers, its query or its body."""

    method: str
    path: str
    """As it was sent, percent-encoded."""
    status: int | None
    """None where there was no answer."""
    seconds: float
    fault: str | None
    """The kind of the fault that applied."""


OnAnswered = Callable[[Answered], None]


@asynccontextmanager
async def running(sandbox: Sandbox, port: int = 0, answered: OnAnswered | None = None) -> AsyncIterator[str]:
    """Serve the sandbox inside the running event loop, and yield its address. Port 0 is any free one."""
    listener = socket.create_server((HOST, port))
    # Answers of several small writes would wait for the peer's delayed acknowledgements.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _server(sandbox, answered)
    # Not a task group: it would wrap the errors of the caller's block.
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.stop()
        with anyio.CancelScope(shield=True):
            await serving


def serve(
    sandbox: Sandbox,
    port: int = 8787,
    *,
    listening: Callable[[str], None] = lambda url: None,
    answered: OnAnswered | None = None,
) -> None:
    """Serve the sandbox until Ctrl-C, or until the process is told to terminate.

    `listening` receives the address once it can be reached, and `answered` each request. Raises `OSError`.
    """
    with suppress(KeyboardInterrupt):
        anyio.run(_serve_until_told_to_stop, sandbox, port, listening, answered)


async def _serve_until_told_to_stop(
    sandbox: Sandbox, port: int, listening: Callable[[str], None], answered: OnAnswered | None
) -> None:
    async with running(sandbox, port, answered) as url:
        listening(url)
        try:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                await anext(signals)
        except NotImplementedError:  # on Windows, Ctrl-C comes as a KeyboardInterrupt
            await anyio.sleep_forever()


def _server(sandbox: Sandbox, answered: OnAnswered | None) -> "QuietServer":
    app: ASGIApp = create_app(sandbox)
    config = uvicorn.Config(
        _quiet(_observed(app, answered) if answered else app),
        http=ResettableProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return QuietServer(config)


class ResettableProtocol(H11Protocol):
    """A connection that puts its transport into the state of each request, so that a fault can break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class QuietServer(uvicorn.Server):
    """A server that handles no signals and ends at once, whatever is still open."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()


def _quiet(app: ASGIApp) -> ASGIApp:
    """The application; a call that `QuietServer.stop` cancels is not reported as an error."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise

    return call


def _observed(app: ASGIApp, answered: OnAnswered) -> ASGIApp:
    """The application; `answered` receives each request when it is over."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status = time.monotonic(), None

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await app(scope, receive, note)
        finally:
            path = scope["raw_path"].decode("ascii", "backslashreplace")
            fault = scope["state"]["call"].fault
            answered(Answered(scope["method"], path, status, time.monotonic() - began, fault))

    return call
