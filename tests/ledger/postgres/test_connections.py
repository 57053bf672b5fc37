"""Connections that are lost, do not answer or are too few."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest
from pydantic import SecretStr

from tests.clock import EPOCH
from tests.database_proxy import DatabaseProxy, database_proxy
from tests.ledger.rows import API, claimed, intent, opened, owned, posted, rules, shared, task
from tests.postgres import Postgres, Shutdown
from wan_mcp.errors import LedgerError
from wan_mcp.ledger.claim import ClaimKind
from wan_mcp.ledger.postgres import database
from wan_mcp.ledger.postgres.connections import AGAIN
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAMES = [f"cat {number}" for number in range(12)]


@pytest.fixture
def proxy(database_url: str) -> Iterator[DatabaseProxy]:
    with database_proxy(database_url) as proxy:
        yield proxy


async def in_parallel(work: Any, *given: Any) -> list[Any]:
    """What the work returns for each, or the ``LedgerError`` that it raises."""
    results: dict[Any, Any] = {}

    async def run(value: Any) -> None:
        try:
            results[value] = await work(value)
        except LedgerError as error:
            results[value] = error

    async with anyio.create_task_group() as group:
        for value in given:
            group.start_soon(run, value)
    return [results[value] for value in given]


@contextmanager
def owners_held_up(url: str, *digests: str) -> Iterator[Callable[[int], None]]:
    """Stop every claim of these owners in its transaction, until the end of the block.

    The value waits until as many have stopped.
    """
    connection = psycopg.connect(url, autocommit=True)
    for digest in digests:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"wan-mcp owner {digest}",))

    def wait(number: int) -> None:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        for _ in range(10_000):
            if connection.execute(query).fetchone() == (number,):
                return
        raise TimeoutError

    try:
        yield wait
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_restart_between_two_calls_is_not_noticed(
    database_url: str, postgres: Postgres, how: Shutdown
) -> None:
    """What was told is still there, and this program still works on its request."""
    async with owned(database_url) as ledger:
        entry = await posted(ledger)
        postgres.restart(how)
        assert await ledger.rivals() == [entry]
        assert (await ledger.claim(intent(), rules())).kind == "busy"
        await ledger.mark_answered(entry.number, task(), EPOCH)


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_restart_in_the_middle_of_claims_makes_nothing_twice(
    database_url: str, postgres: Postgres, how: Shutdown
) -> None:
    """Whoever was told of an error claims again; each request has one row in the end."""
    async with shared(database_url) as ledger:

        async def claim(name: str) -> ClaimKind:
            return (await ledger.for_owner(API, name).claim(intent(name), rules())).kind

        digests = [await ledger.for_owner(API, name).digest() for name in NAMES]
        first: list[Any] = []

        async def claim_all() -> None:
            first.extend(await in_parallel(claim, *NAMES))

        with owners_held_up(database_url, *digests) as waiting:
            async with anyio.create_task_group() as group:
                group.start_soon(claim_all)
                await anyio.to_thread.run_sync(waiting, database.AT_ONCE)
                await anyio.to_thread.run_sync(postgres.restart, how)
        assert sum(isinstance(kind, LedgerError) for kind in first) >= database.AT_ONCE
        for name, kind in zip(NAMES, first, strict=True):
            assert await claim(name) == ("busy" if kind == "fresh" else "fresh")
    with opened(database_url) as file:
        assert file.execute("SELECT count(*), count(DISTINCT prompt) FROM entries").fetchone() == (12, 12)


async def test_a_server_that_does_not_answer_is_given_up_and_leaves_all_connections_usable(
    database_url: str, proxy: DatabaseProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that were in the middle of a call; what was given up then is not done later."""
    async with shared(proxy.url(database_url)) as ledger:
        assert isinstance(ledger, PostgresLedger)

        async def claim(name: str) -> ClaimKind:
            return (await ledger.for_owner(API, name).claim(intent(name), rules())).kind

        names = [str(number) for number in range(database.AT_ONCE + 2)]
        for name in names:
            await ledger.for_owner(API, name).digest()
        monkeypatch.setattr(database, "LIMIT", 0.3)
        proxy.silence()
        refused = await in_parallel(claim, *names)
        assert {str(error) for error in refused} == {"The ledger's database did not answer within 0.3 s."}
        assert {error.next_step for error in refused} == {AGAIN}
        proxy.accept()
        monkeypatch.setattr(database, "LIMIT", 15.0)
        assert await in_parallel(claim, *names) == ["fresh"] * len(names)
        assert ledger._postgres._slots.borrowed_tokens == 0
        assert await in_parallel(claim, *names) == ["busy"] * len(names)


