"""The signed addresses of kept videos: whoever has one may play and download it, until it expires."""

import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from wan_mcp.errors import StorageError
from wan_mcp.server.http.access import TooManyRequests, Unavailable
from wan_mcp.server.http.limits import network_of
from wan_mcp.storage.links import LinkError
from wan_mcp.storage.objects import Facts, disposition
from wan_mcp.storage.storage import Storage

logger = logging.getLogger(__name__)

STREAMS = 256
"""Videos that are sent at the same time at most."""
STREAMS_OF_A_VIDEO = 48
"""The same of one video."""
STREAMS_OF_AN_ADDRESS = 48
"""The same to one address; an office may share it."""
READER_PAUSE = 60.0
"""Seconds after which a reader who takes nothing is cut off; a player that was paused asks for the rest."""
CACHED = 3600
"""Seconds for which a browser may keep a video at most."""
RETRY_AFTER = 10.0
"""Seconds after which to try again when the storage fails."""

EXPIRED = (
    "This link has expired. For a new one call get_task; for a film, join_videos with the same videos.\n"
)
NOT_A_LINK = "There is no video at this address. Use the whole link, exactly as it was given.\n"
GONE = "This video is no longer kept here. While Evolink's link works, save_video keeps it again.\n"
NO_SUCH_BYTES = "The video has no such bytes.\n"

_RANGE = re.compile(r"bytes *= *(\d{0,100}) *- *(\d{0,100})", re.IGNORECASE | re.ASCII)
_VIDEO = re.compile(r"video/[a-z0-9.+-]{1,60}")
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",  # the card and other players are pages of other sites
    # A browser that opens the link makes a page with the video in it: of this origin, and without scripts.
    "Content-Security-Policy": "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; "
    "sandbox allow-same-origin allow-downloads",
}


class Videos:
    """Serves the videos of all owners.

    Args:
        storage: where they are.
        clock: the time, in Unix seconds.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._objects = storage.objects
        self._links = storage.links
        self._clock = clock
        self._streams: dict[anyio.CancelScope, tuple[str, str]] = {}
        """What is sent now: to whom, and which video."""

    def end_within(self, seconds: float) -> None:
        """Cut what is still being sent after that time."""
        for scope in self._streams:
            scope.deadline = anyio.current_time() + seconds

    async def answer(self, request: Request) -> Response:
        """The video of the address in the request's path, or the part of it that was asked for.

        Raises:
            Unavailable: when the storage fails, or too many videos are being sent.
            TooManyRequests: when too many are being sent to this address.
        """
        try:
            claims = self._links.read("videos", request.path_params["token"])
        except LinkError as error:
            return _refusal(410, EXPIRED) if error.expired else _refusal(404, NOT_A_LINK)
        try:
            facts = await self._objects.facts(claims["sub"])
        except StorageError as error:
            raise Unavailable("The storage of this server cannot be used now.", RETRY_AFTER) from error
        if facts is None:
            return _refusal(410, GONE)
        headers = self._headers(claims, facts)
        if _has_version(request.headers.get("if-none-match"), facts):
            return Response(status_code=304, headers=headers)
        return self._part(request, claims, facts, headers)

    def _headers(self, claims: dict[str, Any], facts: Facts) -> dict[str, str]:
        media_type = str(claims.get("type", ""))
        left = int(claims["exp"] - self._clock())
        return _SAFE | {
            "Content-Type": media_type if _VIDEO.fullmatch(media_type) else "application/octet-stream",
            "Content-Disposition": disposition(str(claims.get("name") or "video")),
            "Cache-Control": f"private, max-age={min(left, CACHED)}",
            "Accept-Ranges": "bytes",
            "ETag": facts.version,
        }

    def _part(
        self, request: Request, claims: dict[str, Any], facts: Facts, headers: dict[str, str]
    ) -> Response:
        start, end, status = 0, facts.size, 200
        if request.method == "GET" and request.headers.get("if-range", facts.version) == facts.version:
            part = part_of(request.headers.get("range", ""), facts.size)
            if part is not None and part[0] >= part[1]:
                return _refusal(416, NO_SUCH_BYTES, {"Content-Range": f"bytes */{facts.size}"})
            if part is not None:
                (start, end), status = part, 206
                headers |= {"Content-Range": f"bytes {start}-{end - 1}/{facts.size}"}
        headers |= {"Content-Length": str(end - start)}
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        chunks = self._objects.chunks(claims["sub"], start, end, facts=facts)
        return _Stream(chunks, status, headers, self._admitted(request, claims["sub"]), self._streams.pop)

    def _admitted(self, request: Request, key: str) -> anyio.CancelScope:
        """Count a video that is about to be sent."""
        reader = network_of(request.client.host if request.client else "unknown")
        if sum(one == reader for one, _ in self._streams.values()) >= STREAMS_OF_AN_ADDRESS:
            raise TooManyRequests(RETRY_AFTER)
        if sum(one == key for _, one in self._streams.values()) >= STREAMS_OF_A_VIDEO:
            raise TooManyRequests(RETRY_AFTER)
        if len(self._streams) >= STREAMS:
            raise Unavailable("Too many videos are being sent.", RETRY_AFTER)
        scope = anyio.CancelScope()
        self._streams[scope] = reader, key
        return scope


class _Stream(StreamingResponse):
    """Sends an object. Where that fails, the connection is cut: the length that was announced is missing.

    Args:
        chunks: its bytes.
        status: of HTTP.
        headers: with the length of what is sent.
        scope: ends it early.
        ended: called at the end.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        status: int,
        headers: Mapping[str, str],
        scope: anyio.CancelScope,
        ended: Callable[[anyio.CancelScope], object],
    ) -> None:
        super().__init__(chunks, status, headers)
        self._chunks = chunks
        self._scope = scope
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._scope:
                async with aclosing(self._chunks):
                    await super().__call__(scope, receive, send)
        finally:
            self._ended(self._scope)

    async def stream_response(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        try:
            async for chunk in self._chunks:
                with anyio.fail_after(READER_PAUSE):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except StorageError as error:
            logger.warning("a video broke off: %s", error.message)
        except TimeoutError:
            logger.info("a reader of a video took nothing for %d seconds", READER_PAUSE)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def part_of(wanted: str, size: int) -> tuple[int, int] | None:
    """The first byte of a range, and that after its last; none where the first is not below the second.

    Args:
        wanted: the header ``Range``.
        size: bytes of the whole.

    Returns:
        None for the whole: there is no range, or it is of several parts, or cannot be read.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return max(size - int(match[2]), 0), size
    first, last = int(match[1]), int(match[2] or size)
    if match[2] and last < first:
        return None
    return first, min(last + 1, size)


def _has_version(given: str | None, facts: Facts) -> bool:
    """Whether a condition names this version of the object, or any."""
    tags = [tag.strip().removeprefix("W/") for tag in (given or "").split(",")]
    return "*" in tags or facts.version in tags


def _refusal(status: int, text: str, headers: Mapping[str, str] = {}) -> Response:
    return PlainTextResponse(text, status, {**_SAFE, "Cache-Control": "no-store", **headers})
