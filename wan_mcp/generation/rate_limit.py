"""A bound on the reads of a process."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

T = TypeVar("T")


@dataclass
class RateLimit:
    """A bound on the reads of a whole process, which begin in the order in which they were asked for.

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
        """Call ``read`` when its turn has come."""
        now = anyio.current_time()
        turn = max(now, self._next)
        self._next = turn + 1 / self.per_second
        await anyio.sleep(turn - now)
        async with self._running:
            return await read()
