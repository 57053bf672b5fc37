"""The server over Streamable HTTP, as one ASGI application: ``create_app``."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from wan_mcp.errors import LedgerError
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.generation.uploads import Inbox
from wan_mcp.net.addresses import is_this_machine
from wan_mcp.server.app import Hosting, MakeRuntime, create_server
from wan_mcp.server.http import startup
from wan_mcp.server.http.access import current_owner
from wan_mcp.server.http.bodies import LargeBodies
from wan_mcp.server.http.callers import Callers, KeyCallers, TokenCallers
from wan_mcp.server.http.gate import UPLOADS, VIDEOS, Gate
from wan_mcp.server.http.limits import OF_AN_ADDRESS, RateLimits
from wan_mcp.server.http.metrics import Metrics
from wan_mcp.server.http.oauth import Tokens
from wan_mcp.server.http.request_log import NoteCall, RequestLog
from wan_mcp.server.http.uploads import UploadAddresses
from wan_mcp.server.http.videos import Videos
from wan_mcp.server.tools import tools_for
from wan_mcp.settings import Settings
from wan_mcp.storage.storage import Storage

logger = logging.getLogger(__name__)

PATH = "/mcp"
MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request: a picture of 10 MB as a data: URI, and a little more."""
READY_SECONDS = 1.0
"""Within which the ledger has to answer for the server to be ready."""
LAST_WORK = 2.0
"""Seconds that submissions have to end when the server stops; otherwise they stay open in the ledger."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVOLINK = "https://evolink.ai"

MakeTokens = Callable[[Settings], Tokens]


class Hosted:
    """A hosted server's state, from its start to its end: ``app.state.hosted``."""

    def __init__(self, callers: Callers, storage: Storage, inbox: Inbox, clock: Callable[[], float]) -> None:
        self.callers = callers
        self.videos = Videos(storage, clock)
        self._storage = storage
        self.services: Services | None = None
        self.uploads = UploadAddresses(inbox, lambda: self.services)
        self._is_draining = False
        self._check: _Check | None = None

    def drain(self) -> None:
        """Prepare to stop: answer waits and checks of who calls now; leave submissions ``LAST_WORK``."""
        self._is_draining = True
        self.callers.end_checks()
        self.videos.end_within(LAST_WORK)
        self.uploads.end_within(LAST_WORK)
        if self.services is not None:
            self.services.end_waits()
            self.services.runtime.stop_within(LAST_WORK)

    @asynccontextmanager
    async def serving(self, services: Services) -> AsyncIterator[None]:
        """Tell callers apart and serve them until this block ends."""
        self.services = self.callers.services = services
        services.runtime.run_until_exit(self._storage.objects.check)  # a failure is logged
        try:
            yield
        finally:
            self.services = None
            with anyio.move_on_after(1, shield=True):
                await self.callers.aclose()

    async def healthz(self, request: Request) -> JSONResponse:
        """Whether the process is alive."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> JSONResponse:
        """Whether new callers should be sent here."""
        if self._is_draining or self.services is None:
            return JSONResponse({"status": "stopping"}, 503)
        if not await self._ledger_answers(self.services.runtime):
            return JSONResponse({"status": "the ledger does not answer"}, 503)
        return JSONResponse({"status": "ok"})

    async def _ledger_answers(self, runtime: Runtime) -> bool:
        """Whether the ledger can be written soon. All share one check: its thread cannot be stopped."""
        if self._check is None:
            self._check = _Check()
            runtime.background.start_soon(self._run, self._check, runtime)
        check = self._check
        with anyio.move_on_after(READY_SECONDS):
            await check.ended.wait()
        return check.succeeded

    async def _run(self, check: "_Check", runtime: Runtime) -> None:
        try:
            await runtime.ledger.check()
            check.succeeded = True
        except LedgerError as error:
            logger.warning("not ready: %s %s", error.message, error.next_step)
        finally:
            self._check = None
            check.ended.set()


@dataclass
class _Check:
    """A check of the ledger that is under way, or its outcome."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    succeeded: bool = False


