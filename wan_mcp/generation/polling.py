"""Waiting for tasks: one reader for each unfinished task, shared by everyone who waits for it."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from wan_mcp.errors import (
    Busy,
    EvolinkError,
    LostAnswer,
    ServerFault,
    Unreachable,
    UnreadableAnswer,
    WanError,
)
from wan_mcp.evolink import Task
from wan_mcp.generation.schedule import LONGEST, SHORTEST, spread_out

logger = logging.getLogger(__name__)

HEARTBEAT = 5.0
"""Seconds between two notices that a wait goes on."""

PASSING = (Unreachable, LostAnswer, UnreadableAnswer, Busy, ServerFault)
"""Errors of a read that say nothing about the task: the wait goes on."""

Read = Callable[[str], Awaitable[Task]]
Pause = Callable[[Task | None], float]
"""Seconds until the next read of a task, by what is known of it."""
Tell = Callable[[Task | None], Awaitable[None]]
"""Told what is known of the task: at once, at least every ten seconds, and when it changes."""


@dataclass(frozen=True)
class Waited:
    """What a wait came to know. ``trouble`` is the error of the last read, where that one failed."""

    task: Task
    trouble: EvolinkError | None = None


@dataclass
class Pace:
    """A bound on the reads of a whole process; whoever asks first goes first.

    Args:
        a_second: reads that begin in a second.
        at_once: reads under way at the same time.
    """

    a_second: float
    at_once: int
    _next: float = 0.0
    _running: anyio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._running = anyio.CapacityLimiter(self.at_once)

    async def run(self, read: Callable[[], Awaitable[Task]]) -> Task:
        """Read when it is this one's turn."""
        now = anyio.current_time()
        turn = max(now, self._next)
        self._next = turn + 1 / self.a_second
        await anyio.sleep(turn - now)
        async with self._running:
            return await read()


class _Watch:
    """What the reader of one task has found so far."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.trouble: EvolinkError | None = None
        self.end: WanError | None = None
        """An error after which no further read would help."""
        self.waiting = 0
        self.scope = anyio.CancelScope()
        self.changed = anyio.Event()

    @property
    def is_over(self) -> bool:
        return self.end is not None or (self.task is not None and self.task.is_over)

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class Watcher:
    """Reads unfinished tasks for as long as somebody waits for them.

    Args:
        read: reads a task.
        pause: when to read again.
        pace: the bound for the whole process.
        background: where the readers run.
    """

    def __init__(self, read: Read, pause: Pause, pace: Pace, background: TaskGroup) -> None:
        self._read = read
        self._pause = pause
        self._pace = pace
        self._background = background
        self._watches: dict[str, _Watch] = {}

    async def wait(self, task_id: str, seconds: float, tell: Tell) -> Waited:
        """Wait until a task is over or the time is up; 0 seconds look once.

        Running out of time is a normal result, and nothing happens to the task by it.

        Raises:
            WanError: when the task cannot be read at all.
        """
        await tell(None)
        if seconds <= 0:
            return Waited(await self._read(task_id))
        watch = self._join(task_id)
        try:
            await self._until_over(watch, anyio.current_time() + seconds, tell)
        finally:
            self._leave(task_id, watch)
        if watch.end is not None:
            raise watch.end
        if watch.task is None:
            raise watch.trouble or LostAnswer("Evolink did not answer in the time of this wait.")
        return Waited(watch.task, watch.trouble)

    async def _until_over(self, watch: _Watch, deadline: float, tell: Tell) -> None:
        while not watch.is_over and (left := deadline - anyio.current_time()) > 0:
            changed = watch.changed
            with anyio.move_on_after(min(HEARTBEAT, left)):
                await changed.wait()
            if watch.end is None:
                await tell(watch.task)

    def _join(self, task_id: str) -> _Watch:
        watch = self._watches.get(task_id)
        if watch is None:
            watch = self._watches[task_id] = _Watch()
            self._background.start_soon(self._follow, task_id, watch)
        watch.waiting += 1
        return watch

    def _leave(self, task_id: str, watch: _Watch) -> None:
        """The last one who leaves ends the reading."""
        watch.waiting -= 1
        if watch.waiting == 0:
            watch.scope.cancel()
            if self._watches.get(task_id) is watch:
                del self._watches[task_id]

    async def _follow(self, task_id: str, watch: _Watch) -> None:
        """Read a task until it is over, backing off from trouble without giving up."""
        with watch.scope:
            troubles, wait = 0, 0.0
            while True:
                try:
                    watch.task = await self._pace.run(lambda: self._read(task_id))
                    watch.trouble, troubles = None, 0
                    wait = spread_out(self._pause(watch.task))
                except PASSING as error:
                    watch.trouble, troubles = error, troubles + 1
                    wait = _back_off(error, troubles)
                    logger.info("reading %s failed (%s); again in %.0f s", task_id, error, wait)
                except Exception as error:
                    watch.end = error if isinstance(error, WanError) else _fault(error)
                watch.tell()
                if watch.is_over:
                    # Whoever asks from now on gets a reader, and an answer, of its own.
                    self._watches.pop(task_id, None)
                    return
                await anyio.sleep(wait)


def _back_off(error: EvolinkError, troubles: int) -> float:
    """Seconds until the next read after trouble: what the API asked for, else growing and spread."""
    if error.retry_after is not None:
        return min(max(error.retry_after, SHORTEST), 60.0)
    return min(SHORTEST * 2.0**troubles, LONGEST) * random.uniform(0.8, 1.0)


def _fault(error: Exception) -> WanError:
    logger.error("a reader failed unexpectedly", exc_info=error)
    return WanError("wan-mcp itself failed; its log on stderr says how.", next_step="Try once more.")
