"""Where pictures are uploaded: a page for people, and a PUT for it and for programs such as curl."""

import base64
import hashlib
import json
import logging
import math
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from wan_mcp.errors import PictureError, StorageError, reason_of
from wan_mcp.evolink.values import iso
from wan_mcp.generation.outcomes import FROM_PICTURE
from wan_mcp.generation.services import Services
from wan_mcp.generation.uploads import MAX_UPLOAD, Arrival, Inbox
from wan_mcp.images.decoding import format_of
from wan_mcp.server.http.bodies import Turns
from wan_mcp.server.http.gate import UPLOADS, path_of
from wan_mcp.server.told import told
from wan_mcp.storage.links import LinkError

logger = logging.getLogger(__name__)

METHODS = "GET, HEAD, PUT"
IN_MEMORY = 256 * 1024
"""Bytes of a picture that are held in memory while it arrives; what follows goes to a temporary file."""
RECEIVED_OF_AN_OWNER, RECEIVED_OF_ALL = 8, 64
"""Uploads that arrive at the same time; others wait, unread."""
CHECKED_OF_AN_OWNER, CHECKED_OF_ALL = 1, 2
"""Uploads that are in memory as a whole, to be checked and stored."""
TURN_SECONDS = 90.0
"""Seconds for which an upload waits for its turn."""
SLOWEST, SLOW_START = 8_000, 30.0
"""Bytes a second at which a picture has to arrive at least, on average, after so many seconds."""
RETRY_AFTER = "30"
"""Seconds, where the server itself is at fault."""
STILL_GOOD = "Nothing was stored; this address still takes a picture."
NEW_ONE = "Call prepare_upload for a new one."
FILE = "Send the file itself, as in: curl -T FILE 'ADDRESS'"

State = Literal["ready", "used", "expired", "unknown", "down"]
STATUS: dict[State, int] = {"ready": 200, "used": 200, "expired": 410, "unknown": 404, "down": 503}
"""Of the page."""


