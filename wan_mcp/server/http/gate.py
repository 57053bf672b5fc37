"""What every request must pass before it is served: host, origin, rate limit, credentials, pace."""

import json
import math
import re
from collections.abc import Awaitable, Iterable
from contextlib import suppress

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp.server.http.access import TooManyRequests, Unavailable
from wan_mcp.server.http.bodies import MAX_VALUES, values_in
from wan_mcp.server.http.limits import RateLimits, network_of

PROBES = ("/healthz", "/readyz")
"""Answered for any host name, since probes use addresses; the answers have nothing secret."""
BODY_PAUSE = 20.0
"""Seconds without any data after which a request's body is given up."""
BODY_SECONDS = 120.0
"""Seconds that a request's body may take in all."""
VIDEOS, UPLOADS = "/videos/", "/uploads/"
"""The beginnings of the paths of signed addresses: whoever has one needs no credentials."""
UPLOAD_SECONDS = 600.0
"""The same for an upload, which may come over a slow network."""
MAX_DIGITS = 8
"""Of the length of a body that is read although it was refused: many clients read no answer before that."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.IGNORECASE)
_BEARER = re.compile(rb"bearer +(\S+) *", re.IGNORECASE)
TOKEN_HEADER, KEY_HEADER = b"authorization", b"x-api-key"

_CLOSE = ("connection", "close")

RawHeaders = list[tuple[bytes, bytes]]


class _Refusal(Exception):
    """Why a request is refused before it is read."""

    def __init__(self, status: int, error: str, description: str, *headers: tuple[str, str]) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        self.headers = headers


class Gate:
    """ASGI middleware: refuses a request, or passes it on with its credentials in one form.

    Args:
        app: what follows.
        hosts: the names by which callers may know this server, in lower case.
        own_pages: whether web pages at this server's own address may call; all others are refused.
        origin: the public one, at which the server's own page for uploads is.
        takes_keys: whether a key may also be in ``X-API-Key``.
        limits: how many requests an address may make.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        own_pages: bool,
        origin: str,
        takes_keys: bool,
        limits: RateLimits,
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._own_pages = own_pages
        self._origin = origin.lower()
        self._takes_keys = takes_keys
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if path_of(scope) in PROBES:
            scope["headers"] = _without_credentials(scope["headers"])
            await self._app(scope, receive, send)
            return

        def refusing(message: Message) -> Awaitable[None]:
            return send(_closing(message, scope["headers"]))

        try:
            self._limits.take(network_of((scope.get("client") or ("unknown", 0))[0]))
            self._check(Headers(scope=scope), path_of(scope))
            is_signed = path_of(scope).startswith((VIDEOS, UPLOADS))
            headers: RawHeaders = scope["headers"]
            scope["headers"] = _without_credentials(headers) if is_signed else self._credentials(headers)
            await _with_bounds(self._app, scope, receive, send)
        except _Refusal as refusal:
            await _refuse(refusal, refusing)
        except TooManyRequests as error:
            await _refuse(_later(429, "too_many_requests", str(error), error.retry_after), refusing)
        except Unavailable as error:
            await _refuse(_later(503, "temporarily_unavailable", str(error), error.retry_after), refusing)

    def _check(self, headers: Headers, path: str) -> None:
        """Refuse what a web page could do to a server that its user can reach (DNS rebinding)."""
        match = _HOST.fullmatch(headers.get("host", ""))
        if match is None or len(headers.getlist("host")) > 1 or match[1].lower() not in self._hosts:
            raise _Refusal(421, "invalid_host", "This server is not known by that name.")
        if path.startswith(VIDEOS):  # a page that shows a video has its signed address
            return
        allowed = {f"http://{match[0].lower()}"} if self._own_pages else set()
        if path.startswith(UPLOADS):
            allowed.add(self._origin)
        if any(origin.lower() not in allowed for origin in headers.getlist("origin")):
            raise _Refusal(403, "invalid_origin", "Web pages of that origin may not call this server.")

    def _credentials(self, headers: RawHeaders) -> RawHeaders:
        """The headers with at most one credential, in ``Authorization``."""
        tokens = [_token(value) for name, value in headers if name == TOKEN_HEADER]
        keys = [value.strip() for name, value in headers if name == KEY_HEADER]
        if len({*tokens, *keys}) > 1:
            raise _Refusal(400, "invalid_request", "There are two different credentials; send one.")
        accepted = [*tokens, *(keys if self._takes_keys else [])]
        sent = [(TOKEN_HEADER, b"Bearer " + accepted[0])] if accepted and accepted[0] else []
        return [*_without_credentials(headers), *sent]


def _token(authorization: bytes) -> bytes:
    """What follows the word Bearer; empty for any other scheme."""
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else b""


def _without_credentials(headers: RawHeaders) -> RawHeaders:
    return [(name, value) for name, value in headers if name not in (TOKEN_HEADER, KEY_HEADER)]


def path_of(scope: Scope) -> str:
    """The path of a request, without that at which another application has mounted this one."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


async def _with_bounds(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request whose body has to arrive at some pace; what comes after it may take any time.

    Raises:
        _Refusal: when it does not, or has too many values; to the application, the client seems to be gone.
    """
    is_upload = path_of(scope).startswith(UPLOADS)
    deadline = anyio.current_time() + (UPLOAD_SECONDS if is_upload else BODY_SECONDS)
    is_complete = has_begun = False
    refusal: _Refusal | None = None
    values = 0

    async def bounded() -> Message:
        nonlocal is_complete, refusal, values
        if is_complete:
            return await receive()
        with anyio.move_on_after(0 if refusal else min(BODY_PAUSE, deadline - anyio.current_time())):
            message = await receive()
            is_complete = message["type"] != "http.request" or not message.get("more_body", False)
            values += 0 if is_upload else values_in(message.get("body", b""))
            if values <= MAX_VALUES:
                return message
            refusal = _Refusal(413, "too_many_values", f"A request may have {MAX_VALUES} values.", _CLOSE)
        refusal = refusal or _Refusal(408, "request_timeout", "The request did not arrive in time.", _CLOSE)
        is_complete = False
        return {"type": "http.disconnect"}

    async def unless_refused(message: Message) -> None:
        nonlocal has_begun
        if refusal is None or has_begun:
            has_begun = True
            await send(message if is_complete else _closing(message, scope["headers"]))

    with suppress(ClientDisconnect):  # nobody is there to be answered, unless it is refused
        await app(scope, bounded, unless_refused)
    if refusal is not None and not has_begun:
        raise refusal


def _closing(message: Message, headers: RawHeaders) -> Message:
    """An answer to a request whose body is not read: what may have no end is not read on, either."""
    sizes = [value for name, value in headers if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in headers)
    is_long = is_chunked or any(not size.isdigit() or len(size) > MAX_DIGITS for size in sizes)
    if message["type"] != "http.response.start" or not is_long:
        return message
    if any(name.lower() == b"connection" for name, _ in message["headers"]):
        return message
    return {**message, "headers": [*message["headers"], (b"connection", b"close")]}


def _later(status: int, error: str, description: str, seconds: float) -> _Refusal:
    return _Refusal(status, error, description, ("retry-after", str(max(math.ceil(seconds), 1))))


async def _refuse(refusal: _Refusal, send: Send) -> None:
    body = json.dumps({"error": refusal.error, "error_description": refusal.description}).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), *refusal.headers]
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