async def test_a_server_that_does_not_answer_at_first_is_given_up(
    database_url: str, proxy: DatabaseProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is opened by the next call, once it answers."""
    monkeypatch.setattr(database, "LIMIT", 0.3)
    async with owned(proxy.url(database_url)) as ledger:
        proxy.silence()
        for _ in range(2):
            with pytest.raises(LedgerError, match="did not answer"):
                await claimed(ledger)
        proxy.accept()
        monkeypatch.setattr(database, "LIMIT", 15.0)
        await claimed(ledger)


async def test_an_owner_with_many_requests_leaves_the_connections_to_others(database_url: str) -> None:
    """However many claims of one owner wait for each other, they use one connection."""
    async with shared(database_url) as ledger, anyio.create_task_group() as group:
        assert isinstance(ledger, PostgresLedger)
        one, two = ledger.for_owner(API, "one"), ledger.for_owner(API, "two")
        names = [str(number) for number in range(40)]
        await two.digest()
        with owners_held_up(database_url, await one.digest()) as waiting:
            group.start_soon(in_parallel, partial(claimed, one), *names)
            await anyio.to_thread.run_sync(waiting, 1)
            await claimed(two, "two")
            assert ledger._postgres._slots.borrowed_tokens == 1
            assert await ledger.count() == 1
    with opened(database_url) as file:
        assert file.execute("SELECT count(*) FROM entries").fetchone() == (41,)


async def test_whoever_waited_for_a_lock_sees_what_was_written_meanwhile(database_url: str) -> None:
    """Also where the database has another default."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode()
        )
    async with shared(database_url) as ledger:
        assert isinstance(ledger, PostgresLedger)
        row = await ledger._postgres.read(lambda rows: rows.execute("SHOW transaction_isolation").fetchone())
    assert row == {"transaction_isolation": "read committed"}


async def test_calls_that_waited_for_a_database_that_is_away_are_answered_together(
    proxy: DatabaseProxy, database_url: str
) -> None:
    """None waits until all others have tried. A call that comes later tries itself."""
    async with owned(proxy.url(database_url)) as ledger:
        await ledger.open()
        proxy.refuse()
        errors = await in_parallel(ledger.find, *map(str, range(200)))
        assert {type(error) for error in errors} == {LedgerError}
        assert len(set(map(id, errors))) <= database.AT_ONCE
        proxy.accept()
        assert await ledger.find("cat") is None


async def test_a_paid_task_is_recorded_also_where_no_job_can_be_made(database_url: str) -> None:
    """It is followed once the queue works again."""
    ledger = PostgresLedger(SecretStr(database_url), follows_at=API)
    try:
        mine = ledger.for_owner(API, "me")
        entry = await posted(mine)
        with opened(database_url) as rows:
            rows.execute("ALTER TABLE procrastinate_jobs RENAME TO away")
            assert (await mine.mark_answered(entry.number, task(), EPOCH)).task == task()
            rows.execute("ALTER TABLE away RENAME TO procrastinate_jobs")
            await mine.ensure_followed(task().id)
            assert len(rows.execute("SELECT id FROM procrastinate_jobs").fetchall()) == 1
    finally:
        await ledger.aclose()
