"""A sandbox whose clock stands still, and a client in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image

from wan_mcp.sandbox import Sandbox, create_app

NOON = 1_800_000_000.0
KEY = "sk-sandbox"
WEB_PICTURE = "https://pictures.example/cat.jpg"

Client = httpx2.AsyncClient
Connect = Callable[[Sandbox], Client]


@dataclass
class Clock:
    """A clock that moves when a test says so."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    def make(form: str = "JPEG", size: tuple[int, int] = (640, 480), mode: str = "RGB") -> bytes:
        buffer = BytesIO()
        Image.new(mode, size, 90).save(buffer, form)
        return buffer.getvalue()

    return make


@pytest.fixture
def web(picture: Callable[..., bytes]) -> dict[str, bytes]:
    """The pictures that the sandbox finds on the web."""
    return {WEB_PICTURE: picture()}


@pytest.fixture
def make_sandbox(clock: Clock, web: dict[str, bytes]) -> Callable[..., Sandbox]:
    async def fetch(url: str) -> bytes:
        return web[url]

    def render(picture: bytes, seconds: int, quality: str) -> bytes:
        return f"{len(picture)} bytes, {seconds} s, {quality}".encode()

    def make(**settings: Any) -> Sandbox:
        defaults: dict[str, Any] = {"seconds": 10.0, "clock": clock, "fetch": fetch, "render": render}
        return Sandbox(**defaults | settings)

    return make


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        def to(sandbox: Sandbox) -> Client:
            client = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(create_app(sandbox)),
                base_url="http://sandbox.test",
                headers={"authorization": f"Bearer {KEY}"},
            )
            stack.push_async_callback(client.aclose)
            return client

        yield to


@pytest.fixture
def client(connect: Connect, sandbox: Sandbox) -> Client:
    return connect(sandbox)


@pytest.fixture
def order() -> dict[str, Any]:
    """A request that breaks no rule."""
    return {"model": "wan2.5-image-to-video", "prompt": "The cat yawns", "image_urls": [WEB_PICTURE]}


@pytest.fixture
def text_order() -> dict[str, Any]:
    """A request for a video from text that breaks no rule."""
    return {"model": "wan2.5-text-to-video", "prompt": "A cat yawns"}
