"""Rows of a ledger, as a submission leaves them."""

import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from tests.clock import EPOCH
from wan_mcp.evolink import Task
from wan_mcp.ledger import ClaimRules, Entry, Fingerprints, Image, Intent, Ledger, OwnerLedger, Post
from wan_mcp.ledger.lease import SIGN_OF_LIFE
from wan_mcp.ledger.postgres import replicas
from wan_mcp.ledger.postgres.database import Statements
from wan_mcp.ledger.postgres.store import PostgresLedger
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, LOCKS, SqliteLedger

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the rights of files are other ones there")
DAY, HOUR = 86_400.0, 3_600.0
API, OTHER_API = "https://api.evolink.ai", "http://127.0.0.1:8787"
BODY = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}
PICTURE = Image(800, 600, "PNG")

Place = Path | str
"""Where a ledger is: the folder of SQLite's file, or the address of a database of PostgreSQL."""


def prints(name: str = "cat", content: str | None = "", address: str | None = None) -> Fingerprints:
    """Of a local picture, unless something else is given."""
    return Fingerprints(f"name of {name}", f"content of {name}" if content == "" else content, address)


def intent(name: str = "cat", estimate: float = 25.5, **facts: Any) -> Intent:
    made = Intent(prints(name), f"A {name} yawns.", 5, "720p", estimate, image=PICTURE)
    return replace(made, **facts)


def rules(now: float = EPOCH, **rules: Any) -> ClaimRules:
    return ClaimRules(now, **({"repeat_seconds": HOUR} | rules))


def task(name: str = "cat", status: Any = "pending", **facts: Any) -> Task:
    return Task(id=f"task-unified-{name}", status=status, **facts)


async def claimed(ledger: OwnerLedger, name: str = "cat", now: float = EPOCH, **facts: Any) -> Entry:
    """A new request that this process works on, not sent yet."""
    claim = await ledger.claim(intent(name, **facts), rules(now))
    assert claim.kind == "fresh"
    assert claim.entry is not None
    return claim.entry


async def posted(
    ledger: OwnerLedger, name: str = "cat", now: float = EPOCH, skew: float | None = 0.0, **facts: Any
) -> Entry:
    """A new request that this process works on, and whose POST may have arrived."""
    entry = await claimed(ledger, name, now, **facts)
    return await ledger.mark_posted(entry.number, Post(now, skew), BODY)


async def lose(ledger: OwnerLedger, name: str = "cat", now: float = EPOCH, **facts: Any) -> Entry:
    """A request that was sent, whose answer never came, and on which nobody works."""
    entry = await posted(ledger, name, now, **facts)
    await ledger.release(entry.number)
    return entry


async def make(ledger: OwnerLedger, name: str = "cat", now: float = EPOCH, **facts: Any) -> Entry:
    """A request that was paid for and has its task."""
    entry = await posted(ledger, name, now)
    return await answered(ledger, entry.number, task(name, **facts), now)


async def answered(
    ledger: OwnerLedger, number: int, task: Task, now: float, *, recovered: bool = False
) -> Entry:
    """A request that has its task, of which a caller has heard."""
    entry = await ledger.mark_answered(number, task, now, recovered=recovered)
    await ledger.mark_told(entry.number)
    return replace(entry, untold=False)


async def forget(ledger: Ledger, name: str) -> bool:
    """Remove the rows of a task or with a number; returns whether there were any."""
    entries = await ledger.named(name)
    await ledger.remove(entries)
    return bool(entries)


@contextmanager
def opened(place: Place) -> Iterator[Connection]:
    """The rows as any other program sees them."""
    if isinstance(place, str):
        with psycopg.connect(place, autocommit=True) as connection:
            yield Statements(connection)
    else:
        with closing(sqlite3.connect(place / FILE_NAME)) as database, database:
            yield database


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def stored(place: Place) -> bytes:
    """All that can be read where a ledger is."""
    if isinstance(place, Path):
        return b"".join(contents(place).values())
    with psycopg.connect(place) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [
            connection.execute(f"SELECT t::text FROM {name} AS t".encode()).fetchall() for (name,) in tables
        ]
    return repr(rows).encode()


