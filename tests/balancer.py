"""A balancer of connections between servers on this machine."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import SocketStream

from tests.relay import BROKEN, HOST, listening


class Balancer:
    """Leads each new connection to one of the backends that can be reached, at random."""

    port = 0

    def __init__(self, *ports: int, seed: int) -> None:
        self._backends = list(ports)
        self._random = random.Random(seed)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def add(self, port: int) -> None:
        """Lead connections also to this port."""
        self._backends = [*self._backends, port]

    def remove(self, port: int) -> None:
        """Lead no further connections to this port; those that are open stay open."""
        self._backends = [backend for backend in self._backends if backend != port]

    async def serve(self, client: SocketStream) -> None:
        """Serve one connection."""
        async with client:
            for port in self._random.sample(self._backends, len(self._backends)):
                try:
                    backend = await anyio.connect_tcp(HOST, port)
                except OSError:
                    continue
                async with backend, anyio.create_task_group() as group:
                    group.start_soon(_pour, client, backend, group.cancel_scope)
                    group.start_soon(_pour, backend, client, group.cancel_scope)
                return


async def _pour(source: SocketStream, sink: SocketStream, ended: anyio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send(data)
    except BROKEN:
        pass
    ended.cancel()


@contextmanager
def balancer(*ports: int, seed: int = 0) -> Iterator[Balancer]:
    """A balancer between these ports, in a thread of its own; all connections end with the block."""
    balancer = Balancer(*ports, seed=seed)
    with listening(balancer.serve) as (balancer.port, _):
        yield balancer