@dataclass(frozen=True)
class Refusal:
    """Why a picture is not taken, as it is answered."""

    status: int
    error: str
    description: str
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """Raised when a picture is not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.description)
        self.refusal = refusal


_CLOSE = ("connection", "close")
"""For requests of which much is still to come: it is not read."""
TOO_LARGE = Refusal(
    413, "too_large", f"The file has more than 20 MB. Send a smaller one. {STILL_GOOD}", (_CLOSE,)
)
FORM = Refusal(415, "form", f"This is a form with a file in it. {FILE} {STILL_GOOD}", (_CLOSE,))
PART = Refusal(400, "part", f"This is a part of a file. Send all of it at once. {STILL_GOOD}")
USED = Refusal(409, "used", f"A picture was uploaded here before. An address takes one. {NEW_ONE}")
EXPIRED = Refusal(410, "expired", f"This address has expired. {NEW_ONE}")
UNKNOWN = Refusal(404, "unknown", f"This is no upload address of this server. Copy all of it. Or: {NEW_ONE}")
DOWN = Refusal(
    503,
    "unavailable",
    f"The server cannot store pictures now. Try again in half a minute. {STILL_GOOD}",
    (("retry-after", RETRY_AFTER),),
)
BUSY = Refusal(
    503,
    "busy",
    f"Too many pictures are being uploaded now. Try again in half a minute. {STILL_GOOD}",
    (("retry-after", RETRY_AFTER), _CLOSE),
)
TOO_SLOW = Refusal(
    408, "too_slow", f"The picture arrives too slowly. Send a smaller file. {STILL_GOOD}", (_CLOSE,)
)
OTHER_METHOD = Refusal(405, "method_not_allowed", f"Use PUT. {FILE}", (("allow", METHODS),))


class UploadAddresses:
    """ASGI application that serves all upload addresses. Whoever has one needs no credentials.

    Args:
        inbox: where the pictures go.
        services: with the loader that checks them; None while the server starts or stops.
    """

    def __init__(self, inbox: Inbox, services: Callable[[], Services | None]) -> None:
        self._inbox = inbox
        self._services = services
        self._receiving = Turns(RECEIVED_OF_AN_OWNER, RECEIVED_OF_ALL)
        self._checking = Turns(CHECKED_OF_AN_OWNER, CHECKED_OF_ALL)
        self._under_way: set[anyio.CancelScope] = set()
        self._end = math.inf

    def end_within(self, seconds: float) -> None:
        """Let uploads go on for so long at most, before the server stops. Later ones are not stored."""
        self._end = anyio.current_time() + seconds
        for scope in self._under_way:
            scope.deadline = self._end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method in ("GET", "HEAD"):
            response = await self._page(request)
        else:
            try:
                response = await self._put(request)
            except Refused as error:
                refusal = error.refusal
                said = {"error": refusal.error, "error_description": refusal.description}
                response = _json(refusal.status, said, dict(refusal.headers))
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["cache-control"] = "no-store"
        response.headers["cross-origin-resource-policy"] = "same-origin"
        response.headers["content-security-policy"] = policy()
        await response(scope, receive, send)

    async def _page(self, request: Request) -> Response:
        """The page, in the state in which the address is. This does not use the address up."""
        state: State = "ready"
        seconds = 0
        try:
            arrival = self._inbox.arrival(_token(request))
            seconds = self._inbox.seconds_left(arrival)
            if await self._inbox.is_used(arrival):
                state = "used"
        except LinkError as error:
            state = "expired" if error.expired else "unknown"
        except StorageError:  # it has been logged
            state = "down"
        headers = {"retry-after": RETRY_AFTER} if state == "down" else None
        return HTMLResponse(page(state, seconds), STATUS[state], headers)

    async def _put(self, request: Request) -> Response:
        """Take a picture.

        Raises:
            Refused: when it is not taken. The address is used up only by a picture that was stored.
        """
        if request.method != "PUT":
            raise Refused(OTHER_METHOD)
        arrival = self._arrival(request)
        _check_headers(request)
        try:
            if await self._inbox.is_used(arrival):
                raise Refused(USED)
            until = await self._in_time(request, arrival)
        except StorageError:  # it has been logged
            raise Refused(DOWN) from None
        except OSError as error:
            logger.warning("uploads cannot be received: %s", reason_of(error))
            raise Refused(DOWN) from None
        if until is None:
            raise Refused(USED)
        image_url = f"upload:{arrival.id}"
        said = {
            "image_url": image_url,
            "usable_until": iso(until) or "",
            "next": f'The picture is uploaded. Call {FROM_PICTURE} with image_urls ["{image_url}"].',
        }
        return _json(201, said)

    def _arrival(self, request: Request) -> Arrival:
        try:
            return self._inbox.arrival(_token(request))
        except LinkError as error:
            raise Refused(EXPIRED if error.expired else UNKNOWN) from None

    async def _in_time(self, request: Request, arrival: Arrival) -> float | None:
        with anyio.CancelScope(deadline=self._end) as scope:
            self._under_way.add(scope)
            try:
                return await self._received(request, arrival)
            finally:
                self._under_way.discard(scope)
        raise Refused(DOWN)

    async def _received(self, request: Request, arrival: Arrival) -> float | None:
        """Read the picture, check it and store it; None where another one was faster."""
        async with (
            AsyncExitStack() as turn,
            anyio.SpooledTemporaryFile(max_size=IN_MEMORY) as file,
        ):
            with anyio.move_on_after(TURN_SECONDS) as waiting:  # who waits is not read, and may have left
                await turn.enter_async_context(self._receiving.held(arrival.by))
            if waiting.cancelled_caught:
                raise Refused(BUSY)
            size, began = 0, anyio.current_time()
            async for part in request.stream():
                size += len(part)
                if size > MAX_UPLOAD:
                    raise Refused(TOO_LARGE)
                if size < SLOWEST * (anyio.current_time() - began - SLOW_START):
                    raise Refused(TOO_SLOW)
                await file.write(part)
            async with self._checking.held(arrival.by):
                await file.seek(0)
                content = await file.read()
                await self._check(content)
                with anyio.CancelScope(shield=True):  # else nobody would know whether it is stored
                    until = await self._inbox.put(arrival, content)
        return until

    async def _check(self, content: bytes) -> None:
        services = self._services()
        if services is None:
            raise Refused(DOWN)
        try:
            await services.runtime.pictures.check(content)
        except PictureError as error:
            message, next_step = told(error, services.runtime.deployment)
            status = 422 if format_of(content) else 415
            said = f"The file {message}. {next_step} {STILL_GOOD}"
            raise Refused(Refusal(status, "not_usable", said)) from None


def _check_headers(request: Request) -> None:
    """Refuse what can be refused before the body is read. What type the client names does not matter."""
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refused(FORM)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 15 or int(length) > MAX_UPLOAD):
        raise Refused(TOO_LARGE)
    if "content-range" in request.headers:
        raise Refused(PART)


def _token(request: Request) -> str:
    """What follows the beginning of the path. With a slash in it, it is no token."""
    return path_of(request.scope).removeprefix(UPLOADS)


def _json(status: int, said: dict[str, str], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(said) + "\n", status, headers, "application/json")


def page(state: State, seconds: int) -> str:
    """The page of an address.

    Args:
        state: of the address.
        seconds: for which it still takes a picture.
    """
    return _html().replace("<html ", f'<html data-state="{state}" data-seconds="{seconds}" ', 1)


@cache
def policy() -> str:
    """The content security policy: nothing but the page's own script and style, and its PUT."""
    allowed = {}
    for kind in ("script", "style"):
        found = re.search(rf"<{kind}>(.*?)</{kind}>", _html(), re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        allowed[kind] = f"'sha256-{digest}'"
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _html() -> str:
    return Path(__file__).with_name("upload.html").read_text("utf-8")
