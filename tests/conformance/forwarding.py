"""A proxy that adds a key to each request, for the official suite, which cannot send one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import anyio
import httpx2
import uvicorn
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from wan_mcp.sandbox.serving import HOST, QuietServer


class Forwarding:
    """Sends each request on with an ``Authorization``; its other headers, ``Host`` among them, as they came.

    Args:
        origin: the address of the server, without a path.
        key: what is added.
    """

    def __init__(self, origin: str, key: str) -> None:
        self._origin = origin
        self._key = key
        self._transport = httpx2.AsyncHTTPTransport()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Request(scope, receive)
        headers = [*asked.headers.raw, (b"authorization", f"Bearer {self._key}".encode())]
        url = f"{self._origin}{asked.url.path}"
        request = httpx2.Request(asked.method, url, headers=headers, content=await asked.body())
        answered = await self._transport.handle_async_request(request)
        try:
            answer = StreamingResponse(answered.aiter_raw(), answered.status_code)
            answer.raw_headers = answered.headers.raw
            with suppress(asyncio.CancelledError):  # streams that are open when the proxy stops
                await answer(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await answered.aclose()

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def with_key(url: str, key: str) -> AsyncIterator[str]:
    """Another address of the server at ``url``, whose callers need no key."""
    parts = urlsplit(url)
    forwarding = Forwarding(f"{parts.scheme}://{parts.netloc}", key)
    listener = socket.create_server((HOST, 0))
    config = uvicorn.Config(
        forwarding, lifespan="off", log_config=None, server_header=False, date_header=False
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}{parts.path}"
    finally:
        server.stop()
        with anyio.CancelScope(shield=True):
            await serving
            await forwarding.aclose()
