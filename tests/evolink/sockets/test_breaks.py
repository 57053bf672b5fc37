"""What it means when a connection breaks."""

import asyncio

import anyio
import pytest

from tests.evolink.sockets.peers import (
    LONGEST,
    OKAY,
    ONCE,
    REQUEST,
    Peer,
    Serve,
    always,
    answer,
    client,
    end_hard,
    failures,
    hear,
    is_lost,
    is_unreachable,
    listening,
)
from tests.world import KEY, picture, render
from wan_mcp.errors import LostAnswer
from wan_mcp.sandbox import Fault, Sandbox, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_a_refused_connection_cost_nothing() -> None:
    """Nothing was sent."""
    async with listening(OKAY) as gone:
        pass
    assert is_unreachable(*await failures(gone.url))


HALF = answer(b'{"id": "task-uni', length=100)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-", answer(b"", length=100), HALF],
    ids=["nothing", "half a line", "half a head", "head", "half a body"],
)
async def test_a_connection_that_breaks_after_the_request_is_a_lost_answer(said: bytes, reset: bool) -> None:
    """The read cost nothing; what became of the paid request cannot be known."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hear(peer, reader)
            writer.write(said)
            await writer.drain()
            if reset:
                end_hard(writer)

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
    assert (api.connections, len(api.requests)) == (2, 2)
    assert [head.get("idempotency-key") for head in api.heads()] == [None, ONCE]


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_connection_that_breaks_before_the_request_was_read_is_a_lost_answer(reset: bool) -> None:
    """There was a connection: how much of the request arrived is not known."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if reset:
                end_hard(writer)

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
    assert api.connections == 2


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\x15\x03\x01\x00\x02\x02\x16", b"HTTP/9 200 OK\r\n\r\n"]
)
async def test_an_answer_in_another_protocol_is_a_lost_answer(said: bytes) -> None:
    """Who answered is not the API, and what was done with the request is not known."""
    async with listening(always(said, ends=True)) as api:
        assert is_lost(*await failures(api.url))


@pytest.mark.parametrize(("fault", "paid"), [("lost", 1), ("dropped", 0), ("cut", 1), ("huge", 1)])
async def test_over_a_socket_a_fault_costs_what_it_costs_in_one_process(fault: str, paid: int) -> None:
    """One POST, after which nothing is known; the next one under the same key is answered by the one task."""

    async def show(url: str) -> bytes:
        return picture(360, 360)

    sandbox = Sandbox(key=KEY, fetch=show, render=render, faults=[Fault.parse(f"submit:{fault}")])
    with anyio.fail_after(LONGEST):
        async with running(sandbox) as url, client(url) as evolink:
            with pytest.raises(LostAnswer):
                await evolink.submit(REQUEST, idempotency_key=ONCE)
            assert (sandbox.records.posts, len(sandbox.records.paid)) == (1, paid)
            accepted = await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert [payment.task_id for payment in sandbox.records.paid] == [accepted.task.id]
    assert accepted.replayed is bool(paid)