def create_app(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    make_runtime: MakeRuntime = Runtime,
    make_tokens: MakeTokens = Tokens,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The whole server. An application that mounts it must run its lifespan too.

    Args:
        settings: as loaded.
        host: the address of this machine at which it will listen.
        port: the port at which it will listen.
        make_runtime: replaces ``Runtime``.
        make_tokens: replaces ``Tokens``.
        clock: tells links when they expire, in Unix seconds.

    Raises:
        SettingsError: when a server with these settings must not start.
    """
    startup.check(settings, host)
    by_key = settings.auth == "key"
    if by_key:  # the key that setup keeps is not used either
        settings = settings.model_copy(update={"api_key": None})
    deployment = OWN_KEYS if by_key else ONE_ACCOUNT
    url = settings.public_url or address_of(host, port)
    storage = Storage.open(settings, url, clock)
    callers = KeyCallers() if by_key else TokenCallers(make_tokens(settings))
    state = Hosted(callers, storage, Inbox(storage, settings, clock), clock)
    server = create_server(
        settings,
        make_runtime=make_runtime,
        hosting=Hosting(
            deployment=deployment,
            whose=current_owner,
            auth=_auth(settings, url),
            verifier=callers,
            measures=Metrics(),
            storage=storage,
            video_domains=[storage.video_origin()],
            serving=state.serving,
            middleware=[NoteCall(definition.name for definition in tools_for(deployment))],
        ),
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        # The gate checks all paths; the SDK would check after it has asked who calls.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    _take_only_posts(app)
    app.router.routes += [
        Route("/healthz", state.healthz),
        Route("/readyz", state.readyz),
        Route(f"{VIDEOS}{{token}}", state.videos.answer, methods=["GET"]),
        Route(f"{UPLOADS}{{token:path}}", state.uploads),
    ]
    _guard(app, settings, host, url)
    app.state.hosted = state
    return app


def _guard(app: Starlette, settings: Settings, host: str, url: str) -> None:
    """Put the gate before all paths of the application, and the log before the gate."""
    app.add_middleware(
        Gate,
        hosts=(*LOOPBACK, _bracketed(urlsplit(url).hostname or "")),
        # The protocol's conformance suite asks for it. A page at another port has another origin.
        own_pages=settings.public_url is None and is_this_machine(host),
        origin=url,
        takes_keys=settings.auth == "key",
        limits=RateLimits(OF_AN_ADDRESS),
    )
    app.add_middleware(RequestLog)


def _take_only_posts(app: Starlette) -> None:
    """Serve a caller's POSTs, those with large bodies in turn.

    A GET is 405: without sessions its stream would have nothing to say, and never end.
    """
    [mcp] = [route for route in app.routes if isinstance(route, Route) and route.path == PATH]
    authenticated = mcp.endpoint
    assert isinstance(authenticated, RequireAuthMiddleware)
    serve, large = authenticated.app, LargeBodies()

    async def only_posts(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            async with large.received(scope["user"].username, receive) as received:
                await serve(scope, received, send)
        else:
            await Response(status_code=405, headers={"allow": "POST"})(scope, receive, send)

    authenticated.app = only_posts


def _auth(settings: Settings, url: str) -> AuthSettings:
    if settings.auth == "key":
        # No metadata: some clients stop sending their key once they see that there is OAuth.
        return AuthSettings.model_validate({"issuer_url": EVOLINK, "resource_server_url": None})
    return AuthSettings.model_validate(
        {
            "issuer_url": settings.oauth_issuer,  # as text, so that no slash is added to it
            "resource_server_url": f"{url}{PATH}",
            "required_scopes": (settings.oauth_scope or "").split(),
            "validate_token_resource": False,  # the audience that the settings name is checked
        }
    )


def address_of(host: str, port: int) -> str:
    """The server's address for clients on this machine."""
    return f"http://{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
