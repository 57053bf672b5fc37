"""Older ledgers are brought to the present version."""

from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    BODY,
    DAY,
    SALT,
    UNANSWERED,
    build,
    contents,
    insert_old,
    intent,
    make,
    make_and_close,
    opened,
    owned,
    rules,
    task,
)
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Claim, Entry, Fingerprints, Post, fingerprint
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_the_rows_of_every_older_schema_survive(tmp_path: Path, version: int) -> None:
    """What an earlier release wrote is read by this one, and can be gone on with."""
    build(tmp_path, version)
    async with owned(tmp_path) as ledger:
        [entry] = await ledger.entries()
        known = Fingerprints("any name", "print of cat")
        assert (await ledger.claim(intent(fingerprints=known), rules(EPOCH + 60))).kind == "repeat"
        await make(ledger, "dog")
    assert entry == Entry(
        number=1,
        fingerprints=Fingerprints("", "print of cat", "print of cat"),
        idempotency_key="wan-mcp-0123456789abcdef",
        asked_at=EPOCH,
        posts=(Post(EPOCH + 1, None), Post(EPOCH + 2, None)),
        guessed=False,
        body={"prompt": "The cat yawns."},
        prompt="The cat yawns.",
        duration=10,
        quality="480p",
        estimate=25.5,
        take=1,
        image=None,
        untold=False,
        recovered=True,
        task=task(status="completed"),
        known_at=EPOCH + 3,
        completed_at=EPOCH + 4,
        saved=None,
    )
    with opened(tmp_path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone() == (SALT,)


CONTENT, ADDRESS = "digest of the bytes", "digest of the address"


@pytest.mark.parametrize("kept", [CONTENT, ADDRESS])
@pytest.mark.parametrize("answered", [True, False])
async def test_the_one_fingerprint_of_an_older_ledger_is_still_the_same_request(
    tmp_path: Path, kept: str, answered: bool
) -> None:
    """It was of the picture's content or of its address: the same request finds its row by either."""
    build(tmp_path, 4, fingerprint=fingerprint(BODY, kept), **({} if answered else UNANSWERED))
    body = BODY | {"prompt": " The cat  yawns.", "duration": 5, "take": 1}
    same = Fingerprints("reference", fingerprint(body, CONTENT), fingerprint(body, ADDRESS))
    other = Fingerprints("reference", fingerprint(body, "else"), fingerprint(body, "elsewhere"))
    take = Fingerprints("reference", *(fingerprint(body | {"take": 2}, one) for one in (CONTENT, ADDRESS)))
    async with owned(tmp_path) as ledger:
        [entry] = await ledger.entries()
        expected = Claim("repeat" if answered else "resume", entry)
        assert await ledger.claim(intent(fingerprints=same), rules(EPOCH + 60)) == expected
        for another in (other, take):
            assert (await ledger.claim(intent(fingerprints=another), rules(EPOCH + 60))).kind == "fresh"


async def test_of_equal_open_rows_of_an_older_ledger_the_newest_stays_open(tmp_path: Path) -> None:
    """Each is still to be seen; the gateway of any of them is not known, so they count at every one."""
    build(tmp_path, 4, **UNANSWERED)
    with opened(tmp_path) as database:
        insert_old(database, 4, **(UNANSWERED | {"posted_at": EPOCH + DAY, "reposted_at": EPOCH + DAY}))
        insert_old(database, 4, **(UNANSWERED | {"fingerprint": "print of dog", "posted_at": None}))
    async with owned(tmp_path) as ledger:
        newest, oldest = sorted(await ledger.entries(), key=lambda entry: -entry.number)
        assert (newest.number, oldest.number) == (2, 1)
        assert await ledger.rivals() == [newest]
        known = Fingerprints("any name", "print of cat")
        claim = await ledger.claim(intent(fingerprints=known), rules(EPOCH + DAY + 60))
        assert claim == Claim("resume", newest)


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
