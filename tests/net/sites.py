"""Real web servers on this machine that remember who came, and resolvers that say what they are told."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2
from anyio.abc import ByteStream
from anyio.streams.tls import TLSListener

from wan_mcp.net.addresses import IPAddress

Answer = Callable[["Visit"], Awaitable[None]]


@dataclass
class Visit:
    """One request, and the way to answer it."""

    path: str
    headers: dict[str, str]
    stream: ByteStream
    sent: int = 0

    async def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Answer with a body of known length."""
        told = {"content-length": str(len(body)), "connection": "close"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        await self.begin(status, told)
        await self.send(body)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} Whatever",
            *(f"{name}: {value}" for name, value in headers.items() if value),
        ]
        await self.stream.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, body: bytes) -> None:
        """Send piece by piece, so that it is known how much was taken."""
        for start in range(0, len(body), 16_384):
            await self.stream.send(body[start : start + 16_384])
            self.sent += len(body[start : start + 16_384])


@dataclass
class Site:
    """A web server: what was asked of it, and how often it was connected to at all."""

    port: int
    connections: int = 0
    visits: list[Visit] = field(default_factory=list)


@asynccontextmanager
async def site(
    answer: Answer, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    """Serve until the end of the block."""
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    here = Site(listener.extra(anyio.abc.SocketAttribute.local_port))

    async def serve(stream: ByteStream) -> None:
        here.connections += 1
        try:
            async with stream:
                visit = await _read(stream)
                here.visits.append(visit)
                await answer(visit)
        except (anyio.BrokenResourceError, anyio.EndOfStream, ConnectionError):
            pass

    async with listener, anyio.create_task_group() as tasks:
        serving = TLSListener(listener, tls, standard_compatible=False) if tls else listener
        tasks.start_soon(serving.serve, serve)
        try:
            yield here
        finally:
            tasks.cancel_scope.cancel()


async def _read(stream: ByteStream) -> Visit:
    text = b""
    while b"\r\n\r\n" not in text:
        text += await stream.receive()
    first, *lines = text.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Visit(first.split(" ")[1], headers, stream)


def showing(body: bytes, **headers: str) -> Answer:
    """Answers everything with the same body."""

    async def answer(visit: Visit) -> None:
        await visit.answer(200, body, **headers)

    return answer


def sending_to(*locations: str) -> Answer:
    """Answers the first request with a redirect to the first place, and so on."""
    rest = iter(locations)

    async def answer(visit: Visit) -> None:
        await visit.answer(302, location=next(rest))

    return answer


class Names:
    """A resolver that knows these names only, and remembers what it was asked."""

    def __init__(self, **names: str | list[str]) -> None:
        self.names = {
            name.replace("_", "."): [ip] if isinstance(ip, str) else ip for name, ip in names.items()
        }
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("no such host")
        return self.names[host]


class Changing(Names):
    """A resolver that gives another answer each time, as a hostile name server would."""

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return [self.names[host].pop(0)]


class Recorder(httpx2.AsyncBaseTransport):
    """Connects to nothing, and remembers to what it should have."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return httpx2.Response(200, content=b"seen")


def only(*addresses: str) -> Callable[[IPAddress], bool]:
    """Takes these addresses, and no others, to be public."""
    return lambda ip: str(ip) in addresses
