"""What is counted of the work of all owners, for whoever runs the server."""

from collections.abc import Awaitable
from typing import Literal, Protocol

import anyio

from wan_mcp.generation.status import TaskSnapshot

WaitOutcome = Literal["over", "time_up", "failed", "cancelled"]
"""How a wait ended: the task is over, the caller's time is up, an error, or the caller is gone."""


class Measures(Protocol):
    """Told of what happens; must not raise, and must return at once."""

    def submitted(self, credits: float) -> None:
        """A request was accepted by Evolink; ``credits`` are reserved for it."""

    def read(self) -> None:
        """A task is read from Evolink."""

    def wait_began(self) -> None:
        """A caller begins to wait for a task."""

    def wait_ended(self, outcome: WaitOutcome) -> None:
        """A wait has ended."""


class Uncounted:
    """Counts nothing, for a server on the user's own machine."""

    def submitted(self, credits: float) -> None: ...

    def read(self) -> None: ...

    def wait_began(self) -> None: ...

    def wait_ended(self, outcome: WaitOutcome) -> None: ...


UNCOUNTED = Uncounted()


async def counted(measures: Measures, wait: Awaitable[TaskSnapshot]) -> TaskSnapshot:
    """Await a caller's wait, and tell ``measures`` how it ended."""
    measures.wait_began()
    outcome: WaitOutcome = "failed"
    try:
        snapshot = await wait
        outcome = "over" if snapshot.task.is_over else "time_up"
        return snapshot
    except anyio.get_cancelled_exc_class():
        outcome = "cancelled"
        raise
    finally:
        measures.wait_ended(outcome)
