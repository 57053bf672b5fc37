"""Reads tasks from the API, and records their states in the ledger."""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from wan_mcp.errors import (
    Busy,
    EvolinkError,
    LedgerError,
    LostAnswer,
    NotFound,
    NotKnownYet,
    ServerFault,
    Unreachable,
    UnreadableAnswer,
)
from wan_mcp.evolink import Evolink, Task, values
from wan_mcp.generation.expectation import Expectation
from wan_mcp.generation.schedule import MIN_PAUSE
from wan_mcp.generation.status import LINK_LIFE, TaskChanged, TaskSnapshot, link_expiry, on_this_disk
from wan_mcp.ledger import Entry, OwnerLedger

logger = logging.getLogger(__name__)

PASSING = (Unreachable, LostAnswer, UnreadableAnswer, Busy, ServerFault, NotKnownYet)
"""Errors of a read that say nothing about the task: another read may succeed."""
UNREADABLE = (*PASSING, NotFound)
"""Errors of a read after which the ledger is asked: the API forgets finished tasks after some time."""
NEW_FOR = 120.0
"""Seconds after its creation in which a task may not be known to all of the API yet."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the API's clock may be ahead of ours."""
_CREATED = re.compile(r"task-unified-(\d{10,13})-")
MAX_EXPECTED = 10_000
"""Tasks whose expectations are kept in memory at most."""


