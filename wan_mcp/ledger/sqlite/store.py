"""The ledger in one SQLite file, which the server processes of several clients share."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from wan_mcp.errors import LedgerError
from wan_mcp.evolink import Task
from wan_mcp.ledger.base import Claim, ClaimRules, Entry, EntryStatus, Intent, Saved
from wan_mcp.ledger.lease import LEASE, own_mark
from wan_mcp.ledger.sqlite import queries
from wan_mcp.ledger.sqlite.claims import decide
from wan_mcp.ledger.sqlite.database import Database

T = TypeVar("T")
MAX_CACHED = 10_000
"""Rows that are kept in memory at most."""
FILE_NAME = "ledger.sqlite3"

Cache = dict[tuple[str, str], Entry]
"""Rows by owner and task id, as they were last written or read here: most reads of a task bring no news."""


class SqliteLedger:
    """The ledger of all owners; see ``Ledger`` for what its methods do.

    Args:
        folder: where the file lives.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME)
        self._cache: Cache = {}

    def for_owner(self, *identity: str) -> "SqliteOwnerLedger":
        return SqliteOwnerLedger(self._database, self._cache, "\n".join(identity))

    async def entries(self, *, limit: int = 50) -> list[Entry]:
        return await self._database.read(lambda database: queries.newest(database, None, None, limit))

    async def forget(self, task_id_or_number: str) -> bool:
        self._cache.clear()
        return await self._database.write(
            lambda database: queries.forget(database, task_id_or_number), durable=False
        )

    async def aclose(self) -> None:
        await self._database.aclose()


class SqliteOwnerLedger:
    """The ledger of one owner; see ``OwnerLedger`` for what its methods do.

    Args:
        database: the file.
        cache: shared by all owners.
        identity: what tells this owner from all others. A digest of it, keyed with the file's own salt, is
            what the rows hold.
    """

    def __init__(self, database: Database, cache: Cache, identity: str) -> None:
        self._database = database
        self._cache = cache
        self._identity = identity
        self._owner: str | None = None

    async def claim(self, intent: Intent, rules: ClaimRules, waited_for: int | None = None) -> Claim:
        return await self._write(
            lambda database, owner: decide(database, owner, intent, rules, waited_for), durable=True
        )

    async def mark_posted(self, number: int, body: dict[str, Any], now: float) -> Entry:
        def mark(database: sqlite3.Connection, owner: str) -> Entry:
            # Only while the row is still held by this process: another one may have taken it over.
            changed = database.execute(
                "UPDATE entries SET body = ?, posted_at = coalesce(posted_at, ?), reposted_at = ?,"
                " held_until = ? WHERE number = ? AND holder = ? AND task_id IS NULL",
                (json.dumps(body), now, now, now + LEASE, number, own_mark()),
            )
            if changed.rowcount == 0:
                raise LedgerError("Another call took over this request.", next_step=queries.REQUEST_AGAIN)
            return queries.by_number(database, number)

        return await self._write(mark, durable=True)

    async def mark_answered(self, number: int, task: Task, now: float, *, recovered: bool = False) -> Entry:
        self._cache.clear()
        return await self._write(
            lambda database, owner: queries.answer(database, number, task, now, recovered=recovered),
            durable=True,
        )

    async def release(self, number: int, *, sent: bool) -> None:
        def release(database: sqlite3.Connection, owner: str) -> None:
            change = "UPDATE entries SET holder = NULL" if sent else "DELETE FROM entries"
            database.execute(
                f"{change} WHERE number = ? AND holder = ? AND task_id IS NULL", (number, own_mark())
            )

        await self._write(release, durable=False)

    async def observe(self, task: Task, now: float) -> Entry:
        known = self._cache.get((self._owner or "", task.id))
        if known is not None and not queries.is_news(known, task, now):
            return known

        entry = await self._write(
            lambda database, owner: queries.observe(database, owner, task, now), durable=False
        )
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[self._owner or "", task.id] = entry
        return entry

    async def find(self, task_id: str) -> Entry | None:
        return await self._read(lambda database, owner: queries.find(database, owner, task_id))

    async def entries(self, *, status: EntryStatus | None = None, limit: int = 50) -> list[Entry]:
        return await self._read(lambda database, owner: queries.newest(database, owner, status, limit))

    async def unanswered(self) -> list[Entry]:
        return await self._read(queries.unanswered)

    async def taken_ids(self, task_ids: list[str]) -> set[str]:
        return await self._read(lambda database, owner: queries.taken_ids(database, task_ids))

    async def durations(self, task_id: str, limit: int = 10) -> list[float]:
        return await self._read(lambda database, owner: queries.durations(database, owner, task_id, limit))

    async def mark_saved(self, task_id: str, saved: Saved) -> None:
        def mark(database: sqlite3.Connection, owner: str) -> None:
            self._cache.pop((owner, task_id), None)
            database.execute(
                "UPDATE entries SET saved = ? WHERE owner = ? AND task_id = ?",
                (json.dumps(asdict(saved)), owner, task_id),
            )

        await self._write(mark, durable=False)

    async def find_upload(self, digest: str, now: float) -> str | None:
        return await self._read(lambda database, owner: queries.find_upload(database, owner, digest, now))

    async def record_upload(self, digest: str, url: str, expires_at: float) -> None:
        await self._write(
            lambda database, owner: queries.record_upload(database, owner, digest, url, expires_at),
            durable=False,
        )

    async def _read(self, work: Callable[[sqlite3.Connection, str], T]) -> T:
        return await self._database.read(lambda database: work(database, self._digest(database)))

    async def _write(self, work: Callable[[sqlite3.Connection, str], T], *, durable: bool) -> T:
        return await self._database.write(
            lambda database: work(database, self._digest(database)), durable=durable
        )

    def _digest(self, database: sqlite3.Connection) -> str:
        if self._owner is None:
            salt = database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0]
            self._owner = hashlib.blake2b(self._identity.encode(), key=salt, digest_size=16).hexdigest()
        return self._owner
