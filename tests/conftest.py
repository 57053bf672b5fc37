"""What all tests share: a clock that jumps instead of waiting, the sandbox, and a server over it."""

from __future__ import annotations

import asyncio
import functools
import io
import selectors
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx2
import hypothesis
import pytest
from mcp import Client
from mcp.server import MCPServer
from PIL import Image
from pydantic import SecretStr

from wan_mcp.evolink import Evolink
from wan_mcp.generation.service import Studio
from wan_mcp.sandbox import Sandbox, create_app
from wan_mcp.sandbox.records import Books
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

# Shared machines are slow at times: no example has a deadline. The long form is run by hand.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile("default")

EPOCH = 1_790_000_000.0
KEY = "sk-canary-0123456789abcdef"


class JumpingSelector(selectors.DefaultSelector):
    """Where the loop would sleep until its next timer, time jumps there instead.

    While a worker thread is busy its end is awaited for real: that is not idle time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or super().select(timeout)
        if _threads_are_busy():
            return super().select(timeout)
        self.jumped += timeout
        return []


def _threads_are_busy() -> bool:
    try:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
    except Exception:  # outside of a task there is no limiter yet
        return False


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.jumped


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": JumpingLoop}


def now() -> float:
    """The tests' wall clock: it jumps together with the loop's."""
    return EPOCH + asyncio.get_running_loop().time()


@functools.cache
def picture(width: int = 800, height: int = 600, kind: str = "PNG") -> bytes:
    """A picture that Evolink takes."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(stream, kind)
    return stream.getvalue()


async def fetch(url: str) -> bytes:
    """Every web address shows the same picture."""
    return picture()


def film(content: bytes, seconds: int, quality: str) -> bytes:
    """Enough of an MP4 file for whoever looks only at its beginning."""
    return b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(1000)


class Web(httpx2.AsyncBaseTransport):
    """A web in which pictures.example.com shows a picture, and all other hosts are the sandbox."""

    def __init__(self, sandbox: httpx2.AsyncBaseTransport) -> None:
        self._sandbox = sandbox

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.headers["host"] == "pictures.example.com":
            return httpx2.Response(200, content=picture(), headers={"content-type": "image/png"})
        return await self._sandbox.handle_async_request(request)


async def resolve(host: str, port: int) -> list[str]:
    """Every name leads to the same public address."""
    return ["93.184.215.14"]


class World:
    """A sandbox, and everything that is connected to it without a network."""

    def __init__(self, folder: Path, **options: Any) -> None:
        defaults: dict[str, Any] = {"clock": now, "fetch": fetch, "film": film, "key": KEY}
        self.sandbox = Sandbox(**(defaults | options))
        self.transport = Web(httpx2.ASGITransport(create_app(self.sandbox)))
        self.environ = {
            "EVOLINK_API_KEY": KEY,
            "WAN_MCP_DATA_DIR": str(folder / "data"),
            "WAN_MCP_OUTPUT_DIR": str(folder / "videos"),
            "WAN_MCP_IMAGE_DIRS": str(folder),
        }

    @property
    def books(self) -> Books:
        return self.sandbox.books

    def evolink(self) -> Evolink:
        return Evolink(SecretStr(KEY), transport=self.transport)

    def studio(self, **environ: str) -> Studio:
        settings = Settings.load(self.environ | environ)
        return Studio(settings, transport=self.transport, resolve=resolve, clock=now)

    def server(self, **environ: str) -> MCPServer[Studio]:
        settings = Settings.load(self.environ | environ)
        return create_server(settings, open_studio=lambda _: self.studio(**environ))

    @asynccontextmanager
    async def client(self, mode: Any = "auto", **environ: str) -> AsyncIterator[Client]:
        async with Client(self.server(**environ), mode=mode) as client:
            yield client


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, seconds=120)
