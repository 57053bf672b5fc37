"""What a ledger keeps, and what it can be asked: the interface that a database implements."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from wan_mcp.evolink import Task

EntryStatus = Literal["pending", "processing", "completed", "failed", "cancelled", "unknown"]
"""A task's status, or ``unknown`` for a request whose answer never came."""
DEFAULTS: Mapping[str, Any] = {"duration": 5, "quality": "720p", "prompt_extend": True}
"""What the endpoint takes where nothing is given: a request that gives it explicitly is the same request."""


@dataclass(frozen=True)
class Intent:
    """A request that is about to be paid for."""

    fingerprint: str
    """Equal for equal requests, see ``fingerprint``."""
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
    """One row: a request and its task, or a task that was made elsewhere."""

    number: int
    fingerprint: str | None
    """None for a task that was made elsewhere."""
    idempotency_key: str | None
    asked_at: float
    """When it was first requested, in Unix seconds."""
    posted_at: float | None
    """When the paid POST was first about to be sent, in Unix seconds; None if it never was."""
    reposted_at: float | None
    """When it was last about to be sent, in Unix seconds."""
    body: dict[str, Any] | None
    """The body exactly as sent: a repeat under the same idempotency key must be the same."""
    prompt: str
    duration: int | None
    quality: str | None
    estimate: float
    recovered: bool
    """Whether the task was found in the account's list, rather than in the answer to the POST."""
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
class ClaimRules:
    """The rules by which a claim is judged.

    Args:
        now: Unix seconds.
        repeat_seconds: within this time, an equal request gets the same task.
        daily_credits: the cap over 24 hours; None for none.
        new_take: whether another task is wanted although there is one.
    """

    now: float
    repeat_seconds: float
    daily_credits: float | None = None
    new_take: bool = False


@dataclass(frozen=True)
class Claim:
    """What may be done about a request now.

    ``fresh``: it is ours and was never sent. ``resume``: it is ours, and an earlier POST for it has
    no answer. ``repeat``: it has a task already. ``busy``: another call is submitting it right now.
    ``unknown``: the call that was waited for ended without an answer.
    """

    kind: Literal["fresh", "resume", "repeat", "busy", "unknown"]
    entry: Entry


class OwnerLedger(Protocol):
    """The ledger as one owner sees it. Every method raises ``LedgerError`` where it cannot work."""

    async def claim(self, intent: Intent, rules: ClaimRules, waited_for: int | None = None) -> Claim:
        """Decide about a request, and record the intent, durably and at once for all processes.

        Args:
            intent: the request.
            rules: see ``ClaimRules``.
            waited_for: the row that an earlier claim for the same request found busy.

        Raises:
            CapReached: when the request would exceed the daily cap.
        """
        ...

    async def mark_posted(self, number: int, body: dict[str, Any], now: float) -> Entry:
        """Record, durably, what is about to be sent, for the first time or again."""
        ...

    async def mark_answered(self, number: int, task: Task, now: float, *, recovered: bool = False) -> Entry:
        """Record, durably, the task that a request became."""
        ...

    async def release(self, number: int, *, sent: bool) -> None:
        """Give up a claim: kept as unknown if the POST may have been sent, else removed."""
        ...

    async def observe(self, task: Task, now: float) -> Entry:
        """Record the state of a task; one that was made elsewhere is recorded too."""
        ...

    async def find(self, task_id: str) -> Entry | None:
        """The row of a task."""
        ...

    async def entries(self, *, status: EntryStatus | None = None, limit: int = 50) -> list[Entry]:
        """The rows, newest first."""
        ...

    async def unanswered(self) -> list[Entry]:
        """The rows that were sent and have no answer yet."""
        ...

    async def taken_ids(self, task_ids: list[str]) -> set[str]:
        """Those of the ids that answer a request of any owner: one account can have several keys."""
        ...

    async def durations(self, task_id: str, limit: int = 10) -> list[float]:
        """Seconds that the last finished tasks of the same kind as this one took."""
        ...

    async def mark_saved(self, task_id: str, saved: Saved) -> None:
        """Record where a task's video is."""
        ...

    async def find_upload(self, digest: str, now: float) -> str | None:
        """The address of a picture in the file service, if it lives on for a while."""
        ...

    async def record_upload(self, digest: str, url: str, expires_at: float) -> None:
        """Record a picture's address in the file service, and when it expires, in Unix seconds."""
        ...


class Ledger(Protocol):
    """The record that outlives the process. Every method raises ``LedgerError`` where it cannot work."""

    def for_owner(self, *identity: str) -> OwnerLedger:
        """The ledger bound to one owner.

        Args:
            identity: what tells this owner from all others, such as an address and a key. Only a keyed
                digest of it is stored.
        """
        ...

    async def entries(self, *, limit: int = 50) -> list[Entry]:
        """The rows of all owners, newest first."""
        ...

    async def forget(self, task_id_or_number: str) -> bool:
        """Remove a row; whether there was one."""
        ...

    async def aclose(self) -> None:
        """Close the ledger."""
        ...


def fingerprint(body: Mapping[str, Any], picture: str) -> str:
    """A digest of a request's body and the identity of its picture.

    Equal for requests that mean the same, whether or not a default is given explicitly, and wherever
    the same picture was found.
    """
    meaning = {**DEFAULTS, **body, "image_urls": [picture]}
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
