"""Real videos, a real server that sends them oddly, and the whole way from the tool to the file."""

import functools
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import av
from anyio.abc import SocketAttribute, SocketStream
from mcp import Client
from mcp.types import CallToolResult

from tests.calls import ARGUMENTS, call
from tests.world import KEY, fetch
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings


@functools.cache
def video(kind: str, **options: str) -> bytes:
    """A second of moving picture, in a container of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        formats = {"mkv": "matroska", "ts": "mpegts"}
        with av.open(path, "w", format=formats.get(kind, kind), options=dict(options)) as container:
            stream = container.add_stream("libvpx" if kind == "webm" else "mpeg4", rate=24)
            stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
            for number in range(24):
                frame = av.VideoFrame(320, 180, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([number * 10]) * plane.buffer_size)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def plays(path: Path) -> tuple[int, int, int]:
    """Width, height and number of the pictures that a decoder finds in a file."""
    with av.open(path) as container:
        pictures = list(container.decode(video=0))
    return pictures[0].width, pictures[0].height, len(pictures)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def answer(
    body: bytes, *headers: str, status: str = "200 OK", length: int | None = -1, kind: str = "video/mp4"
) -> bytes:
    """An answer as it goes over the wire; without a length, it ends with the connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, *headers: str, end: bytes = b"0\r\n\r\n") -> bytes:
    """The same in chunks."""
    parts = [body[start : start + 5000] for start in range(0, len(body), 5000)]
    content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end
    return answer(content, "Transfer-Encoding: chunked", *headers, length=None)


class Wire:
    """A server that answers each path with bytes of its own, one by one, and the last ones for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, list[bytes]] = {}
        self.requests: list[str] = []

    def link(self, name: str, *answers: bytes) -> str:
        self.answers[f"/{name}"] = list(answers)
        return f"{self.url}/{name}?signature=secret"

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            self.requests.append(head.decode())
            waiting = self.answers[head.split()[1].decode().partition("?")[0]]
            try:
                await stream.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])
            except anyio.BrokenResourceError:
                return  # the client has read enough


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Wire()
    server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()


def settings(url: str, folder: Path, **environ: str) -> Settings:
    """Those with which a sandbox at ``url`` is used, with everything in ``folder``."""
    given = {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "WAN_MCP_OUTPUT_DIR": str(folder / "videos"),
        "WAN_MCP_IMAGE_CHECK": "0",
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
    }
    return Settings.load(given | environ)


async def save_video(folder: Path, *links: str, **arguments: Any) -> CallToolResult:
    """The answer of the tool for a task with these results."""
    sandbox = Sandbox(seconds=0, key=KEY, fetch=fetch)
    async with running(sandbox) as url, Client(create_server(settings(url, folder))) as client:
        made = (await call(client, "generate_video", **ARGUMENTS)).structured_content
        assert made is not None
        sandbox.faults.add(Fault("task", "patch", times=None, body={"results": list(links)}))
        return await call(client, "save_video", task_id=made["id"], **arguments)
