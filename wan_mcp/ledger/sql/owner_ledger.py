"""The ledger of one owner in a database: how its methods become statements."""

import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

from wan_mcp.evolink import Task
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.caps import Spending, of_the_last_day
from wan_mcp.ledger.claim import Claim, ClaimRules, Intent
from wan_mcp.ledger.entries import Entry, EntryStatus, Kept, Post, Saved
from wan_mcp.ledger.sql import claims, queries, states, uploads
from wan_mcp.ledger.sql.connection import Connection, Database

T = TypeVar("T")
MAX_CACHED = 10_000
"""Rows that are kept in memory at most."""

Cache = dict[tuple[str, str], Entry]
"""Rows by owner and task id, as they were last written or read here: most reads of a task bring no news."""


class SqlOwnerLedger:
    """See ``OwnerLedger`` for what the methods do.

    Args:
        database: where the ledger is.
        cache: shared by all owners.
        gateway: the API's address.
        owner: the digest that stands for the owner in the rows, or what finds it.
    """

    def __init__(
        self, database: Database, cache: Cache, gateway: str, owner: str | Callable[[], Awaitable[str]]
    ) -> None:
        self._database = database
        self._cache = cache
        self._gateway = gateway
        self._owner = owner

    @property
    def known_digest(self) -> str | None:
        return self._owner if isinstance(self._owner, str) else None

    async def digest(self) -> str:
        if not isinstance(self._owner, str):
            self._owner = await self._owner()
        return self._owner

    async def open(self) -> None:
        await self._database.open()

    async def claim(self, intent: Intent, rules: ClaimRules) -> Claim:
        def claim(database: Connection, owner: str) -> Claim:
            self._database.check_place(database)
            return claims.decide(self._database, database, owner, self._gateway, intent, rules)

        return await self._hold(claim, lambda made: made.entry if made.is_ours else None)

    async def take_over(self, number: int) -> Entry | None:
        def take(database: Connection, owner: str) -> Entry | None:
            self._database.check_place(database)
            return claims.take_over(database, owner, number, self._database.holders(database))

        return await self._hold(take, lambda entry: entry)

    async def _hold(self, work: Callable[[Connection, str], T], held: Callable[[T], Entry | None]) -> T:
        """Run ``work``, which takes a row over; if it was not written, this program does not hold the row."""
        taken: list[Entry] = []

        def run(database: Connection, owner: str) -> T:
            result = work(database, owner)
            taken.extend(filter(None, [held(result)]))
            return result

        try:
            # Nothing is sent before the next write, which is durable.
            return await self._write(run, durable=False)
        except BaseException:
            for entry in taken:
                self._database.working.discard(entry.number)
            raise

    async def mark_posted(
        self, number: int, post: Post, body: dict[str, Any], *, guess: bool = False
    ) -> Entry:
        def mark(database: Connection, owner: str) -> Entry:
            self._database.check_place(database)
            return claims.post(database, number, post, body, self._database.holders(database), guess=guess)

        return await self._write(mark, durable=True)

    async def begin_guess(self, number: int, now: float, within: float) -> bool:
        def begin(database: Connection, owner: str) -> bool:
            self._database.alone_at(database, self._gateway)
            holders = self._database.holders(database)
            return claims.begin_guess(database, self._gateway, number, now, within, holders)

        return await self._write(begin, durable=False)

    async def answered_guesses(self) -> list[Entry]:
        return await self._read(lambda database, owner: claims.answered_guesses(database, self._gateway))

    async def end_guess(self, number: int) -> None:
        await self._write(lambda database, owner: claims.end_guess(database, number), durable=False)

    async def drop_post(self, number: int, *, guessed: bool) -> Entry:
        return await self._write(
            lambda database, owner: claims.drop_post(
                database, number, self._database.holders(database), guessed=guessed
            ),
            durable=False,
        )

    async def mark_answered(self, number: int, task: Task, now: float, *, recovered: bool = False) -> Entry:
        self._cache.clear()

        def mark(database: Connection, owner: str) -> Entry:
            entry = states.answer(database, owner, self._gateway, number, task, now, recovered=recovered)
            self._database.answered(database, owner, self._gateway, task.id)
            return entry

        entry = await self._write(mark, durable=True)
        self._database.working.discard(number)
        return entry

    async def spent(self, now: float) -> float:
        def read(database: Connection, owner: str) -> list[Spending]:
            return claims.spent(database, owner, now, self._database.holders(database))

        spendings = of_the_last_day(await self._read(read), now)
        return math.fsum(spending.credits for spending in spendings)

    async def mark_told(self, number: int) -> None:
        def mark(database: Connection, owner: str) -> None:
            database.execute("UPDATE entries SET untold = 0 WHERE number = ?", (number,))

        await self._write(mark, durable=False)

    async def paid_beside(self, number: int) -> tuple[str, ...]:
        return await self._read(lambda database, owner: queries.paid_beside(database, number))

    async def mark_paid_beside(self, number: int, task: Task, now: float) -> None:
        await self._write(
            lambda database, owner: states.record_beside(database, number, task, now), durable=False
        )

    async def release(self, number: int) -> None:
        await self._write(
            lambda database, owner: claims.release(database, number, self._database.holders(database)),
            durable=False,
        )
        self._database.working.discard(number)

    async def key_use(self) -> KeyUse:
        return await self._read(lambda database, owner: queries.key_use(database, self._gateway))

    async def learn_key_use(self, use: KeyUse) -> None:
        await self._write(
            lambda database, owner: claims.learn_key_use(database, self._gateway, use), durable=True
        )

    async def observe(self, task: Task, now: float) -> Entry:
        owner = await self.digest()
        known = self._cache.get((owner, task.id))
        if known is not None and known.task is not None:
            task = task.completed_by(known.task)
            if not states.is_news(known, task, now):
                return known

        def observe(database: Connection, owner: str) -> Entry:
            entry, is_changed = states.observe(database, owner, task, now)
            if is_changed:
                self._database.changed(database, owner, task.id)
            return entry

        entry = await self._write(observe, durable=False)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[owner, task.id] = entry
        return entry

    async def find(self, task_id: str) -> Entry | None:
        return await self._read(lambda database, owner: queries.find(database, owner, task_id))

    async def entries(self, *, status: EntryStatus | None = None, limit: int = 50) -> list[Entry]:
        return await self._read(lambda database, owner: queries.newest(database, owner, status, limit))

    async def unsaved(self, *, since: float) -> list[Entry]:
        return await self._read(
            lambda database, owner: queries.unsaved(database, owner, since, self._database.machine)
        )

    async def unkept(self, *, since: float) -> list[Entry]:
        return await self._read(lambda database, owner: queries.unkept(database, owner, since))

    async def rivals(self) -> list[Entry]:
        return await self._read(lambda database, owner: queries.rivals(database, self._gateway))

    async def taken_ids(self, task_ids: list[str]) -> set[str]:
        return await self._read(lambda database, owner: queries.taken_ids(database, task_ids))

    async def durations(self, task_id: str, limit: int = 10) -> list[float]:
        return await self._read(lambda database, owner: queries.durations(database, owner, task_id, limit))

    async def ensure_followed(self, task_id: str) -> None:
        await self._write(
            lambda database, owner: self._database.answered(database, owner, self._gateway, task_id),
            durable=False,
        )

    async def mark_saved(self, task_id: str, saved: Saved) -> None:
        await self._mark_video("saved", task_id, replace(saved, machine=self._database.machine))

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
        def mark(database: Connection, owner: str) -> None:
            self._cache.pop((owner, task_id), None)
            database.execute(
                f"UPDATE entries SET {column} = ? WHERE owner = ? AND task_id = ?",
                (json.dumps(asdict(video)), owner, task_id),
            )
            self._database.changed(database, owner, task_id)

        await self._write(mark, durable=False)

    async def _read(self, work: Callable[[Connection, str], T]) -> T:
        owner = await self.digest()
        return await self._database.read(lambda database: work(database, owner))

    async def _write(self, work: Callable[[Connection, str], T], *, durable: bool) -> T:
        owner = await self.digest()
        return await self._database.write(
            lambda database: work(database, owner), durable=durable, owner=owner
        )
