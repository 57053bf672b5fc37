"""What this process last read of its tasks, for when the ledger fails or the clock was changed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from wan_mcp.errors import EvolinkError
from wan_mcp.evolink import Task
from wan_mcp.ledger import Entry

AFTER_FAILURE = 10.0
"""Seconds from a failed read to the next one at least, for callers that keep to the schedule."""
MAX_RETRY_AFTER = 120.0
"""Seconds between two reads at most, even if the API asks for more."""
MAX_READS = 10_000
"""Tasks whose last reads are kept in memory at most."""


@dataclass(frozen=True)
class LastRead:
    """The last read of a task: when it ended, and what it showed or why it failed."""

    number: int = 0
    wall: float = -math.inf
    loop: float = -math.inf
    """The same moment by the event loop's clock, which nobody can change, but which stops in standby."""
    task: Task | None = None
    error: EvolinkError | None = None

    @property
    def pause(self) -> float:
        """Seconds after a failure in which callers that keep to the schedule cause no other read."""
        if self.error is None:
            return 0.0
        return max(AFTER_FAILURE, min(self.error.retry_after or 0.0, MAX_RETRY_AFTER))


@dataclass(frozen=True)
class Known:
    """The newest read of a task, by this process or another one, and its age in seconds."""

    task: Task
    age: float
    entry: Entry | None


class LastReads:
    """The last reads of one owner's tasks.

    Args:
        clock: the time, in Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reads: dict[str, LastRead] = {}

    def of(self, task_id: str) -> LastRead:
        return self._reads.get(task_id, LastRead())

    def since(self, last: LastRead) -> float:
        """Seconds since a read ended; infinite where there was none."""
        return max(self._clock() - last.wall, anyio.current_time() - last.loop)

    def ended(self, task_id: str, task: Task | None = None, error: EvolinkError | None = None) -> None:
        """Record how a read ended."""
        number = self.of(task_id).number + 1
        if len(self._reads) >= MAX_READS:
            self._reads.clear()
        self._reads[task_id] = LastRead(number, self._clock(), anyio.current_time(), task, error)
