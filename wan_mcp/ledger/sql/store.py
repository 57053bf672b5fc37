"""The ledger in one SQLite file, which the server processes of several clients share."""

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from wan_mcp.evolink import Task
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.caps import of_the_last_day
from wan_mcp.ledger.claim import Claim, ClaimRules, Intent
from wan_mcp.ledger.entries import Entry, EntryStatus, Kept, Post, Saved
from wan_mcp.ledger.lease import Lease
from wan_mcp.ledger.sql import claims, forgetting, queries, uploads
from wan_mcp.ledger.sqlite.database import Database

T = TypeVar("T")
MAX_CACHED = 10_000
"""Rows that are kept in memory at most."""
FILE_NAME = "ledger.sqlite3"
LOCKS = "locks"
"""The folder of the locks of the processes that work on its rows."""

Cache = dict[tuple[str, str], Entry]
"""Rows by owner and task id, as they were last written or read here: most reads of a task bring no news."""


class SqliteLedger:
    """The ledger of all owners; see ``Ledger`` for what its methods do.

    Args:
        folder: where the file lives.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME)
        self._lease = Lease(folder / LOCKS)
        self._cache: Cache = {}
        self._salt: bytes | None = None

    def for_owner(self, gateway: str, identity: str) -> "SqliteOwnerLedger":
        return SqliteOwnerLedger(self._database, self._lease, self._cache, gateway, identity=identity)

    def for_digest(self, gateway: str, digest: str) -> "SqliteOwnerLedger":
        return SqliteOwnerLedger(self._database, self._lease, self._cache, gateway, digest=digest)

    async def owners_of_unkept(self, gateway: str, *, since: float) -> list[str]:
        return await self._database.read(lambda database: queries.owners_of_unkept(database, gateway, since))

    async def digest(self, gateway: str, identity: str) -> str:
        if self._salt is None:  # it never changes: a line of a log does not wait for the file
            self._salt = await self._database.read(_salt)
        return _digest(self._salt, gateway, identity)

    async def check(self) -> None:
        await self._database.write(lambda database: self._database.check_file(), durable=False)

    async def open(self) -> None:
        await self._database.read(lambda database: None)

    async def entries(self, *, limit: int = 50) -> list[Entry]:
        return await self._database.read(lambda database: queries.newest(database, None, None, limit))

    async def count(self) -> int:
        return await self._database.read(queries.count)

    async def keys(self, numbers: list[int]) -> dict[int, str]:
        def read(database: sqlite3.Connection) -> dict[int, str]:
            self._database.check_file()  # a file that was replaced has none of the rows that count now
            return queries.keys(database, numbers)

        return await self._database.read(read)

    async def named(self, task_id_or_number: str) -> list[Entry]:
        return await self._database.read(lambda database: forgetting.named(database, task_id_or_number))

    async def expired(self, before: float, now: float, *, limit: int) -> list[Entry]:
        return await self._database.read(lambda database: forgetting.expired(database, before, now, limit))

    async def remove(self, entries: list[Entry]) -> None:
        numbers = [entry.number for entry in entries]
        await self._database.write(lambda database: forgetting.remove(database, numbers), durable=False)
        self._cache.clear()

    async def remove_uploads(self, now: float) -> None:
        await self._database.write(lambda database: uploads.remove_expired(database, now), durable=False)

    async def aclose(self) -> None:
        await self._database.aclose()
        await anyio.to_thread.run_sync(self._lease.close)


class SqliteOwnerLedger:
    """The ledger of one owner; see ``OwnerLedger`` for what its methods do.

    Args:
        database: the file.
        lease: this process's.
        cache: shared by all owners.
        gateway: the API's address.
        identity: what tells owners apart, such as the API key. A digest of both, keyed with the file's own
            salt, is what the rows hold.
        digest: that digest, instead of an identity.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        cache: Cache,
        gateway: str,
        *,
        identity: str = "",
        digest: str | None = None,
    ) -> None:
        self._database = database
        self._lease = lease
        self._cache = cache
        self._gateway = gateway
        self._identity = identity
        self._owner = digest

    async def digest(self) -> str:
        if self._owner is not None:
            return self._owner
        return await self._read(lambda database, owner: owner)

    async def claim(self, intent: Intent, rules: ClaimRules) -> Claim:
        def claim(database: sqlite3.Connection, owner: str) -> Claim:
            self._database.check_file()
            return claims.decide(database, owner, self._gateway, intent, rules, self._lease)

        # Nothing is sent before the next write, which is durable.
        return await self._write(claim, durable=False)

    async def mark_posted(
        self, number: int, post: Post, body: dict[str, Any], *, guess: bool = False
    ) -> Entry:
        def mark(database: sqlite3.Connection, owner: str) -> Entry:
            self._database.check_file()
            return claims.post(database, number, post, body, self._lease, guess=guess)

        return await self._write(mark, durable=True)

    async def begin_guess(self, number: int, now: float, within: float) -> bool:
        return await self._write(
            lambda database, owner: claims.begin_guess(
                database, self._gateway, number, now, within, self._lease
            ),
            durable=False,
        )

    async def answered_guesses(self) -> list[Entry]:
        return await self._read(lambda database, owner: claims.answered_guesses(database, self._gateway))

    async def end_guess(self, number: int) -> None:
        await self._write(lambda database, owner: claims.end_guess(database, number), durable=False)

    async def drop_post(self, number: int, *, guessed: bool) -> Entry:
        return await self._write(
            lambda database, owner: claims.drop_post(database, number, self._lease, guessed=guessed),
            durable=False,
        )

    async def mark_answered(self, number: int, task: Task, now: float, *, recovered: bool = False) -> Entry:
        self._cache.clear()
        entry = await self._write(
            lambda database, owner: queries.answer(
                database, owner, self._gateway, number, task, now, recovered=recovered
            ),
            durable=True,
        )
        self._lease.working.discard(number)
        return entry

    async def spent(self, now: float) -> float:
        spendings = await self._read(lambda database, owner: claims.spent(database, owner, now, self._lease))
        return math.fsum(spending.credits for spending in of_the_last_day(spendings, now))

    async def mark_told(self, number: int) -> None:
        def mark(database: sqlite3.Connection, owner: str) -> None:
            database.execute("UPDATE entries SET untold = 0 WHERE number = ?", (number,))

        await self._write(mark, durable=False)

    async def paid_beside(self, number: int) -> tuple[str, ...]:
        return await self._read(lambda database, owner: queries.paid_beside(database, number))

    async def mark_paid_beside(self, number: int, task: Task, now: float) -> None:
        await self._write(
            lambda database, owner: queries.record_beside(database, number, task, now), durable=False
        )

    async def release(self, number: int) -> None:
        await self._write(
            lambda database, owner: claims.release(database, number, self._lease), durable=False
        )
        self._lease.working.discard(number)

    async def key_use(self) -> KeyUse:
        return await self._read(lambda database, owner: queries.key_use(database, self._gateway))

    async def learn_key_use(self, use: KeyUse) -> None:
        await self._write(
            lambda database, owner: claims.learn_key_use(database, self._gateway, use), durable=True
        )

    async def observe(self, task: Task, now: float) -> Entry:
        known = self._cache.get((self._owner or "", task.id))
        if known is not None and known.task is not None:
            task = task.completed_by(known.task)
            if not queries.is_news(known, task, now):
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

    async def unsaved(self, *, since: float) -> list[Entry]:
        return await self._read(lambda database, owner: queries.unsaved(database, owner, since))

    async def unkept(self, *, since: float) -> list[Entry]:
        return await self._read(lambda database, owner: queries.unkept(database, owner, since))

    async def rivals(self) -> list[Entry]:
        return await self._read(lambda database, owner: queries.rivals(database, self._gateway))

    async def taken_ids(self, task_ids: list[str]) -> set[str]:
        return await self._read(lambda database, owner: queries.taken_ids(database, task_ids))

    async def durations(self, task_id: str, limit: int = 10) -> list[float]:
        return await self._read(lambda database, owner: queries.durations(database, owner, task_id, limit))

    async def mark_saved(self, task_id: str, saved: Saved) -> None:
        await self._mark_video("saved", task_id, saved)

    async def mark_kept(self, task_id: str, kept: Kept) -> None:
        await self._mark_video("kept", task_id, kept)

    async def find_upload(self, digest: str, now: float) -> str | None:
        return await self._read(lambda database, owner: uploads.find(database, owner, digest, now))

    async def record_upload(self, digest: str, url: str, expires_at: float) -> None:
        await self._write(
            lambda database, owner: uploads.record(database, owner, digest, url, expires_at),
            durable=False,
        )

    async def _mark_video(self, column: str, task_id: str, video: Saved | Kept) -> None:
        def mark(database: sqlite3.Connection, owner: str) -> None:
            self._cache.pop((owner, task_id), None)
            database.execute(
                f"UPDATE entries SET {column} = ? WHERE owner = ? AND task_id = ?",
                (json.dumps(asdict(video)), owner, task_id),
            )

        await self._write(mark, durable=False)

    async def _read(self, work: Callable[[sqlite3.Connection, str], T]) -> T:
        return await self._database.read(lambda database: work(database, self._digest(database)))

    async def _write(self, work: Callable[[sqlite3.Connection, str], T], *, durable: bool) -> T:
        return await self._database.write(
            lambda database: work(database, self._digest(database)), durable=durable
        )

    def _digest(self, database: sqlite3.Connection) -> str:
        if self._owner is None:
            self._owner = _digest(_salt(database), self._gateway, self._identity)
        return self._owner


def _salt(database: sqlite3.Connection) -> bytes:
    return bytes(database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])


def _digest(salt: bytes, gateway: str, identity: str) -> str:
    """What stands for an owner."""
    return hashlib.blake2b(f"{gateway}\n{identity}".encode(), key=salt, digest_size=16).hexdigest()
