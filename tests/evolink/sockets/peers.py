"""Who listens at the other end of a real socket."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.world import KEY
from wan_mcp.errors import EvolinkError, LostAnswer, Unreachable
from wan_mcp.evolink import Connections, Evolink, ImageToVideoRequest

LONGEST = 20
"""Seconds after which a test has failed; none should take one."""
REQUEST = ImageToVideoRequest(prompt="The cat yawns.", image_urls=["https://pictures.example.com/cat.png"])
ONCE = "request-0123456789abcdef"
FAR = "api.example.test"
"""A host that is not this machine, and that no look-up will find."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BALANCE = {"data": {"user": {"remaining_credits": 7}, "token": {}}}
FILE = {"success": True, "data": {"file_url": "https://files.evolink.ai/a.png"}}


@dataclass
class Peer:
    """Who listens on a port: what it was sent, and by how many connections."""

    host: str = "127.0.0.1"
    scheme: str = "http"
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    """Each request: its head and what came of its body."""
    ended: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for each connection that has ended."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def heads(self) -> list[dict[str, str]]:
        """The header fields of each request, by their names in lower case."""
        lines = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for request in self.requests]
        return [
            {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
            for head in lines
        ]

    def lines(self) -> list[str]:
        """The first line of each request."""
        return [request.partition(b"\r\n")[0].decode() for request in self.requests]


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection from the end of its first request on; returning ends the connection."""


@asynccontextmanager
async def listening(
    serve: Callable[[Peer], Serve], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """A server for the time of a test, which has to be over soon."""
    peer = Peer(host, "https" if tls else "http")
    serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        peer.connections += 1
        try:
            with suppress(ConnectionError, EOFError):
                await serve(peer)(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            del serving[task]
            peer.ended.release()

    with anyio.fail_after(LONGEST):
        server = await asyncio.start_server(connected, host, 0, ssl=tls)
        peer.port = server.sockets[0].getsockname()[1]
        try:
            yield peer
        finally:
            server.close()
            for writer in serving.values():
                writer.transport.abort()
            await asyncio.gather(*serving)
            await server.wait_closed()


async def hear(peer: Peer, reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    index = len(peer.requests)
    peer.requests.append(head)
    length = int(peer.heads()[index].get("content-length", 0))
    peer.requests[index] += await reader.readexactly(length)
    return peer.requests[index]


def answer(body: bytes, status: str = "200 OK", *fields: str, length: int | None = None) -> bytes:
    named = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join([*named, "", ""]).encode() + body


def always(reply: bytes, *, ends: bool = False) -> Callable[[Peer], Serve]:
    """The same answer to every request; `ends`: and then the connection is closed, unannounced."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await hear(peer, reader)
                writer.write(reply)
                await writer.drain()
                if ends:
                    return

        return connection

    return serve


OKAY = always(answer(json.dumps(BALANCE).encode()))


@asynccontextmanager
async def client(base_url: str, files_url: str = "http://127.0.0.1:9") -> AsyncIterator[Evolink]:
    async with Connections() as connections:
        yield Evolink(SecretStr(KEY), connections, base_url=base_url, files_url=files_url)


async def failures(url: str) -> tuple[EvolinkError, EvolinkError]:
    """How a free read and the paid request fail."""
    async with client(url) as evolink:
        with pytest.raises(EvolinkError) as free:
            await evolink.credits()
        with pytest.raises(EvolinkError) as paid:
            await evolink.submit(REQUEST, idempotency_key=ONCE)
    for error in (free.value, paid.value):
        assert error.next_step
        assert KEY not in f"{error} {error.next_step}"
    return free.value, paid.value


def is_lost(free: EvolinkError, paid: EvolinkError) -> bool:
    """Whether the read failed without cost, and it is not known whether the paid request was accepted."""
    told = [(type(error), error.charged) for error in (free, paid)]
    return told == [(LostAnswer, "no"), (LostAnswer, "unknown")]


def is_unreachable(free: EvolinkError, paid: EvolinkError) -> bool:
    return {(type(error), error.charged) for error in (free, paid)} == {(Unreachable, "no")}


def end_hard(writer: asyncio.StreamWriter) -> None:
    """A reset instead of an orderly end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def tunnel_to(target: Peer) -> Callable[[Peer], Serve]:
    """A proxy that knows one way only."""

    async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        with suppress(OSError):
            sink.write_eof()

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hear(peer, reader)
            behind, ahead = await asyncio.open_connection(target.host, target.port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                await asyncio.gather(pour(reader, ahead), pour(behind, writer))
            finally:
                ahead.close()
                with suppress(OSError):
                    await ahead.wait_closed()

        return connection

    return serve
