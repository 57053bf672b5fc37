"""The ledger in one SQLite file, which the server processes of several clients share."""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from wan_mcp.errors import LedgerError
from wan_mcp.evolink import Task
from wan_mcp.ledger.base import Claim, Entry, EntryStatus, Intent, Saved, Terms
from wan_mcp.ledger.lease import LEASE, myself
from wan_mcp.ledger.sqlite import copies, queries, schema
from wan_mcp.ledger.sqlite.claims import decide

T = TypeVar("T")
BUSY_SECONDS = 10.0
"""How long a writer waits for another process's transaction."""
MOST_SEEN = 10_000
"""Rows that are kept in memory at most."""
FILE_NAME = "ledger.sqlite3"


class SqliteLedger:
    """Opened on first use, so that a folder that cannot be written stops paid calls and nothing else.

    Args:
        folder: where the file lives; created private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._database: sqlite3.Connection | None = None
        self._one_at_a_time = anyio.Lock()
        self._seen: dict[tuple[str, str], Entry] = {}
        """Rows as they were last written or read here: most readings of a task bring no news."""

    async def owner(self, key: str, base_url: str) -> str:
        def digest(database: sqlite3.Connection) -> str:
            salt = database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0]
            return hashlib.blake2b(f"{base_url}\n{key}".encode(), key=salt, digest_size=16).hexdigest()

        return await self._read(digest)

    async def claim(self, intent: Intent, terms: Terms, waited_for: int | None = None) -> Claim:
        return await self._write(lambda database: decide(database, intent, terms, waited_for), durable=True)

    async def posting(self, number: int, body: dict[str, Any], now: float) -> Entry:
        def note(database: sqlite3.Connection) -> Entry:
            ours = database.execute(
                "UPDATE entries SET body = ?, posted_at = coalesce(posted_at, ?), reposted_at = ?,"
                " held_until = ? WHERE number = ? AND holder = ? AND task_id IS NULL",
                (json.dumps(body), now, now, now + LEASE, number, myself()),
            )
            if ours.rowcount == 0:
                raise LedgerError("Another call took this request over.", next_step="Ask once more.")
            return queries.by_number(database, number)

        return await self._write(note, durable=True)

    async def answered(self, number: int, task: Task, now: float, *, adopted: bool = False) -> Entry:
        self._seen.clear()
        return await self._write(
            lambda database: queries.answer(database, number, task, now, adopted=adopted), durable=True
        )

    async def released(self, number: int, *, sent: bool) -> None:
        def release(database: sqlite3.Connection) -> None:
            change = "UPDATE entries SET holder = NULL" if sent else "DELETE FROM entries"
            database.execute(
                f"{change} WHERE number = ? AND holder = ? AND task_id IS NULL", (number, myself())
            )

        await self._write(release, durable=False)

    async def observed(self, owner: str, task: Task, now: float) -> Entry:
        known = self._seen.get((owner, task.id))
        if known is not None and not queries.is_news(known, task, now):
            return known
        entry = await self._write(lambda database: queries.observe(database, owner, task, now), durable=False)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[owner, task.id] = entry
        return entry

    async def find(self, owner: str, task_id: str) -> Entry | None:
        return await self._read(lambda database: queries.find(database, owner, task_id))

    async def entries(
        self, owner: str | None, *, status: EntryStatus | None = None, limit: int = 50
    ) -> list[Entry]:
        return await self._read(lambda database: queries.newest(database, owner, status, limit))

    async def unanswered(self, owner: str) -> list[Entry]:
        return await self._read(lambda database: queries.unanswered(database, owner))

    async def claimed_ids(self, task_ids: list[str]) -> set[str]:
        return await self._read(lambda database: queries.claimed_ids(database, task_ids))

    async def durations(self, owner: str, task_id: str, limit: int = 10) -> list[float]:
        return await self._read(lambda database: queries.durations(database, owner, task_id, limit))

    async def saved(self, owner: str, task_id: str, saved: Saved) -> None:
        self._seen.pop((owner, task_id), None)
        await self._write(
            lambda database: database.execute(
                "UPDATE entries SET saved = ? WHERE owner = ? AND task_id = ?",
                (json.dumps(asdict(saved)), owner, task_id),
            ),
            durable=False,
        )

    async def copy_of(self, owner: str, digest: str, now: float) -> str | None:
        return await self._read(lambda database: copies.find(database, owner, digest, now))

    async def copied(self, owner: str, digest: str, url: str, expires_at: float) -> None:
        await self._write(
            lambda database: copies.keep(database, owner, digest, url, expires_at), durable=False
        )

    async def forget(self, task_id_or_number: str) -> bool:
        self._seen.clear()
        return await self._write(lambda database: queries.forget(database, task_id_or_number), durable=False)

    async def aclose(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with _translated(self._path):
                return work(self._open())

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(run)

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        """Run ``work`` in a transaction; a durable one is on the disk when this returns."""

        def run() -> T:
            with _translated(self._path):
                database = self._open()
                database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                with _transaction(database):
                    return work(database)

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(run)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = _connect(self._path)
        return self._database


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    try:
        schema.migrate(database)
        _write_ahead(database)
    except BaseException:
        database.close()
        raise
    return database


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to the journal that readers do not wait for.

    SQLite does not wait by itself while another process that has just made the file switches it, too.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What SQLite and the file system raise becomes a ``LedgerError`` that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
        damaged = kind in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        advice = (
            "Move the file away to begin a new ledger; it is left as it is."
            if damaged
            else "Check that its folder can be written and its disk has room, or set WAN_MCP_DATA_DIR."
        )
        raise LedgerError(f"The ledger {path} cannot be used ({error}).", next_step=advice) from error
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} cannot be opened ({error.strerror}).",
            next_step="Make its folder writable, or set WAN_MCP_DATA_DIR to another one.",
        ) from error