class TaskReader:
    """Reads the tasks of one owner, and keeps the ledger current.

    Args:
        evolink: the API.
        ledger: the owner's; where it fails, reading goes on without it.
        clock: the time, in Unix seconds.
        changed: told of each task that is seen to have changed.
    """

    def __init__(
        self, evolink: Evolink, ledger: OwnerLedger, clock: Callable[[], float], changed: TaskChanged
    ) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._clock = clock
        self._changed = changed
        self._expected: dict[str, Expectation] = {}
        self._waited_since: dict[str, float] = {}
        self._last: dict[str, object] = {}

    async def read(self, task_id: str) -> TaskSnapshot:
        """Read a task, and record its state.

        Raises:
            NotKnownYet: when the API does not know it, but it may be too new.
            EvolinkError: for everything else that can go wrong.
        """
        try:
            task = await self._evolink.task(task_id)
        except NotFound as error:
            if not await self._is_new(task_id):
                raise
            raise NotKnownYet(
                f"{error.message} A task can be unknown for two minutes after it was made.",
                next_step="Ask again in a few seconds.",
                status=error.status,
                code=error.code,
                request_id=error.request_id,
            ) from error
        entry = None
        try:
            entry = await self._ledger.observe(task, self._clock())
        except LedgerError as error:
            logger.warning("the ledger could not be kept current: %s", error)
        if entry is not None and entry.task is not None:
            # An answer that comes late, leaves the links out, or says failed does not undo a completion.
            is_undone = entry.task.has_video and not task.has_video
            task = entry.task if is_undone else task.completed_by(entry.task)
        self.take_in(task)
        return self.snapshot(task, await on_this_disk(entry) if entry else None)

    async def poll(self, task_id: str, younger_than: float) -> tuple[TaskSnapshot, float]:
        """Read a task, unless another process has just done so; also the seconds until the next poll.

        Args:
            task_id: the task.
            younger_than: seconds since that read, below which its state will do.
        """
        entry = await self.entry(task_id) if younger_than > 0 else None
        age = self._clock() - entry.known_at if entry is not None and entry.known_at is not None else -1.0
        if entry is None or entry.task is None or not 0 <= age < younger_than:
            snapshot = await self.read(task_id)
            return snapshot, self.pause(snapshot.task)
        self.take_in(entry.task, age)
        return self.snapshot(entry.task, entry), max(self.pause(entry.task) - age, MIN_PAUSE)

    async def read_or_remember(self, task_id: str) -> TaskSnapshot:
        """Read a task; where that fails, what the ledger knows of it.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        try:
            return await self.read(task_id)
        except UNREADABLE as error:
            return await self.remembered(task_id, error)

    async def remembered(self, task_id: str, error: EvolinkError) -> TaskSnapshot:
        """What the ledger knows of a task that cannot be read now.

        Raises:
            EvolinkError: the given one, where the ledger knows nothing of it.
        """
        entry = await self.entry(task_id)
        if entry is None or entry.task is None:
            raise error
        return replace(self.snapshot(entry.task, entry), read_error=error, known_at=entry.known_at)

    async def awaited(self, task_id: str, error: EvolinkError) -> TaskSnapshot:
        """What is known of a task that could not be read in the time of a wait.

        Raises:
            EvolinkError: the given one, where nothing is known of it and it is not new.
        """
        try:
            return await self.remembered(task_id, error)
        except NotKnownYet:
            return TaskSnapshot(Task(id=task_id, status="pending"), read_error=error)

    async def entry(self, task_id: str) -> Entry | None:
        """The ledger's row of a task, if it has one and can be read."""
        with suppress(LedgerError):
            entry = await self._ledger.find(task_id)
            return entry and await on_this_disk(entry)
        return None

    async def learn(self, task_id: str) -> None:
        """Begin to wait: find out how long tasks like this one took, for the schedule and the time left."""
        if len(self._waited_since) >= MAX_EXPECTED:
            self._waited_since.clear()
        self._waited_since.setdefault(task_id, self._clock())
        with suppress(LedgerError):
            self._expectation(task_id).durations = await self._ledger.durations(task_id)

    def pause(self, task: Task) -> float:
        """Seconds until the next poll of an unfinished task."""
        return self._expectation(task.id).pause(task, self._elapsed(task))

    def take_in(self, task: Task, age: float = 0.0) -> None:
        """Take in what an answer says: for the time left, and for those who are told of changes.

        Args:
            task: as it was answered.
            age: seconds since that answer came.
        """
        now, elapsed = self._clock(), self._elapsed(task)
        elapsed = None if elapsed is None else max(elapsed - age, 0.0)
        self._expectation(task.id).learn(task, elapsed, now - age)
        state = (task.status, task.progress, task.results)
        if self._last.get(task.id) not in (None, state):
            self._changed(task.id)
        if task.is_over:
            self._last.pop(task.id, None)
        else:
            self._last[task.id] = state

    def snapshot(self, task: Task, entry: Entry | None = None) -> TaskSnapshot:
        """What is known of a task, with what follows from it."""
        now, expires = self._clock(), link_expiry(entry) if entry else None
        if task.status == "completed" and expires is None:
            expires = now + LINK_LIFE
        return TaskSnapshot(
            task,
            now=now,
            entry=entry,
            take=entry.take if entry and entry.is_request else None,
            recovered=entry.recovered if entry else False,
            time_left=None if task.is_over else self._expectation(task.id).left(now),
            expires_at=expires,
            saved=entry.saved if entry else None,
        )

    async def _is_new(self, task_id: str) -> bool:
        """Whether a task may have been made so recently that the API does not know it yet."""
        now, entry = self._clock(), await self.entry(task_id)
        if entry is not None:
            sent = (entry.asked_at, *(post.at for post in entry.posts))
            return not (entry.task and entry.task.is_over) and abs(now - max(sent)) < NEW_FOR
        found = _CREATED.match(task_id)
        made = values.time(found[1]) if found else None
        if made is None or made > now + CLOCKS_DIFFER:
            made = self._waited_since.get(task_id)
        return made is not None and now - made < NEW_FOR

    def _elapsed(self, task: Task) -> float | None:
        """Seconds since a task was created; None where the clocks differ too much to tell."""
        elapsed = self._clock() - (task.created or 0)
        return max(elapsed, 0.0) if -CLOCKS_DIFFER < elapsed < 86400 else None

    def _expectation(self, task_id: str) -> Expectation:
        if task_id not in self._expected and len(self._expected) >= MAX_EXPECTED:
            self._expected.clear()
        return self._expected.setdefault(task_id, Expectation())
