"""What is known of a task, and of the call that asked for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wan_mcp.errors import WanError
from wan_mcp.evolink import Task
from wan_mcp.images import Picture
from wan_mcp.ledger import Saved


@dataclass(frozen=True)
class Report:
    """A task, and how this answer about it came to be."""

    task: Task
    picture: Picture | None = None
    repeated: bool = False
    """Whether the same wish had this task before, so that nothing new was asked for."""
    adopted: bool = False
    """Whether the task was found in the account's list after its answer was lost."""
    waited: float | None = None
    """Seconds, after a wait that ended before the task did."""
    asked_to_wait: float | None = None
    """Seconds that were asked for, where that was more than is allowed."""
    trouble: WanError | None = None
    """Why the last read failed, where it did; the task is then as it was known before."""
    known_at: float | None = None
    """When the task was in this state, in Unix seconds, where it could not be read now."""
    time_left: float | None = None
    """Seconds, estimated, until the task is over."""
    expires_at: float | None = None
    """When the links die, in Unix seconds."""
    link_life: float | None = None
    """Seconds until then; negative once they are dead."""
    saved: Saved | None = None
    """The video on this machine's disk."""
    save_trouble: WanError | None = None
    """Why it could not be saved by itself."""


Notice = Callable[[Report | None], Awaitable[None]]
