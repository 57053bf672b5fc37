"""Rows of a ledger, as a submission leaves them."""

import hashlib
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clock import EPOCH
from wan_mcp.evolink import Task
from wan_mcp.ledger import ClaimRules, Entry, Intent, OwnerLedger
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the rights of files are other ones there")
DAY, HOUR = 86_400.0, 3_600.0
BODY = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}


def intent(name: str = "cat", estimate: float = 25.5) -> Intent:
    return Intent(f"print of {name}", f"A {name} yawns.", 5, "720p", estimate)


def rules(now: float = EPOCH, **rules: Any) -> ClaimRules:
    return ClaimRules(now, **({"repeat_seconds": HOUR} | rules))


def task(name: str = "cat", status: Any = "pending", **facts: Any) -> Task:
    return Task(id=f"task-unified-{name}", status=status, **facts)


async def make(ledger: OwnerLedger, name: str = "cat", now: float = EPOCH, **facts: Any) -> Entry:
    """A request that was paid for and has its task."""
    claim = await ledger.claim(intent(name), rules(now))
    assert claim.kind == "fresh"
    await ledger.mark_posted(claim.entry.number, BODY, now)
    return await ledger.mark_answered(claim.entry.number, task(name, **facts), now)


async def lose(ledger: OwnerLedger, name: str = "cat", now: float = EPOCH) -> Entry:
    """A request that was sent, and whose answer never came."""
    claim = await ledger.claim(intent(name), rules(now))
    entry = await ledger.mark_posted(claim.entry.number, BODY, now)
    await ledger.release(entry.number, sent=True)
    return entry


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file as any other program sees it."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        yield database


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[SqliteLedger]:
    """The ledger in a folder, of all owners, opened anew."""
    ledger = SqliteLedger(folder)
    try:
        yield ledger
    finally:
        await ledger.aclose()


@asynccontextmanager
async def owned(folder: Path, owner: str = "me") -> AsyncIterator[OwnerLedger]:
    """The ledger in a folder, of one owner, opened anew."""
    async with shared(folder) as ledger:
        yield ledger.for_owner(owner)


async def make_and_close(folder: Path) -> None:
    async with owned(folder) as ledger:
        for number in range(20):
            await make(ledger, f"cat{number}")


SALT = bytes(range(32))
FIRST_COLUMNS: dict[str, object] = {
    "owner": hashlib.blake2b(b"me", key=SALT, digest_size=16).hexdigest(),
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


def _renamed(columns: dict[str, object]) -> dict[str, object]:
    """The columns as version 4 named them."""
    return {{"adopted": "recovered"}.get(name, name): value for name, value in columns.items()}


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
            columns = FIRST_COLUMNS if version < 4 else _renamed(FIRST_COLUMNS)
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            database.execute(f"INSERT INTO entries ({names}) VALUES ({marks})", tuple(FIRST_COLUMNS.values()))
