"""The status of a task as it is known at one moment, and what follows from it."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio.to_thread

from wan_mcp.errors import (
    Busy,
    LostAnswer,
    NotFound,
    NotKnownYet,
    ServerFault,
    Unreachable,
    UnreadableAnswer,
    WanError,
)
from wan_mcp.evolink import TEXT_MODEL, Task, values
from wan_mcp.generation.outcomes import Submitted
from wan_mcp.generation.owners import Owner
from wan_mcp.ledger import Entry, Image, Kept, Saved, SignedLink

LINK_LIFE = 24 * 3600.0
"""Seconds for which a result's links work after the completion, as documented."""
LINK_LIFE_TEXT = "works for 24 hours after the completion"
NO_LINK_YET = "its link is not available yet"

PASSING = (Unreachable, LostAnswer, UnreadableAnswer, Busy, ServerFault, NotKnownYet)
"""Errors of a read that say nothing about the task: another read may succeed."""
UNREADABLE = (*PASSING, NotFound)
"""Errors of a read after which the ledger's state is used: the API forgets finished tasks after some time."""

TaskChanged = Callable[[Owner, str], None]
"""Told the owner and the id of a task whose state has changed."""


@dataclass(frozen=True)
class TaskSnapshot:
    """A task as it is known at one moment, and how that became known."""

    task: Task
    now: float = 0.0
    """That moment, in Unix seconds."""
    entry: Entry | None = None
    """The ledger's row of the task, where there is one."""
    submitted: Submitted | None = None
    """How a request got this task; only in the answer to that request."""
    image: Image | None = None
    """The picture that was sent."""
    notes: tuple[str, ...] = ()
    """What the user should know about the picture, although it was accepted."""
    take: int | None = None
    """Which version of the same request the task is; None for a task that was made elsewhere."""
    recovered: bool = False
    """Whether the task was found in the account's list after its answer was lost."""
    waited: float | None = None
    """Seconds, after a wait that ended before the task did."""
    asked_to_wait: float | None = None
    """Seconds of waiting that the caller asked for, where that is more than one call may wait."""
    read_error: WanError | None = None
    """Why the last read failed, if it failed; the task is then as it was known before."""
    known_at: float | None = None
    """When the task was in this state, in Unix seconds, if it could not be read now."""
    time_left: float | None = None
    """Seconds, estimated, until the task ends."""
    next_read: float | None = None
    """Seconds until the schedule has read the task again; None once it is over."""
    expires_at: float | None = None
    """When the links expire, in Unix seconds."""
    saved: Saved | None = None
    """The video on this machine's disk."""
    kept: Kept | None = None
    """The video in a hosted server's storage."""
    link: SignedLink | None = None
    """A link to the kept video; None where none can be signed now."""
    kept_until: float | None = None
    """Until when the video is kept, in Unix seconds."""
    save_error: WanError | None = None
    """Why automatic saving failed; of a running task: why it would fail now."""

    @property
    def repeated(self) -> bool:
        """Whether an equal request had this task before, so that nothing new was paid."""
        return self.submitted is not None and self.submitted.repeated

    @property
    def from_text(self) -> bool:
        """Whether the video is known to be made from text alone."""
        return self.task.model == TEXT_MODEL or (self.entry is not None and self.entry.from_text)

    @property
    def link_life(self) -> float | None:
        """Seconds until the links expire; negative once they have."""
        return None if self.expires_at is None else self.expires_at - self.now

    @property
    def has_expired(self) -> bool:
        """Whether the links are known to have expired."""
        return self.link_life is not None and self.link_life <= 0

    @property
    def links(self) -> tuple[str, ...]:
        """The links that work: one to the kept video, else Evolink's."""
        if self.link is not None:
            return (self.link.url,)
        return () if self.has_expired else self.task.results

    @property
    def links_expire_at(self) -> float | None:
        """When these links expire, in Unix seconds."""
        return self.link.expires_at if self.link is not None else self.expires_at

    @property
    def is_forgotten(self) -> bool:
        """Whether the API does not know the task any more, so that waiting for it does not help."""
        return isinstance(self.read_error, NotFound) and not isinstance(self.read_error, NotKnownYet)


async def on_this_disk(entry: Entry) -> Entry:
    """The row without the saved video if its file is gone."""
    if entry.saved is not None and entry.saved.machine not in (None, platform.node()):
        return replace(entry, saved=None)  # its file is on another machine
    if entry.saved is None or await anyio.to_thread.run_sync(os.path.isfile, entry.saved.path):
        return entry
    return replace(entry, saved=None, missing=entry.saved.path)


def link_expiry(entry: Entry) -> float | None:
    """When a task's links expire, in Unix seconds; None where that is not known."""
    if entry.status != "completed" or entry.completed_at is None or values.utc(entry.completed_at) is None:
        return None
    return entry.completed_at + LINK_LIFE


def link_state(expires_at: float | None, now: float) -> str:
    """Until when a link works, for a person, as in ``works until tomorrow 14:05 UTC``."""
    if expires_at is None:
        return LINK_LIFE_TEXT
    return f"{'expired' if expires_at <= now else 'works until'} {values.spoken(expires_at, now)}"
