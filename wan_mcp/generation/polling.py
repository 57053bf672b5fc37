"""Waiting for tasks: each unfinished task is polled once, however many wait for it."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from wan_mcp.errors import EvolinkError, InternalError, LostAnswer, WanError
from wan_mcp.evolink import Task
from wan_mcp.generation.schedule import MAX_PAUSE, MIN_PAUSE, jittered
from wan_mcp.generation.status import PASSING, TaskSnapshot

logger = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEAT = 5.0
"""Seconds between two notifications that a wait goes on."""
MAX_RETRY_AFTER = 60.0
"""Seconds between two polls at most, also where the API asks for more."""

OnPoll = Callable[[Task | None], Awaitable[None]]
"""Told what is known of a task that is waited for: at once, at least every ten seconds, at each change."""


@dataclass(frozen=True)
class Waited:
    """The last known state, and the error of the last read, where that one failed."""

    task: Task
    read_error: EvolinkError | None = None


class Tasks(Protocol):
    """What a poller needs of a task: ``TaskReader`` has it."""

    async def read(self, task_id: str) -> TaskSnapshot: ...

    def pause(self, task: Task) -> float: ...


@dataclass
class RateLimit:
    """A bound on the reads of a whole process; first come, first served.

    Args:
        per_second: reads that begin in a second.
        at_once: reads under way at the same time.
    """

    per_second: float
    at_once: int
    _next: float = 0.0
    _running: anyio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._running = anyio.CapacityLimiter(self.at_once)

    async def run(self, read: Callable[[], Awaitable[T]]) -> T:
        """Call ``read`` when it is its turn."""
        now = anyio.current_time()
        turn = max(now, self._next)
        self._next = turn + 1 / self.per_second
        await anyio.sleep(turn - now)
        async with self._running:
            return await read()


class _Polled:
    """A task that is being polled, and what is known of it so far."""

    def __init__(self) -> None:
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

    def notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Poller:
    """Polls unfinished tasks for as long as somebody waits for them.

    Args:
        tasks: reads a task, and knows when to read it again.
        rate_limit: the bound for the whole process.
        background: where the polling runs.
    """

    def __init__(self, tasks: Tasks, rate_limit: RateLimit, background: TaskGroup) -> None:
        self._tasks = tasks
        self._rate_limit = rate_limit
        self._background = background
        self._polled: dict[str, _Polled] = {}

    async def wait(self, task_id: str, seconds: float, on_poll: OnPoll) -> Waited:
        """Wait until a task is over or the time is up; 0 seconds read once.

        Running out of time is a normal result, and does not affect the task.

        Raises:
            WanError: when the task cannot be read at all.
        """
        await on_poll(None)
        if seconds <= 0:
            return Waited((await self._tasks.read(task_id)).task)
        polled = self._join(task_id)
        try:
            await self._until_over(polled, anyio.current_time() + seconds, on_poll)
        finally:
            self._leave(task_id, polled)
        if polled.fatal is not None:
            raise polled.fatal
        if polled.task is None:
            raise polled.read_error or LostAnswer("Evolink did not answer in the time of this wait.")
        return Waited(polled.task, polled.read_error)

    async def _until_over(self, polled: _Polled, deadline: float, on_poll: OnPoll) -> None:
        while not polled.is_over and (left := deadline - anyio.current_time()) > 0:
            changed = polled.changed
            with anyio.move_on_after(min(HEARTBEAT, left)):
                await changed.wait()
            if polled.fatal is None:
                await on_poll(polled.task)

    def _join(self, task_id: str) -> _Polled:
        polled = self._polled.get(task_id)
        if polled is None:
            polled = self._polled[task_id] = _Polled()
            self._background.start_soon(self._poll, task_id, polled)
        polled.waiting += 1
        return polled

    def _leave(self, task_id: str, polled: _Polled) -> None:
        """The last one who leaves ends the polling."""
        polled.waiting -= 1
        if polled.waiting == 0:
            polled.scope.cancel()
            if self._polled.get(task_id) is polled:
                del self._polled[task_id]

    async def _poll(self, task_id: str, polled: _Polled) -> None:
        """Read a task until it is over; passing errors slow this down and do not end it."""
        with polled.scope:
            failures, pause = 0, 0.0
            while True:
                try:
                    snapshot = await self._rate_limit.run(lambda: self._tasks.read(task_id))
                    polled.task, polled.read_error, failures = snapshot.task, None, 0
                    pause = jittered(self._tasks.pause(snapshot.task))
                except PASSING as error:
                    polled.read_error, failures = error, failures + 1
                    pause = _back_off(error, failures)
                    logger.info("reading %s failed (%s); again in %.0f s", task_id, error, pause)
                except WanError as error:
                    polled.fatal = error
                except Exception:
                    logger.exception("reading %s failed unexpectedly", task_id)
                    polled.fatal = InternalError()
                polled.notify()
                if polled.is_over:
                    # Callers from now on get a poll, and an answer, of their own.
                    self._polled.pop(task_id, None)
                    return
                await anyio.sleep(pause)


def _back_off(error: EvolinkError, failures: int) -> float:
    """Seconds until the next read after a failed one: as the API asked, else growing and with jitter."""
    if error.retry_after is not None:
        return min(max(error.retry_after, MIN_PAUSE), MAX_RETRY_AFTER)
    return min(MIN_PAUSE * 2.0**failures, MAX_PAUSE) * random.uniform(0.8, 1.0)
