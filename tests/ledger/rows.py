"""Rows of a ledger, as a submission leaves them."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EPOCH
from wan_mcp.evolink import Task
from wan_mcp.ledger import Entry, Intent, Terms
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the rights of files are other ones there")
DAY, HOUR = 86_400.0, 3_600.0
BODY = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}


def intent(name: str = "cat", owner: str = "me", estimate: float = 25.5) -> Intent:
    return Intent(owner, f"print of {name}", f"A {name} yawns.", 5, "720p", estimate)


def terms(now: float = EPOCH, **rules: Any) -> Terms:
    return Terms(now, **({"repeat_seconds": HOUR} | rules))


def task(name: str = "cat", status: Any = "pending", **facts: Any) -> Task:
    return Task(id=f"task-unified-{name}", status=status, **facts)


async def make(
    ledger: SqliteLedger, name: str = "cat", now: float = EPOCH, owner: str = "me", **facts: Any
) -> Entry:
    """A wish that was paid for and has its task."""
    claim = await ledger.claim(intent(name, owner), terms(now))
    assert claim.kind == "fresh"
    await ledger.posting(claim.entry.number, BODY, now)
    return await ledger.answered(claim.entry.number, task(name, **facts), now)


async def lose(ledger: SqliteLedger, name: str = "cat", now: float = EPOCH) -> Entry:
    """A wish that was sent, and whose answer never came."""
    claim = await ledger.claim(intent(name), terms(now))
    entry = await ledger.posting(claim.entry.number, BODY, now)
    await ledger.released(entry.number, sent=True)
    return entry


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file as any other program sees it."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        yield database


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def make_and_close(folder: Path) -> None:
    ledger = SqliteLedger(folder)
    for number in range(20):
        await make(ledger, f"cat{number}")
    await ledger.aclose()


FIRST_COLUMNS: dict[str, object] = {
    "owner": "me",
    "fingerprint": "print of cat",
    "idempotency_key": "wan-mcp-0123456789abcdef",
    "asked_at": EPOCH,
    "posted_at": EPOCH + 1,
    "reposted_at": EPOCH + 2,
    "body": '{"prompt": "The cat yawns."}',
    "prompt": "The cat yawns.",
    "duration": 10,
    "quality": "480p",
    "estimate": 25.5,
    "adopted": 1,
    "task_id": "task-unified-cat",
    "status": "completed",
    "task": task(status="completed").model_dump_json(),
    "cost": 25.5,
    "known_at": EPOCH + 3,
    "completed_at": EPOCH + 4,
}
SALT = bytes(range(32))


def build(folder: Path, version: int) -> None:
    """A ledger as that version of the schema left it, with a row in it."""
    with opened(folder) as database:
        for step in schema.STEPS[:version]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")
        if version:
            database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            database.execute("INSERT INTO meta VALUES ('salt', ?)", (SALT,))
            names, marks = ", ".join(FIRST_COLUMNS), ", ".join("?" * len(FIRST_COLUMNS))
            database.execute(f"INSERT INTO entries ({names}) VALUES ({marks})", tuple(FIRST_COLUMNS.values()))
