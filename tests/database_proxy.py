"""A proxy in front of PostgreSQL, which breaks connections where a test wants that.

A *request* is what a client sends until it waits for the server: a simple query, or the messages of the
extended protocol up to their ``Sync``. To connect and to disconnect are no requests.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
from anyio.abc import ByteStream, SocketStream
from anyio.from_thread import BlockingPortal
from anyio.streams.buffered import BufferedByteReceiveStream
from psycopg.conninfo import conninfo_to_dict

from tests.relay import BROKEN, HOST, listening

When = Literal["before", "after"]
"""Before the server sees a request, or after it has answered and before the client sees the answer."""

_TO_BE_CONTINUED = b"PBDEC"
_ENDS_A_REQUEST = b"QS"
_READY = b"Z"
_WANTS_ENCRYPTION = {code.to_bytes(4) for code in (80877103, 80877104)}


@dataclass
class _Connection:
    client: SocketStream
    server: ByteStream
    requests: int = 1
    """How many were passed to the server; connecting is the first."""
    unanswered: int | None = None
    """The number of the request whose answer ends the connection."""


class DatabaseProxy:
    """Passes connections on to the server of a database, and may be told to break them.

    Attributes:
        requests: how many requests came in, in all connections, since this or a way to cut was set.
        cuts: how many connections were cut in a request.
    """

    port = 0
    _portal: BlockingPortal

    def __init__(self, server_url: str) -> None:
        self._server = conninfo_to_dict(server_url)
        self.cuts = 0
        self.pass_all()
        self._refuses = False
        self._silent: anyio.Event | None = None
        self._connections: set[anyio.CancelScope] = set()

    def url(self, database_url: str) -> str:
        """The address of the same database through the proxy."""
        address = urlsplit(database_url)
        options = dict(parse_qsl(address.query)) | {"sslmode": "disable", "gssencmode": "disable"}
        options.pop("host", None)
        user, at, _ = address.netloc.rpartition("@")
        return address._replace(netloc=f"{user}{at}{HOST}:{self.port}", query=urlencode(options)).geturl()

    def pass_all(self) -> None:
        """Cut no further connections, and count from zero."""
        self._cut_by(lambda number: None)

    def cut_after(self, request: int, when: When = "before") -> None:
        """Cut the connection of the first, second and so on request from now on, once."""
        self._cut_by(lambda number: when if number == request else None)

    def cut_at_random(self, seed: int, probability: float) -> None:
        """Cut the connection in each request with this probability, until told otherwise."""
        chance = random.Random(seed)
        choices: tuple[When, When] = ("before", "after")
        self._cut_by(lambda number: chance.choice(choices) if chance.random() < probability else None)

    def _cut_by(self, rule: Callable[[int], When | None]) -> None:
        self.requests = 0
        self._rule = rule

    def refuse(self) -> None:
        """Close all connections, and new ones as soon as they are made."""
        self._portal.call(self._refuse)

    def silence(self) -> None:
        """Pass nothing on, in either direction, and close nothing: as a network that loses everything."""
        self._portal.call(self._silence)

    def accept(self) -> None:
        """End what ``refuse`` or ``silence`` began; what was held back is passed on, as a network does."""
        self._portal.call(self._accept)

    def _refuse(self) -> None:
        self._refuses = True
        for connection in self._connections:
            connection.cancel()

    def _silence(self) -> None:
        self._silent = self._silent or anyio.Event()

    def _accept(self) -> None:
        self._refuses = False
        if self._silent:
            self._silent.set()
            self._silent = None

    async def _spoken(self) -> None:
        while self._silent:
            await self._silent.wait()

    async def serve(self, client: SocketStream) -> None:
        """Serve one connection."""
        async with client:
            if self._refuses:
                return
            with anyio.CancelScope() as scope:
                self._connections.add(scope)
                try:
                    await self._pass_on(client, scope)
                finally:
                    self._connections.remove(scope)

    async def _pass_on(self, client: SocketStream, scope: anyio.CancelScope) -> None:
        await self._spoken()
        try:
            server = await self._connect()
        except OSError:
            return
        connection = _Connection(client, server)

        async def until_it_breaks(direction: Callable[[_Connection], Awaitable[None]]) -> None:
            with suppress(*BROKEN):
                await direction(connection)
            scope.cancel()

        async with server, anyio.create_task_group() as group:
            group.start_soon(until_it_breaks, self._to_server)
            group.start_soon(until_it_breaks, self._to_client)

    async def _connect(self) -> ByteStream:
        host, port = str(self._server["host"]), int(self._server.get("port") or 5432)
        if host.startswith("/"):
            return await anyio.connect_unix(f"{host}/.s.PGSQL.{port}")
        return await anyio.connect_tcp(host, port)

    async def _to_server(self, connection: _Connection) -> None:
        """Pass on what the client says; returns where the connection is to be cut."""
        stream = BufferedByteReceiveStream(connection.client)
        while (first := await _message(stream, kind_size=0))[4:] in _WANTS_ENCRYPTION:
            await connection.client.send(b"N")
        await self._send(first, connection.server)
        held = b""
        while True:
            message = await _message(stream)
            held += message
            if message[:1] in _TO_BE_CONTINUED:
                continue
            if message[:1] in _ENDS_A_REQUEST:
                self.requests += 1
                when = self._rule(self.requests)
                self.cuts += when is not None
                if when == "before":
                    return
                connection.requests += 1
                if when == "after":
                    connection.unanswered = connection.requests
            await self._send(held, connection.server)
            held = b""

    async def _to_client(self, connection: _Connection) -> None:
        """Pass on what the server says; returns where the connection is to be cut."""
        stream = BufferedByteReceiveStream(connection.server)
        answered = 0
        while True:
            message = await _message(stream)
            if answered + 1 != connection.unanswered:
                await self._send(message, connection.client)
            answered += message[:1] == _READY
            if answered == connection.unanswered:
                return

    async def _send(self, data: bytes, stream: ByteStream) -> None:
        await self._spoken()
        await stream.send(data)


async def _message(stream: BufferedByteReceiveStream, kind_size: int = 1) -> bytes:
    """A whole message; the first one of a client has no kind."""
    head = await stream.receive_exactly(kind_size + 4)
    return head + await stream.receive_exactly(int.from_bytes(head[kind_size:]) - 4)


@contextmanager
def database_proxy(server_url: str) -> Iterator[DatabaseProxy]:
    """A proxy in front of the server of this database, in a thread of its own, until the end of the block."""
    proxy = DatabaseProxy(server_url)
    with listening(proxy.serve) as (proxy.port, proxy._portal):
        yield proxy
