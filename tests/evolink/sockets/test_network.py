"""The client on real sockets: what it sends and reads, and to whom."""

import asyncio
import gzip
import json
import tracemalloc
from functools import cache

import anyio
import pytest

from tests.evolink.sockets.peers import (
    FILE,
    OKAY,
    ONCE,
    REQUEST,
    Peer,
    Serve,
    always,
    answer,
    client,
    failures,
    hear,
    is_lost,
    listening,
)
from tests.world import KEY
from wan_mcp import __version__
from wan_mcp.errors import LostAnswer, UnreadableAnswer
from wan_mcp.evolink import Credits, Upload

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_each_request_says_who_asks_and_goes_to_its_own_host() -> None:
    """API and file service are two hosts, and both get the key; nobody else is connected to."""
    stored = always(answer(json.dumps(FILE).encode()))
    async with listening(OKAY) as api, listening(stored) as files, client(api.url, files.url) as evolink:
        assert await evolink.credits() == Credits(remaining=7)
        upload = await evolink.upload("a.png", b"the picture", "image/png")
    assert upload == Upload(url="https://files.evolink.ai/a.png")
    assert api.lines() == ["GET /v1/credits HTTP/1.1"]
    assert files.lines() == ["POST /api/v1/files/upload/stream HTTP/1.1"]
    for head in api.heads() + files.heads():
        assert head["authorization"] == f"Bearer {KEY}"
        assert head["user-agent"] == f"wan-mcp/{__version__}"
        assert head["accept-encoding"] == "identity"
        assert head["accept"] == "application/json"
    assert (
        b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nthe picture\r\n'
        in files.requests[0]
    )


async def test_the_paid_request_is_sent_whole() -> None:
    """Its head has the idempotency key, and its body is the JSON of the request."""
    task = answer(b'{"id": "task-unified-1", "status": "pending"}')
    async with listening(always(task)) as api, client(api.url) as evolink:
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    [head], [request] = api.heads(), api.requests
    assert api.lines() == ["POST /v1/videos/generations HTTP/1.1"]
    assert head["idempotency-key"] == ONCE
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == REQUEST.body()


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_a_redirect_is_not_followed(status: str) -> None:
    """The key would go along: to another host, and to the same one by another way."""
    async with listening(OKAY) as other:
        for location in (f"{other.url}/v1/credits", "/v1/elsewhere"):
            async with listening(always(answer(b"", status, f"Location: {location}"))) as api:
                free, paid = await failures(api.url)
            assert (type(free), type(paid)) == (UnreadableAnswer, LostAnswer)
            assert (free.charged, paid.charged) == ("no", "unknown")
            assert "EVOLINK_BASE_URL" in free.next_step
            assert len(api.requests) == 2
    assert other.connections == 0


@pytest.mark.parametrize(
    "head",
    [answer(b"", length=10**12), b"HTTP/1.1 200 OK\r\n\r\n", answer(b"", "500 Broken", length=10**12)],
    ids=["announced", "not announced", "error"],
)
async def test_an_endless_answer_is_not_read_to_its_end(head: bytes) -> None:
    """A megabyte is enough; then the connection is closed."""
    sent = 0

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await hear(peer, reader)
            writer.write(head)
            while True:
                writer.write(bytes(65536))
                sent += 65536
                await writer.drain()

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
        for _ in range(api.connections):
            await api.ended.acquire()
    assert api.connections == 2
    assert sent < 100_000_000


@cache
def bomb() -> bytes:
    """Some kilobytes that would become 64 megabytes."""
    return gzip.compress(bytes(64 * 1024 * 1024), 1)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate, gzip"])
async def test_a_packed_answer_is_not_unpacked(encoding: str) -> None:
    """It stays as small as it came, and is no answer."""
    async with listening(always(answer(bomb(), "200 OK", f"Content-Encoding: {encoding}"))) as api:
        tracemalloc.start()
        try:
            free, paid = await failures(api.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (type(free), type(paid)) == (UnreadableAnswer, LostAnswer)
    assert peak < 16 * 1024 * 1024
    assert {head["accept-encoding"] for head in api.heads()} == {"identity"}


async def test_calls_share_their_connection() -> None:
    """One after the other they need one; it ends with the client."""
    async with listening(OKAY) as api:
        async with client(api.url) as evolink:
            for _ in range(20):
                await evolink.credits()
            assert api.connections == 1
        await api.ended.acquire()
    assert len(api.requests) == 20


async def test_many_calls_at_once_are_no_flood() -> None:
    """All are answered, over a bounded number of connections."""
    async with listening(OKAY) as api, client(api.url) as evolink, anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(evolink.credits)
    assert len(api.requests) == 100
    assert 1 < api.connections <= 40
