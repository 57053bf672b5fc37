"""Reading tasks from the API, and recording their states in the ledger."""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from weakref import WeakValueDictionary

import anyio

from wan_mcp.errors import EvolinkError, LedgerError, LostAnswer, NotKnownYet
from wan_mcp.evolink import Task
from wan_mcp.generation.expectation import Expectation
from wan_mcp.generation.last_reads import Known, LastReads
from wan_mcp.generation.places import VideoPlace
from wan_mcp.generation.schedule import MIN_PAUSE
from wan_mcp.generation.status import LINK_LIFE, UNREADABLE, TaskSnapshot, link_expiry
from wan_mcp.generation.task_source import CLOCKS_DIFFER, TaskSource
from wan_mcp.ledger import Entry, OwnerLedger

logger = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which a state is used again without another read."""
SHARED = 0.8
"""The share of a pause within which a read by another caller or process is used instead of a new one."""
LOOK_AGAIN = 10.0
"""Seconds until the next look at a task that a job follows, in case the notice of a change was lost."""
OVERDUE = 60.0
"""Seconds after a read of such a task was due from which it is read here, too."""
MARGIN = 0.5
"""Seconds after a read is due at which callers are told to ask: the server has its answer by then."""
PATIENCE = 30.0
"""Seconds after which ``current`` is answered, even if the API has not answered."""
NO_ANSWER = "Evolink did not answer within {seconds:g} seconds."
MAX_EXPECTED = 10_000
"""Tasks whose expectations are kept in memory at most."""


class TaskReader:
    """Reads the tasks of one owner, and keeps the ledger current.

    Args:
        source: asks the API.
        ledger: the owner's; where it fails, reading goes on without it.
        clock: the time, in Unix seconds.
        changed: told the id of each task whose state has changed.
        videos: tells which videos are saved.
        is_followed: whether a job reads each task by its schedule, so that the ledger's states are enough.
    """

    def __init__(
        self,
        source: TaskSource,
        ledger: OwnerLedger,
        clock: Callable[[], float],
        changed: Callable[[str], None],
        videos: VideoPlace,
        is_followed: bool = False,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._clock = clock
        self._changed = changed
        self._videos = videos
        self._is_followed = is_followed
        self._expected: dict[str, Expectation] = {}
        self._reads = LastReads(clock)
        self._reading: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._last: dict[str, object] = {}

    async def read(self, task_id: str) -> TaskSnapshot:
        """Read a task, and record its state.

        Raises:
            NotKnownYet: when the API does not know the task, but it may be too new.
            EvolinkError: when the task cannot be read for another reason.
            LedgerError: when only the ledger can tell whose task it is, and it cannot be read.
        """
        try:
            task = await self._source.task(task_id)
        except EvolinkError as error:
            self._reads.ended(task_id, error=error)
            raise
        entry = None
        try:
            entry = await self._ledger.observe(task, self._clock())
        except LedgerError as error:
            logger.warning("the ledger could not be kept current: %s", error)
        if entry is not None and entry.task is not None:
            # A late answer, one without the links, or one that says failed does not undo a completion.
            is_undone = entry.task.has_video and not task.has_video
            task = entry.task if is_undone else task.completed_by(entry.task)
        self._reads.ended(task_id, task)
        self.take_in(task)
        return self.snapshot(task, await self._videos.shown(entry) if entry else None)

    async def check(self, task_id: str) -> None:
        """Refuse a task that the owner may not see, before anything is done for it: see ``TaskSource``."""
        await self._source.check(task_id)

    async def poll(
        self,
        task_id: str,
        younger_than: float,
        will_do: Callable[[Known], bool] = lambda known: True,
        is_paced: bool = False,
    ) -> tuple[TaskSnapshot, float]:
        """Read a task, unless it was just read. Return it with the seconds until the next poll.

        Calls at the same time share one read. Errors are those of ``read``.

        Args:
            task_id: the task.
            younger_than: age in seconds below which a state that was read before is used, from any process.
            will_do: whether such a state may be used.
            is_paced: whether the error of a read that has just failed is raised again, instead of reading.
        """
        before = self._reads.of(task_id).number
        async with self._reading.setdefault(task_id, anyio.Lock()):
            last = self._reads.of(task_id)
            is_shared = last.number > before
            if last.error is not None and (is_shared or (is_paced and self._reads.since(last) < last.pause)):
                raise last.error.with_traceback(None)
            is_enough = self._is_on_time if self._is_followed else will_do
            if self._is_followed:
                younger_than = math.inf
            known = await self._known(task_id) if is_shared or younger_than > 0 else None
            if known is not None and (is_shared or (known.age < younger_than and is_enough(known))):
                self.take_in(known.task, known.age)
                pause = max(self.pause(known.task, known.age) - known.age, MIN_PAUSE)
                return self.snapshot(known.task, known.entry), LOOK_AGAIN if self._is_followed else pause
            snapshot = await self.read(task_id)
            return snapshot, self.pause(snapshot.task)

    def _is_on_time(self, known: Known) -> bool:
        """Whether the job of a task reads it as it should: else it is read here."""
        return known.task.is_over or known.age < self.pause(known.task, known.age) + OVERDUE

    async def read_or_remember(self, task_id: str) -> TaskSnapshot:
        """Read a task, unless it is running and was just read; if the read fails, use the ledger's state.

        Raises:
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        try:
            return (await self.poll(task_id, FRESH, _runs_and_was_read))[0]
        except UNREADABLE as error:
            return await self.remembered(task_id, error)

    async def current(self, task_id: str, patience: float) -> TaskSnapshot:
        """A task as it is known after ``patience`` seconds at most, read only if the schedule says so.

        A task that is too new to be known to the API is pending.

        Raises:
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        known, younger_than = await self._known(task_id), 0.0
        if known is not None:
            if not known.task.is_over:
                await self._learn_durations(task_id)
            snapshot = self.snapshot(known.task, known.entry)
            if snapshot.next_read is None or snapshot.next_read > MARGIN:
                error = self._reads.of(task_id).error
                at = known.entry.known_at if known.entry and error else None
                return replace(snapshot, read_error=error, known_at=at)
            younger_than = self.pause(known.task, known.age) * SHARED
        try:
            with anyio.move_on_after(patience):
                return (await self.poll(task_id, younger_than, is_paced=True))[0]
            raise LostAnswer(NO_ANSWER.format(seconds=patience))
        except UNREADABLE as error:
            return await self.awaited(task_id, error)

    async def remembered(self, task_id: str, error: EvolinkError) -> TaskSnapshot:
        """The ledger's state of a task that cannot be read now.

        Raises:
            EvolinkError: ``error``, when the ledger does not have the task.
        """
        entry = await self.entry(task_id)
        if entry is None or entry.task is None:
            raise error
        return replace(self.snapshot(entry.task, entry), read_error=error, known_at=entry.known_at)

    async def awaited(self, task_id: str, error: EvolinkError) -> TaskSnapshot:
        """The ledger's state of a task that could not be read during a wait; a new task is pending.

        Raises:
            EvolinkError: ``error``, when the ledger does not have the task, and it is not new.
        """
        try:
            return await self.remembered(task_id, error)
        except NotKnownYet:
            return replace(self.snapshot(Task(id=task_id, status="pending")), read_error=error)

    async def entry(self, task_id: str) -> Entry | None:
        """The ledger's row of a task, if it has one and can be read."""
        with suppress(LedgerError):
            entry = await self._ledger.find(task_id)
            return entry and await self._videos.shown(entry)
        return None

    async def learn(self, task_id: str) -> None:
        """Begin to wait: learn how long tasks like this one took, for the schedule and the time left."""
        self._source.remember_wait(task_id)
        await self._learn_durations(task_id)

    async def _learn_durations(self, task_id: str) -> None:
        with suppress(LedgerError):
            self._expectation(task_id).durations = await self._ledger.durations(task_id)

    def pause_after_failure(self, task_id: str) -> float:
        """Seconds from a failed read to the next one."""
        return self._reads.of(task_id).pause

    def pause(self, task: Task, age: float = 0.0) -> float:
        """Seconds from the read of an unfinished task, which was ``age`` seconds ago, to the next poll."""
        return self._expectation(task.id).pause(task, self._elapsed(task, age))

    def take_in(self, task: Task, age: float = 0.0) -> None:
        """Take in an answer from ``age`` seconds ago, and tell of a change."""
        self._expectation(task.id).learn(task, self._elapsed(task, age), self._clock() - age)
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
            next_read=None if task.is_over else self._next_read(task, self._age(task.id, entry)),
            expires_at=expires,
            saved=entry.saved if entry else None,
            kept=entry.kept if entry else None,
            link=entry.link if entry else None,
            kept_until=entry.kept_until if entry else None,
        )

    def _next_read(self, task: Task, age: float) -> float:
        """Seconds until a running task that was read ``age`` seconds ago has been read again."""
        last = self._reads.of(task.id)
        retry = last.pause - self._reads.since(last)
        return max(self.pause(task, age) - age, retry, 0.0) + MARGIN

    async def _known(self, task_id: str) -> Known | None:
        """The newest read of a task; None where there was none."""
        entry, last = await self.entry(task_id), self._reads.of(task_id)
        age = self._age(task_id, entry)
        if last.task is not None and self._reads.since(last) <= age:
            return Known(last.task, age, entry)
        return Known(entry.task, age, entry) if entry is not None and entry.task is not None else None

    def _age(self, task_id: str, entry: Entry | None) -> float:
        """Seconds since a task was read; infinite if there was no read, or the clock was set back since."""
        last = self._reads.of(task_id)
        since = self._reads.since(last) if last.task is not None else math.inf
        age = self._clock() - entry.known_at if entry and entry.known_at is not None else math.inf
        return min(since, age if age >= 0 else math.inf)

    def _elapsed(self, task: Task, age: float) -> float | None:
        """Seconds from a task's creation to a read ``age`` seconds ago; None where the clocks differ."""
        elapsed = self._clock() - age - (task.created or 0)
        return max(elapsed, 0.0) if -CLOCKS_DIFFER < elapsed < 86400 else None

    def _expectation(self, task_id: str) -> Expectation:
        if task_id not in self._expected and len(self._expected) >= MAX_EXPECTED:
            self._expected.clear()
        return self._expected.setdefault(task_id, Expectation())


def _runs_and_was_read(known: Known) -> bool:
    """Whether a task is running, and was read after the answer to its POST."""
    posts, read_at = (known.entry.posts, known.entry.known_at or 0.0) if known.entry else ((), 0.0)
    return not known.task.is_over and all(read_at > post.at + FRESH for post in posts)
