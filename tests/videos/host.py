"""A host of videos, and saving from it."""

import random
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint
from mcp import Client

from tests.calls import ARGUMENTS, call
from tests.world import Web, World, resolve
from wan_mcp.errors import VideoError
from wan_mcp.ledger import Saved
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.videos import download as videos

HOST = "media.example.com"
LINK = f"https://{HOST}/film.mp4?signature=secret"
PIECE = 2500

Answer = Callable[[httpx2.Request], httpx2.Response]


def film(size: int = 50_000, seed: int = 0) -> bytes:
    """A file whose boxes are right, and whose every byte counts."""
    head = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08moov"
    media = random.Random(seed).randbytes(size - len(head) - 8)
    return head + struct.pack(">I4s", len(media) + 8, b"mdat") + media


FILM, OTHER = film(), film(60_000, seed=1)


class Body(httpx2.AsyncByteStream):
    """Bytes that come in pieces, slowly or not, and break off in the middle or not."""

    def __init__(
        self, content: bytes, *, cut: int | None = None, every: float = 0, piece: int = PIECE
    ) -> None:
        self._content, self._cut, self._every, self._piece = content, cut, every, piece
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._content if self._cut is None else self._content[: self._cut]
        for start in range(0, len(content), self._piece):
            await anyio.sleep(self._every)
            part = content[start : start + self._piece]
            self.sent += len(part)
            yield part
        if self._cut is not None:
            raise httpx2.ReadError("connection reset")


class Host(httpx2.AsyncBaseTransport):
    """A host that serves one file; what is in ``script`` is answered first, one by one."""

    def __init__(
        self,
        content: bytes = FILM,
        *script: Answer,
        ranges: bool = True,
        headers: Mapping[str, str] = {"etag": '"1"'},
        every: float = 0,
    ) -> None:
        self.content, self.script, self.ranges, self.headers = content, list(script), ranges, dict(headers)
        self.every = every
        self.requests: list[httpx2.Request] = []
        self.bodies: list[Body] = []

    @property
    def sent(self) -> int:
        return sum(body.sent for body in self.bodies)

    @property
    def asked(self) -> list[str | None]:
        """The range that each request asked for."""
        return [request.headers.get("range") for request in self.requests]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await checkpoint()
        self.requests.append(request)
        response = self.script.pop(0)(request) if self.script else self.serve(request)
        if isinstance(response.stream, Body):
            self.bodies.append(response.stream)
        return response

    def serve(
        self, request: httpx2.Request, *, cut: int | None = None, length: str | None = ""
    ) -> httpx2.Response:
        """The file, or the rest of it; ``cut`` counts from the beginning of what is asked for."""
        wanted = request.headers.get("range")
        tags = (self.headers.get("etag"), self.headers.get("last-modified"))
        total = len(self.content)
        if not wanted or not self.ranges or request.headers.get("if-range") not in tags:
            first, status, about = 0, 200, {}
        elif (first := int(wanted.removeprefix("bytes=").removesuffix("-"))) >= total:
            return httpx2.Response(416, headers={"content-range": f"bytes */{total}"})
        else:
            status, about = 206, {"content-range": f"bytes {first}-{total - 1}/{total}"}
        if length is not None:
            about["content-length"] = length or str(total - first)
        body = Body(self.content[first:], cut=cut, every=self.every)
        return httpx2.Response(
            status, headers=self.headers | {"content-type": "video/mp4"} | about, stream=body
        )

    def cut(self, after: int, length: str | None = "") -> Answer:
        return partial(self.serve, cut=after, length=length)


def status(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx2.Response(code, headers=named, content=b"<html>no</html>")


def page(kind: str, content: bytes) -> Answer:
    return lambda request: httpx2.Response(200, headers={"content-type": kind}, stream=Body(content))


async def silent(received: int, length: int | None) -> None:
    """A notice to nobody."""


async def save(
    host: Host,
    folder: Path,
    name: str = "film",
    notice: videos.OnProgress = silent,
    link: str = LINK,
    allow_private: bool = False,
) -> Saved:
    """Save what the host serves, through the same checks of addresses as the server does."""
    safe = PublicFetcher(transport=host, resolve=resolve, allow_private=allow_private)

    def stream(link: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[httpx2.Response]:
        return safe.stream(link, headers=headers, deadline=videos.MAX_SECONDS)

    return await videos.save(link, folder, name, stream, notice)


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden or not."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


async def refused(host: Host, folder: Path, **options: Any) -> VideoError:
    """The error of a save that must fail and leave nothing behind."""
    with pytest.raises(VideoError) as caught:
        await save(host, folder, **options)
    assert files(folder) == {}
    assert "secret" not in str(caught.value)
    assert caught.value.charged == "no"
    return caught.value


class Media(httpx2.AsyncBaseTransport):
    """The host of the videos, in front of everything else."""

    def __init__(self, host: Host, others: httpx2.AsyncBaseTransport) -> None:
        self._host, self._others = host, others

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        chosen = self._host if request.headers["host"] == HOST else self._others
        return await chosen.handle_async_request(request)


def put_behind(world: World, host: Host) -> None:
    """From now on the result links of this world lead to the host."""
    world.transport = Web(Media(host, world.transport))


async def finished(client: Client) -> str:
    """The id of a task that has just been finished."""
    asked = (await call(client, "generate_video", **ARGUMENTS)).structured_content
    assert asked is not None
    await anyio.sleep(130)
    return str(asked["id"])
