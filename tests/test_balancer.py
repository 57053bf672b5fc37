"""The balancer of the tests: connections go to whoever can be reached."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from anyio.abc import SocketStream

from tests.balancer import Balancer, balancer
from tests.relay import HOST, listening

pytestmark = pytest.mark.slow


@contextmanager
def backend(name: str) -> Iterator[int]:
    """A server that greets with its name, and repeats what it hears: its port."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.send(name.encode())
            async for data in stream:
                await stream.send(data)

    with listening(serve) as (port, _):
        yield port


def connect(balancer: Balancer) -> socket.socket:
    return socket.create_connection((HOST, balancer.port), timeout=30)


def greetings(balancer: Balancer, connections: int = 20) -> set[bytes]:
    """Who answers so many connections."""
    answers = set()
    for _ in range(connections):
        with connect(balancer) as connection:
            answers.add(connection.recv(1))
    return answers


def test_connections_go_to_each_backend_that_can_be_reached() -> None:
    """One that has ended is passed over, also while it is still in the list."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(backend(name)) for name in "ab")
        with backend("c") as ended:
            pass
        balance = stack.enter_context(balancer(first, second, ended))
        assert greetings(balance) == {b"a", b"b"}
        balance.remove(first)
        assert greetings(balance) == {b"b"}
        balance.remove(second)
        assert greetings(balance, connections=1) == {b""}
        balance.add(first)
        assert greetings(balance, connections=1) == {b"a"}


def test_an_open_connection_passes_bytes_in_both_directions_until_the_end() -> None:
    """Also after its backend was removed from the list."""
    with backend("a") as port:
        with balancer(port) as balance:
            connection = connect(balance)
            assert connection.recv(1) == b"a"
            balance.remove(port)
            connection.sendall(b"hello")
            assert connection.recv(5, socket.MSG_WAITALL) == b"hello"
        with connection:
            assert connection.recv(1) == b""
