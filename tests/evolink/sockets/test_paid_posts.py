"""The paid POST on a real socket: a connection of its own, and what is told when it is written."""

import asyncio

import anyio
import pytest

from tests.evolink.sockets.conftest import Authority
from tests.evolink.sockets.peers import (
    FAR,
    OKAY,
    ONCE,
    REQUEST,
    Peer,
    Serve,
    always,
    answer,
    client,
    hear,
    listening,
    tunnel_to,
)
from wan_mcp.errors import LostAnswer, Unreachable
from wan_mcp.evolink import connection as connection_module

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


TASK = always(answer(b'{"id": "task-unified-1", "status": "pending"}'))


class Stop(Exception):
    """What keeps a request from being sent."""


def stop() -> None:
    raise Stop


async def test_each_submission_has_a_connection_of_its_own() -> None:
    """A used one may be closed by the other side just when the request is written."""
    async with listening(TASK) as api, client(api.url) as evolink:
        await evolink.task("task-unified-1")
        for number in range(1, 4):
            await evolink.submit(REQUEST, idempotency_key=f"{ONCE}-{number}")
            await api.ended.acquire()
            assert (api.connections, len(api.requests)) == (number + 1, number + 1)
        await evolink.task("task-unified-1")
        assert api.connections == 4


async def test_submissions_do_not_wait_for_a_free_connection() -> None:
    """Free requests are bounded, and a paid one never waits behind them."""
    slow = anyio.Event()

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await hear(peer, reader)
            if request.startswith(b"GET"):
                await slow.wait()
            writer.write(answer(b'{"id": "task-unified-1", "status": "pending"}'))
            await writer.drain()

        return connection

    async with listening(serve) as api, client(api.url) as evolink, anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(evolink.task, "task-unified-1")
        while len(api.requests) < 40:
            await anyio.lowlevel.checkpoint()
        accepted = await evolink.submit(REQUEST, idempotency_key=ONCE)
        assert accepted.task.id == "task-unified-1"
        slow.set()


async def test_the_callback_is_called_when_the_connection_stands_and_before_anything_is_written() -> None:
    """Once for each submission."""
    connected, seen = anyio.Event(), list[tuple[int, int]]()

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            await TASK(peer)(reader, writer)

        return connection

    async with listening(serve) as api, client(api.url) as evolink:
        for number in (1, 2):
            await evolink.submit(
                REQUEST,
                idempotency_key=f"{ONCE}-{number}",
                writing=lambda: seen.append((number, len(api.requests))),  # noqa: B023  called at once
            )
    assert seen == [(1, 0), (2, 1)]


async def test_what_the_callback_raises_keeps_the_request_from_being_sent() -> None:
    """It reaches the caller as it is; the connection is closed without a byte, and the next one is sent."""
    read = list[bytes]()

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if peer.connections == 1:
                read.append(await reader.read())
            else:
                await TASK(peer)(reader, writer)

        return connection

    async with listening(serve) as api, client(api.url) as evolink:
        with pytest.raises(Stop):
            await evolink.submit(REQUEST, idempotency_key=ONCE, writing=stop)
        await api.ended.acquire()
        assert (read, api.requests) == ([b""], [])
        assert (await evolink.submit(REQUEST, idempotency_key=ONCE)).task.id == "task-unified-1"
        assert len(api.requests) == 1


async def test_without_a_connection_the_callback_is_not_called() -> None:
    """Nothing was about to be written."""
    async with listening(OKAY) as gone:
        pass
    async with client(gone.url) as evolink:
        with pytest.raises(Unreachable):
            await evolink.submit(REQUEST, idempotency_key=ONCE, writing=stop)


async def test_behind_a_proxy_the_callback_can_still_keep_the_request_from_being_sent(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """What is said to the proxy itself is no writing of the request."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    calls = list[tuple[int, int]]()
    async with listening(TASK, tls=authority.server) as api, listening(tunnel_to(api)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

        def writing() -> None:
            calls.append((len(proxy.requests), len(api.requests)))
            if len(calls) == 2:
                raise Stop

        async with client(f"https://{FAR}") as evolink:
            await evolink.submit(REQUEST, idempotency_key=ONCE, writing=writing)
            with pytest.raises(Stop):
                await evolink.submit(REQUEST, idempotency_key=ONCE, writing=writing)
    assert calls == [(1, 0), (2, 1)]
    assert len(api.requests) == 1


@pytest.mark.parametrize("answers", ["nothing", "half"])
async def test_time_counts_from_the_writing_to_the_end_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    """However the time passes: an answer that only begins in time is lost."""
    monkeypatch.setattr(connection_module, "MAX_CONNECTING", 5.0)
    monkeypatch.setattr(connection_module, "MAX_PAID_CALL", 0.3)

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hear(peer, reader)
            if answers == "half":
                writer.write(answer(b'{"id": ', length=100))
                await writer.drain()
            await reader.read()

        return connection

    async with listening(serve) as api, client(api.url) as evolink:
        began = anyio.current_time()
        with pytest.raises(LostAnswer) as caught:
            await evolink.submit(REQUEST, idempotency_key=ONCE)
        assert 0.3 <= anyio.current_time() - began < 5
        await api.ended.acquire()
    assert caught.value.charged == "unknown"