def ledger_at(place: Place) -> SqliteLedger | PostgresLedger:
    """The ledger as a new process has it."""
    return PostgresLedger(SecretStr(place)) if isinstance(place, str) else SqliteLedger(place)


@asynccontextmanager
async def shared(place: Place) -> AsyncIterator[SqliteLedger | PostgresLedger]:
    """The ledger of all owners, opened anew."""
    ledger = ledger_at(place)
    try:
        yield ledger
    finally:
        await ledger.aclose()


@asynccontextmanager
async def owned(place: Place, key: str = "me", gateway: str = API) -> AsyncIterator[OwnerLedger]:
    """The ledger of one owner, opened anew."""
    async with shared(place) as ledger:
        yield ledger.for_owner(gateway, key)


def stand_still(place: Place, seconds: float) -> None:
    """Make the last signs of life of those who work on requests so old that they count as dead.

    Args:
        place: where the ledger is.
        seconds: how much older than that, or, where it is less than 0, younger.
    """
    if isinstance(place, Path):
        then = time.monotonic() - SIGN_OF_LIFE - seconds
        for path in (place / LOCKS).iterdir():
            os.utime(path, (then, then))
        return
    with opened(place) as database:
        # The others have been there for long, and can tell.
        database.execute(
            "UPDATE pulse SET since = clock_timestamp() - make_interval(hours => 1),"
            " seen_at = clock_timestamp()"
        )
        database.execute(
            "UPDATE replicas SET seen_at = clock_timestamp() - make_interval(secs => CASE WHEN id IN"
            " (SELECT holder FROM entries) THEN ? ELSE 0 END)",
            (replicas.DEAD_AFTER + seconds,),
        )


def sign_of_life(place: Place) -> object:
    """When those who work on requests last gave one."""
    if isinstance(place, Path):
        return [path.stat().st_mtime for path in (place / LOCKS).iterdir()]
    with opened(place) as database:
        query = "SELECT seen_at FROM replicas WHERE id IN (SELECT holder FROM entries)"
        return database.execute(query).fetchall()


async def make_and_close(folder: Path) -> None:
    async with owned(folder) as ledger:
        for number in range(20):
            await make(ledger, f"cat{number}")


SALT = bytes(range(32))
FIRST_COLUMNS: dict[str, object] = {
    "owner": hashlib.blake2b(f"{API}\nme".encode(), key=SALT, digest_size=16).hexdigest(),
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
UNANSWERED = dict.fromkeys(("task_id", "status", "task", "cost", "known_at", "completed_at")) | {"adopted": 0}
"""Columns of a first row whose answer never came."""


def build(folder: Path, version: int, **changed: object) -> None:
    """A ledger as that version of the schema left it, with a row in it."""
    with opened(folder) as database:
        for step in schema.STEPS[:version]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")
        if version:
            database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            database.execute("INSERT INTO meta VALUES ('salt', ?)", (SALT,))
            insert_old(database, version, **changed)


def insert_old(database: Connection, version: int, **changed: object) -> None:
    """Write another row as that version of the schema did; the names are those of the first version."""
    renamed = {"adopted": "recovered"} if version >= 4 else {}
    if version >= 5:
        renamed["fingerprint"] = "content"
    columns = {renamed.get(name, name): value for name, value in (FIRST_COLUMNS | changed).items()}
    if version >= 5:
        columns |= {
            "reference": "",
            "address": columns["content"],
            "posts": json.dumps([[columns["posted_at"], None], [columns["reposted_at"], None]]),
        }
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    database.execute(f"INSERT INTO entries ({names}) VALUES ({marks})", tuple(columns.values()))
