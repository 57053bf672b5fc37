"""Databases that are empty, of an older or a newer version, or of another program."""

from concurrent.futures import ThreadPoolExecutor

import anyio
import psycopg
import pytest

from tests.ledger.rows import claimed, make, opened, owned, shared, stored
from wan_mcp.errors import LedgerError
from wan_mcp.ledger.postgres import schema

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def test_programs_that_open_an_empty_database_at_once_share_it(database_url: str) -> None:
    """It is made once, and no program is refused or loses its row, whatever isolation is usual there."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode()
        )

    async def claim(name: str) -> None:
        async with owned(database_url) as ledger:
            await make(ledger, name)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda name: anyio.run(claim, name), ("cat", "dog", "cow", "bee")))
    with opened(database_url) as database:
        assert database.execute("SELECT count(*) FROM entries").fetchone() == (4,)
        assert database.execute("SELECT count(*) FROM meta").fetchone() == (1,)


async def test_a_later_step_finds_the_rows_of_today(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is done once, whoever comes first, and the owner is still the same."""
    async with owned(database_url) as ledger:
        entry = await make(ledger)
    later = ("ALTER TABLE entries ADD COLUMN later INTEGER NOT NULL DEFAULT 7",)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, later))
    monkeypatch.setattr(schema, "VERSION", len(schema.STEPS))
    for _ in range(2):
        async with owned(database_url) as ledger:
            assert await ledger.entries() == [entry]
    with opened(database_url) as database:
        assert database.execute("SELECT later FROM entries").fetchone() == (7,)
        assert database.execute("SELECT version FROM ledger_schema").fetchall() == [(len(schema.STEPS),)]


async def test_a_step_that_fails_changes_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program without it goes on."""
    async with owned(database_url) as ledger:
        entry = await make(ledger)
    with monkeypatch.context() as newer:
        later = ("ALTER TABLE entries ADD COLUMN later INTEGER", "CREATE TABLE entries (number INTEGER)")
        newer.setattr(schema, "STEPS", (*schema.STEPS, later))
        newer.setattr(schema, "VERSION", len(schema.STEPS))
        async with owned(database_url) as ledger:
            with pytest.raises(LedgerError, match='"entries" already exists'):
                await ledger.entries()
    async with owned(database_url) as ledger:
        assert await ledger.entries() == [entry]
    assert b"later" not in stored(database_url)


async def test_a_newer_database_is_refused_and_unchanged(database_url: str) -> None:
    """Whoever runs the server is told what to do."""
    async with owned(database_url) as ledger:
        await make(ledger)
    with opened(database_url) as database:
        database.execute("UPDATE ledger_schema SET version = version + 1")
    before = stored(database_url)
    async with owned(database_url) as ledger:
        with pytest.raises(LedgerError) as raised:
            await claimed(ledger, "dog")
    assert raised.value.message == (
        "The ledger's database was written by a newer wan-mcp. The database was not changed."
    )
    assert raised.value.next_step == "Update wan-mcp, or set WAN_MCP_DATABASE_URL to another one."
    assert stored(database_url) == before


@pytest.mark.parametrize("table", ["entries", "meta"])
async def test_a_database_of_another_program_is_refused_and_unchanged(database_url: str, table: str) -> None:
    """Its table has the name of one of the ledger's."""
    with opened(database_url) as database:
        database.execute(f"CREATE TABLE {table} (recipe TEXT)")
    before = stored(database_url)
    async with shared(database_url) as ledger:
        with pytest.raises(LedgerError, match=r"belongs to another program\. The database was not changed"):
            await ledger.open()
    assert stored(database_url) == before


async def test_a_database_beside_another_programs_tables_is_shared(database_url: str) -> None:
    """Names that the ledger does not use are left alone."""
    with opened(database_url) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    async with owned(database_url) as ledger:
        await make(ledger)
    with opened(database_url) as database:
        assert database.execute("SELECT count(*) FROM recipes").fetchone() == (0,)
