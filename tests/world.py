"""A sandbox without a network, and what is connected to it: services, servers, clients."""

import functools
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.server import MCPServer
from PIL import Image
from pydantic import SecretStr

from tests.clock import now
from tests.ledger.rows import forget
from wan_mcp.evolink import Connections, Evolink
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Sandbox, create_app
from wan_mcp.sandbox.records import Records
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

KEY = "sk-canary-0123456789abcdef"


@functools.cache
def picture(width: int = 800, height: int = 600, kind: str = "PNG") -> bytes:
    """A picture that Evolink takes."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(stream, kind)
    return stream.getvalue()


async def fetch(url: str) -> bytes:
    """Every web address shows the same picture."""
    return picture()


def render(content: bytes, seconds: int, quality: str) -> bytes:
    """Enough of an MP4 file for whoever looks only at its beginning."""
    return (
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08moov\x00\x00\x00\x00mdat"
        + bytes(1000)
    )


@functools.lru_cache(maxsize=64)
def render_one_second(content: bytes, seconds: int, quality: str) -> bytes:
    """A real video that is shorter than it says, so that tests of its frames are fast."""
    from wan_mcp.sandbox.render import render

    return render(content, 1, quality)


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
        defaults: dict[str, Any] = {"clock": now, "fetch": fetch, "render": render, "key": KEY}
        self.sandbox = Sandbox(**(defaults | options))
        self.transport: httpx2.AsyncBaseTransport = Web(httpx2.ASGITransport(create_app(self.sandbox)))
        self.environ = {
            "EVOLINK_API_KEY": KEY,
            "WAN_MCP_DATA_DIR": str(folder / "data"),
            "WAN_MCP_OUTPUT_DIR": str(folder / "videos"),
            "WAN_MCP_IMAGE_DIRS": str(folder),
            "WAN_MCP_AUTOSAVE": "0",
        }

    @property
    def records(self) -> Records:
        return self.sandbox.records

    def evolink(self) -> Evolink:
        return Evolink(SecretStr(KEY), Connections(self.transport))

    def runtime(self, settings: Settings, **options: Any) -> Runtime:
        defaults: dict[str, Any] = {"transport": self.transport, "resolve": resolve, "clock": now}
        return Runtime(settings, **(defaults | options))

    @asynccontextmanager
    async def service(self, options: Mapping[str, Any] = {}, **environ: str) -> AsyncIterator[VideoService]:
        """The service of the key, with these options of the runtime and these settings."""
        settings = Settings.load(self.environ | environ)
        async with self.runtime(settings, **options) as runtime:
            yield Services(runtime).current()

    def server(self, **environ: str) -> MCPServer[Services]:
        return create_server(Settings.load(self.environ | environ), make_runtime=self.runtime)

    @asynccontextmanager
    async def client(self, mode: Any = "auto", **environ: str) -> AsyncIterator[Client]:
        async with Client(self.server(**environ), mode=mode) as client:
            yield client

    async def rows(self, limit: int = 1000) -> list[Entry]:
        """All rows of the ledger, newest first."""
        async with self._ledger() as ledger:
            return await ledger.entries(limit=limit)

    async def forget(self, number: str) -> bool:
        """Remove a row of the ledger, as another program does."""
        async with self._ledger() as ledger:
            return await forget(ledger, number)

    @asynccontextmanager
    async def _ledger(self) -> AsyncIterator[SqliteLedger]:
        ledger = SqliteLedger(Path(self.environ["WAN_MCP_DATA_DIR"]))
        try:
            yield ledger
        finally:
            await ledger.aclose()
