"""Older ledgers are brought to the present version."""

from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import SALT, build, contents, intent, make, make_and_close, opened, owned, rules, task
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_the_rows_of_every_older_schema_survive(tmp_path: Path, version: int) -> None:
    """What an earlier release wrote is read by this one, and can be gone on with."""
    build(tmp_path, version)
    async with owned(tmp_path) as ledger:
        [entry] = await ledger.entries()
        assert (await ledger.claim(intent(), rules(EPOCH + 60))).kind == "repeat"
        await make(ledger, "dog")
    assert entry == Entry(
        number=1,
        fingerprint="print of cat",
        idempotency_key="wan-mcp-0123456789abcdef",
        asked_at=EPOCH,
        posted_at=EPOCH + 1,
        reposted_at=EPOCH + 2,
        body={"prompt": "The cat yawns."},
        prompt="The cat yawns.",
        duration=10,
        quality="480p",
        estimate=25.5,
        recovered=True,
        task=task(status="completed"),
        known_at=EPOCH + 3,
        completed_at=EPOCH + 4,
        saved=None,
    )
    with opened(tmp_path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone() == (SALT,)


async def test_an_older_ledger_gets_the_same_shape_as_a_new_one(tmp_path: Path) -> None:
    """Whichever version a file comes from, its tables are those of a fresh one."""
    shapes = []
    for version in range(schema.VERSION + 1):
        folder = tmp_path / str(version)
        folder.mkdir()
        build(folder, version)
        ledger = SqliteLedger(folder)
        await ledger.entries()
        await ledger.aclose()
        with opened(folder) as database:
            shapes.append(set(database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")))
    assert all(shape == shapes[0] for shape in shapes)


async def test_a_later_step_finds_the_rows_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame for the next version: one more step is climbed, once, and the rows are there."""
    await make_and_close(tmp_path)
    step = ("ALTER TABLE entries ADD COLUMN mood TEXT DEFAULT 'calm'",)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    for _ in range(2):
        ledger = SqliteLedger(tmp_path)
        assert len(await ledger.entries()) == 20
        await ledger.aclose()
    with opened(tmp_path) as database:
        assert database.execute("SELECT DISTINCT mood FROM entries").fetchall() == [("calm",)]


async def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a migration is none: the file stays as it was, for the version that wrote it."""
    await make_and_close(tmp_path)
    before = contents(tmp_path)
    step = (
        "ALTER TABLE entries ADD COLUMN mood TEXT",
        "DELETE FROM entries",
        "INSERT INTO nowhere VALUES (1)",
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, step))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(LedgerError, match="nowhere"):
            await SqliteLedger(tmp_path).entries()
    assert contents(tmp_path) == before
