"""Notices of changes, from one program to all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import psycopg
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from tests.clock import EPOCH
from tests.ledger.rows import API, make, owned, shared, task
from wan_mcp.ledger import Kept
from wan_mcp.ledger.postgres import notices
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Told = tuple[str, str, bool]
ANY: Told = ("", "", True)
"""Any task may have changed."""


@pytest.fixture
def anyio_backend() -> str:
    """With real time: notices arrive while nothing else happens."""
    return "asyncio"


@asynccontextmanager
async def watching(ledger: PostgresLedger) -> AsyncIterator[MemoryObjectReceiveStream[Told]]:
    """What the ledger tells of changes; the first notice has arrived."""
    send, receive = anyio.create_memory_object_stream[Told](100)
    with send, receive, anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.watch, lambda *told: send.send_nowait(told))
            assert await receive.receive() == ANY
            yield receive
            group.cancel_scope.cancel()


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[PostgresLedger]:
    async with shared(database_url) as ledger:
        assert isinstance(ledger, PostgresLedger)
        yield ledger


async def test_a_change_is_told_to_all_programs(ledger: PostgresLedger, database_url: str) -> None:
    """Each is told whether it made the change itself; what is no change is not told."""
    mine = ledger.for_owner(API, "me")
    digest = await mine.digest()
    async with watching(ledger) as own, owned(database_url) as other:
        await make(other)
        await other.observe(task(status="processing"), EPOCH + 5)
        assert await own.receive() == (digest, task().id, True)
        await other.observe(task(status="processing"), EPOCH + 10)
        await mine.observe(task(status="completed"), EPOCH + 15)
        assert await own.receive() == (digest, task().id, False)
        await other.mark_kept(task().id, Kept("key", "cat.mp4", EPOCH + 15, 1000, "0" * 64))
        assert await own.receive() == (digest, task().id, True)


async def test_after_a_lost_connection_any_task_may_have_changed(
    ledger: PostgresLedger,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Notices of that time are lost, and those after it arrive; the log has neither address nor error."""
    monkeypatch.setattr(notices, "RECONNECT", 0.01)
    mine = ledger.for_owner(API, "me")
    await make(mine)
    async with watching(ledger) as own:
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                " AND datname = current_database()"
            )
        assert await own.receive() == ANY
        await mine.observe(task(status="completed"), EPOCH + 5)
        assert await own.receive() == (await mine.digest(), task().id, False)
    said = [record.getMessage() for record in caplog.records if record.name == notices.__name__]
    assert [text.partition(":")[0] for text in said] == [
        "notices of changes do not arrive",
        "notices of changes arrive again",
    ]
    assert "postgresql" not in caplog.text


async def test_a_notice_that_cannot_be_read_may_be_of_any_task(
    ledger: PostgresLedger, database_url: str
) -> None:
    """Another version may have sent it; the next one is read as always."""
    async with watching(ledger) as own:
        with psycopg.connect(database_url, autocommit=True) as admin:
            for text in ("", "[]", "{}", '["a", "b"]', "7", '["sender", "owner", "task"]'):
                admin.execute("SELECT pg_notify(%s, %s)", (notices.CHANNEL, text))
        assert [await own.receive() for _ in range(6)] == [ANY] * 5 + [("owner", "task", True)]


async def test_a_change_with_an_endless_id_is_recorded_without_a_notice(ledger: PostgresLedger) -> None:
    """PostgreSQL takes no notice of that length, and whoever waits looks now and then anyway."""
    mine = ledger.for_owner(API, "me")
    long = "t" * 9_000
    async with watching(ledger) as own:
        entry = await mine.observe(task(long), EPOCH)
        assert await mine.find(f"task-unified-{long}") == entry
        await mine.observe(task(), EPOCH)
        assert await own.receive() == (await mine.digest(), task().id, False)
