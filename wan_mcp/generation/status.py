"""Reading tasks, and remembering what was read."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from wan_mcp.errors import EvolinkError, LedgerError
from wan_mcp.evolink import Evolink, Task
from wan_mcp.generation.schedule import expected_duration, next_look
from wan_mcp.generation.snapshot import Report
from wan_mcp.ledger import Entry, Ledger

logger = logging.getLogger(__name__)

LINKS_LIVE = 24 * 3600.0
"""Seconds for which a result's links work, from the completion on: as documented."""
LEARNED = 10_000
"""Tasks of which the durations of their kind are kept in memory at most."""
Owner = Callable[[], Awaitable[str]]
"""Whose tasks these are: a digest of the key; raises ``LedgerError`` where the ledger cannot be read."""
Changed = Callable[[str], None]
"""Told the id of a task that is not as it was."""


class Tracker:
    """What the API says of tasks now, and what the ledger knows of them.

    Args:
        evolink: the API.
        ledger: the record, which is kept current; where it fails, reading goes on without.
        owner: whose tasks these are.
        clock: the time, in Unix seconds.
        changed: told of each task that is seen to have changed.
    """

    def __init__(
        self, evolink: Evolink, ledger: Ledger, owner: Owner, clock: Callable[[], float], changed: Changed
    ) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._changed = changed
        self._learned: dict[str, list[float]] = {}
        self._last: dict[str, object] = {}

    async def read(self, task_id: str) -> Task:
        """Read a task."""
        return (await self.look(task_id)).task

    async def look(self, task_id: str) -> Report:
        """Read a task, and say what is known of it besides."""
        task = await self._evolink.task(task_id)
        self._notice_change(task)
        try:
            entry = await self._ledger.observed(await self._owner(), task, self._clock())
        except LedgerError as error:
            logger.warning("the ledger could not be kept current: %s", error)
            return self.report(task)
        return self.report(task, entry)

    async def remembered(self, task_id: str, error: EvolinkError) -> Report:
        """What the ledger knows of a task that cannot be read now.

        Raises:
            EvolinkError: the given one, where the ledger knows nothing of it.
        """
        entry = await self.entry(task_id)
        if entry is None or entry.task is None:
            raise error
        return replace(self.report(entry.task, entry), trouble=error, known_at=entry.known_at)

    async def entry(self, task_id: str) -> Entry | None:
        """The ledger's row of a task, if it has one and can be read."""
        with suppress(LedgerError):
            return await self._ledger.find(await self._owner(), task_id)
        return None

    async def learn(self, task_id: str) -> None:
        """Find out how long tasks like this one took, for the schedule and for the time left."""
        if len(self._learned) >= LEARNED:
            self._learned.clear()
        with suppress(LedgerError):
            self._learned[task_id] = await self._ledger.durations(await self._owner(), task_id)

    def pause(self, task: Task | None) -> float:
        """Seconds until the next read of a task that is waited for."""
        if task is None or (elapsed := self._elapsed(task)) is None:
            return next_look(0)
        return next_look(elapsed, task.estimated_time, task.progress, self._learned.get(task.id, ()))

    def report(self, task: Task, entry: Entry | None = None) -> Report:
        """What is known of a task, with what follows from it."""
        expires = None
        if task.status == "completed":
            seen = entry.completed_at if entry else None
            expires = (seen or self._clock()) + LINKS_LIVE
        return Report(
            task,
            adopted=entry.adopted if entry else False,
            time_left=self._time_left(task),
            expires_at=expires,
            link_life=expires - self._clock() if expires else None,
            saved=entry.saved if entry else None,
        )

    def _elapsed(self, task: Task) -> float | None:
        """Seconds since a task was created; None where the clocks disagree beyond use."""
        elapsed = self._clock() - (task.created or 0)
        return max(elapsed, 0.0) if -60 < elapsed < 86400 else None

    def _time_left(self, task: Task) -> float | None:
        if task.is_over or (elapsed := self._elapsed(task)) is None:
            return None
        durations = self._learned.get(task.id, ())
        if task.estimated_time is None and not durations:
            return None
        return max(expected_duration(elapsed, task.estimated_time, task.progress, durations) - elapsed, 0)

    def _notice_change(self, task: Task) -> None:
        state = (task.status, task.progress, task.results)
        if self._last.get(task.id) not in (None, state):
            self._changed(task.id)
        if task.is_over:
            self._last.pop(task.id, None)
        else:
            self._last[task.id] = state
