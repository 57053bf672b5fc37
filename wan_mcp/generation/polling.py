"""Waiting for tasks: all callers that wait for the same task share its polls."""

import functools
import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from wan_mcp.errors import EvolinkError, InternalError, LostAnswer, WanError
from wan_mcp.evolink import Task
from wan_mcp.generation.last_reads import MAX_RETRY_AFTER
from wan_mcp.generation.rate_limit import RateLimit
from wan_mcp.generation.reading import FRESH, NO_ANSWER, SHARED
from wan_mcp.generation.schedule import MAX_PAUSE, MIN_PAUSE, jittered
from wan_mcp.generation.status import PASSING, TaskSnapshot

logger = logging.getLogger(__name__)

STOPPING = "The server is about to stop."
HEARTBEAT = 5.0
"""Seconds between two notifications that a wait goes on."""

OnPoll = Callable[[Task | None], Awaitable[None]]
"""Told what is known of a task that is waited for: at once, at least every ten seconds, at each change."""


@dataclass(frozen=True)
class Waited:
    """The last known state, and the error of the last read, if it failed."""

    task: Task
    read_error: EvolinkError | None = None


class Tasks(Protocol):
    """What a poller needs to read tasks: ``TaskReader`` has it."""

    async def poll(self, task_id: str, younger_than: float) -> tuple[TaskSnapshot, float]: ...


class _Polled:
    """A task that is being polled, and what is known of it so far.

    Args:
        pause: seconds until the first poll.
    """

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.hurry = anyio.Event()
        """Set when the next poll is wanted at once."""
        self.reading = False
        self.read_at = -math.inf
        self.task: Task | None = None
        self.read_error: EvolinkError | None = None
        self.fatal: WanError | None = None
        """An error after which no further read would help."""
        self.waiting = 0
        self.scope = anyio.CancelScope()
        self.changed = anyio.Event()

    @property
    def is_over(self) -> bool:
        return self.fatal is not None or (self.task is not None and self.task.is_over)

    def is_read_for(self, deadline: float) -> bool:
        """Whether no read is needed at once: one is due before ``deadline``, under way, or was just made."""
        is_known = self.task is not None and self.read_error is None
        is_due = is_known and self.read_at + self.pause < deadline
        return is_due or self.reading or anyio.current_time() <= self.read_at + FRESH

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Poller:
    """Polls unfinished tasks while callers wait for them or follow them.

    Args:
        tasks: reads a task, and says when to read it again.
        rate_limit: the bound for the whole process.
        background: where the polling runs.
    """

    def __init__(self, tasks: Tasks, rate_limit: RateLimit, background: TaskGroup) -> None:
        self._tasks = tasks
        self._rate_limit = rate_limit
        self._background = background
        self._polled: dict[str, _Polled] = {}
        self._is_ending = False

    @property
    def is_busy(self) -> bool:
        """Whether any caller waits for a task, or follows one."""
        return bool(self._polled)

    def end_waits(self) -> None:
        """End all waits now, and those that begin later at once, as if their time were up."""
        self._is_ending = True
        for polled in self._polled.values():
            polled.notify()

    def wake(self, task_id: str) -> None:
        """Poll a task at once, if anybody waits for it: another program knows more.

        Args:
            task_id: the task; empty for all.
        """
        for polled_id, polled in self._polled.items():
            if task_id in ("", polled_id):
                polled.hurry.set()

    async def wait(self, task_id: str, seconds: float, on_poll: OnPoll) -> Waited:
        """Wait until a task is over or the time is up; with 0 seconds, read it once.

        Running out of time is a normal result, and does not affect the task.

        Raises:
            WanError: when the task cannot be read at all.
        """
        await on_poll(None)
        if seconds <= 0:
            snapshot, _ = await self._tasks.poll(task_id, 0.0)
            return Waited(snapshot.task)
        with self._joined(task_id, 0.0) as polled:
            deadline = anyio.current_time() + seconds
            if not polled.is_read_for(deadline):
                polled.hurry.set()
            await self._until_over(polled, deadline, on_poll)
        if polled.task is None and polled.fatal is None:
            reason = STOPPING if self._is_ending else NO_ANSWER.format(seconds=seconds)
            raise polled.read_error or LostAnswer(reason)
        return _outcome(polled)

    async def follow(self, task_id: str, pause: float) -> Task:
        """Poll a task until it is over.

        Args:
            task_id: the task.
            pause: seconds until the first poll.

        Raises:
            WanError: when the task cannot be read at all.
        """
        with self._joined(task_id, jittered(pause)) as polled:
            while not polled.is_over:
                await polled.changed.wait()
        return _outcome(polled).task

    async def _until_over(self, polled: _Polled, deadline: float, on_poll: OnPoll) -> None:
        while not (polled.is_over or self._is_ending) and (left := deadline - anyio.current_time()) > 0:
            changed = polled.changed
            with anyio.move_on_after(min(HEARTBEAT, left)):
                await changed.wait()
            if polled.fatal is None:
                await on_poll(polled.task)

    @contextmanager
    def _joined(self, task_id: str, pause: float) -> Iterator[_Polled]:
        """Poll a task until this block, and those of all other callers, have ended."""
        polled = self._polled.get(task_id)
        if polled is None:
            polled = self._polled[task_id] = _Polled(pause)
            self._background.start_soon(self._poll, task_id, polled)
        polled.waiting += 1
        try:
            yield polled
        finally:
            polled.waiting -= 1
            if polled.waiting == 0:
                polled.scope.cancel()
                if self._polled.get(task_id) is polled:
                    del self._polled[task_id]

    async def _poll(self, task_id: str, polled: _Polled) -> None:
        """Read a task until it is over; passing errors make the pauses longer and do not end this."""
        with polled.scope:
            failures = 0
            while not polled.is_over:
                with anyio.move_on_after(polled.pause):
                    await polled.hurry.wait()
                # A read by another caller or process during this pause is enough.
                younger_than = FRESH if polled.hurry.is_set() else polled.pause * SHARED
                polled.hurry, polled.reading = anyio.Event(), True
                try:
                    snapshot, pause = await self._rate_limit.run(
                        functools.partial(self._tasks.poll, task_id, younger_than)
                    )
                    polled.task, polled.read_error, failures = snapshot.task, None, 0
                    polled.pause = jittered(pause)
                except PASSING as error:
                    polled.read_error, failures = error, failures + 1
                    polled.pause = _back_off(error, failures)
                    logger.info("reading %s failed (%s); again in %.0f s", task_id, error, polled.pause)
                except WanError as error:
                    polled.fatal = error
                except Exception:
                    logger.exception("reading %s failed unexpectedly", task_id)
                    polled.fatal = InternalError()
                polled.reading, polled.read_at = False, anyio.current_time()
                polled.notify()
            # Later callers start a new poll.
            self._polled.pop(task_id, None)


def _outcome(polled: _Polled) -> Waited:
    if polled.fatal is not None:
        raise polled.fatal
    assert polled.task is not None
    return Waited(polled.task, polled.read_error)


def _back_off(error: EvolinkError, failures: int) -> float:
    """Seconds from a failed read to the next one: as the API asked, else growing and with jitter."""
    if error.retry_after is not None:
        return min(max(error.retry_after, MIN_PAUSE), MAX_RETRY_AFTER)
    # After hours without an answer, two to the power of the failures is too large for a float.
    return min(MIN_PAUSE * 2.0 ** min(failures, 10), MAX_PAUSE) * random.uniform(0.8, 1.0)
