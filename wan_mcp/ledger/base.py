"""What a ledger keeps, and what it can be asked: the interface that a database implements."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wan_mcp.evolink import Task

EntryStatus = Literal["pending", "processing", "completed", "failed", "cancelled", "unknown"]
"""A task's status, or ``unknown`` for a request whose answer never came."""


@dataclass(frozen=True)
class Intent:
    """A wish that is about to be paid for."""

    owner: str
    """Whose wish: a keyed digest of the API key, never the key."""
    fingerprint: str
    """What is wished for: equal for equal wishes."""
    prompt: str
    duration: int
    """Seconds of video."""
    quality: str
    estimate: float
    """Credits that it is expected to cost."""


@dataclass(frozen=True)
class Saved:
    """A video on this machine's disk."""

    path: str
    size: int
    """Bytes."""
    sha256: str
    seconds: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Entry:
    """One row: a wish and what became of it, or a task that was made elsewhere."""

    number: int
    owner: str
    fingerprint: str | None
    """None for a task that was made elsewhere."""
    idempotency_key: str | None
    asked_at: float
    """When it was first asked for, in Unix seconds."""
    posted_at: float | None
    """When the paid request was first about to be sent; None if it never was."""
    reposted_at: float | None
    """When it was last about to be sent."""
    body: dict[str, Any] | None
    """The request exactly as sent: a repeat under the same idempotency key must be the same."""
    prompt: str
    duration: int | None
    quality: str | None
    estimate: float
    adopted: bool
    """Whether the task was found in the account's list, rather than in the answer to the request."""
    task: Task | None
    """The last known state; None while there is no answer."""
    known_at: float | None
    """When that state was read, in Unix seconds."""
    completed_at: float | None
    """When the task was first seen completed, in Unix seconds."""
    saved: Saved | None
    """Where its video was saved."""

    @property
    def status(self) -> EntryStatus:
        return "unknown" if self.task is None else self.task.status

    @property
    def cost(self) -> float:
        """Credits: nothing where it failed, else what was used, reserved or estimated, the first known."""
        if self.status in ("failed", "cancelled"):
            return 0.0
        known = (self.task.credits_used or self.task.credits_reserved) if self.task else None
        return known or self.estimate


@dataclass(frozen=True)
class Terms:
    """The rules under which a claim is judged.

    Args:
        now: Unix seconds.
        repeat_seconds: within this time, the same wish is the same task.
        daily_credits: the cap over 24 hours; None for none.
        new_take: whether another task is wanted although there is one.
    """

    now: float
    repeat_seconds: float
    daily_credits: float | None = None
    new_take: bool = False


@dataclass(frozen=True)
class Claim:
    """What may be done about a wish now.

    ``fresh``: it is ours and was never sent. ``resume``: it is ours, and an earlier request for it has
    no answer. ``repeat``: it has a task already. ``busy``: another call is at it this moment.
    ``unknown``: the call that was waited for ended without an answer.
    """

    kind: Literal["fresh", "resume", "repeat", "busy", "unknown"]
    entry: Entry


class Ledger(Protocol):
    """The record that outlives the process. Every method raises ``LedgerError`` where it cannot work."""

    async def owner(self, key: str, base_url: str) -> str:
        """A digest that tells the tasks of one key at one API from all others."""
        ...

    async def claim(self, intent: Intent, terms: Terms, waited_for: int | None = None) -> Claim:
        """Decide about a wish, and write the intent down, durably and at once for all processes.

        Raises:
            CapReached: when the wish would go over the daily cap.
        """
        ...

    async def posting(self, number: int, body: dict[str, Any], now: float) -> Entry:
        """Write down, durably, what is about to be sent, for the first time or again."""
        ...

    async def answered(self, number: int, task: Task, now: float, *, adopted: bool = False) -> Entry:
        """Write down the task that a request became."""
        ...

    async def released(self, number: int, *, sent: bool) -> None:
        """Give a claim up: kept as unknown if it may have been sent, else removed."""
        ...

    async def observed(self, owner: str, task: Task, now: float) -> Entry:
        """Keep the record of a task current; one made elsewhere is recorded too."""
        ...

    async def find(self, owner: str, task_id: str) -> Entry | None:
        """The row of a task."""
        ...

    async def entries(
        self, owner: str | None, *, status: EntryStatus | None = None, limit: int = 50
    ) -> list[Entry]:
        """The rows, newest first; of all owners where ``owner`` is None."""
        ...

    async def unanswered(self, owner: str) -> list[Entry]:
        """The rows that were sent and have no answer yet."""
        ...

    async def claimed_ids(self, task_ids: list[str]) -> set[str]:
        """Those of the ids that are the answer to a request of this ledger, whoever's: one account can
        have several keys."""
        ...

    async def durations(self, owner: str, task_id: str, limit: int = 10) -> list[float]:
        """Seconds that the last finished tasks of the same kind as this one took."""
        ...

    async def saved(self, owner: str, task_id: str, saved: Saved) -> None:
        """Write down where a task's video is."""
        ...

    async def copy_of(self, owner: str, digest: str, now: float) -> str | None:
        """The address of a picture's copy in the file service, if it lives on for a while."""
        ...

    async def copied(self, owner: str, digest: str, url: str, expires_at: float) -> None:
        """Write down a picture's copy."""
        ...

    async def forget(self, task_id_or_number: str) -> bool:
        """Remove a row; whether there was one."""
        ...

    async def aclose(self) -> None:
        """Close the ledger."""
        ...
