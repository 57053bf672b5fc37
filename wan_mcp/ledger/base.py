"""What a ledger keeps, and what it can be asked: the interface that a database implements."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

from wan_mcp.evolink import Task
from wan_mcp.ledger.claim import Claim, ClaimRules, Intent
from wan_mcp.ledger.entries import Entry, EntryStatus, Kept, Post, Saved

KeyUse = Literal["unknown", "honoured", "ignored"]
"""Whether a gateway honours the idempotency key, as far as is known."""
OnChange = Callable[[str, str, bool], None]
"""Told the digest of the owner and the id of a task that has changed, and whether another program saw that.

Digest and id are empty where any task may have changed."""

Step = Callable[[str, str], Awaitable[float | None]]
"""Reads the task of an owner (digest, task id) once, and saves its video if it is completed.

Returns the seconds until the next read; None when nothing is left to do. It may be done twice for one state.
"""


class OwnerLedger(Protocol):
    """The ledger as one owner sees it. Every method raises ``LedgerError`` if the ledger cannot be used."""

    async def digest(self) -> str:
        """The keyed digest that stands for the owner."""
        ...

    @property
    def known_digest(self) -> str | None:
        """The same, where it is known already."""
        ...

    async def open(self) -> None:
        """Make sure that the ledger is open: from then on, its clock counts."""
        ...

    async def claim(self, intent: Intent, rules: ClaimRules) -> Claim:
        """Decide about a request, and record the intent at once for all processes.

        Raises:
            CapReached: when the request would exceed a cap.
        """
        ...

    async def take_over(self, number: int) -> Entry | None:
        """Take over a row that may have been sent and whose program has died; None where there is none."""
        ...

    async def mark_posted(
        self, number: int, post: Post, body: dict[str, Any], *, guess: bool = False
    ) -> Entry:
        """Record, durably, what is about to be sent.

        Args:
            number: the row.
            post: the POST.
            body: the body exactly as sent.
            guess: whether this repeats a POST that may have arrived.

        Raises:
            TakenOver: when another process works on the row now.
        """
        ...

    async def begin_guess(self, number: int, now: float, within: float) -> bool:
        """Whether the row may now be repeated as a guess, which is then recorded.

        A guess repeats a POST that may have arrived. At most one row of an API guesses at a time, and the
        others learn from it; none guesses once it is known what the gateway does with the key.

        Args:
            number: the row.
            now: Unix seconds.
            within: seconds for which this row waits for another row's guess.
        """
        ...

    async def answered_guesses(self) -> list[Entry]:
        """The rows whose repeat was answered, and whose answer was not evaluated yet."""
        ...

    async def end_guess(self, number: int) -> None:
        """Record that the answer to this row's repeat was evaluated."""
        ...

    async def drop_post(self, number: int, *, guessed: bool) -> Entry:
        """Record that the last POST was surely refused, so that it does not count.

        Args:
            number: the row.
            guessed: whether that POST was a guess; then the row may be guessed again.

        Raises:
            TakenOver: when another process works on the row now.
        """
        ...

    async def mark_answered(self, number: int, task: Task, now: float, *, recovered: bool = False) -> Entry:
        """Record, durably, the task that answers a request.

        Where an earlier request of this owner has that task already, the row is closed, and the earlier
        request's row is returned.
        """
        ...

    async def release(self, number: int) -> None:
        """Give up a claim: the row stays if its POST may have been sent, else it is removed."""
        ...

    async def key_use(self) -> KeyUse:
        """What is known about the gateway."""
        ...

    async def learn_key_use(self, use: KeyUse) -> None:
        """Record what was learned about the gateway; ``honoured`` overrules ``ignored``."""
        ...

    async def observe(self, task: Task, now: float) -> Entry:
        """Record the state of a task; one that was made elsewhere is recorded too.

        What this answer leaves out is kept from an earlier one, such as the model and the estimate.
        """
        ...

    async def find(self, task_id: str) -> Entry | None:
        """The row of a task."""
        ...

    async def entries(self, *, status: EntryStatus | None = None, limit: int = 50) -> list[Entry]:
        """The rows, newest first."""
        ...

    async def unsaved(self, *, since: float) -> list[Entry]:
        """The requests, newest first, that are unfinished, or completed and not saved.

        Args:
            since: Unix seconds; those that were made, last sent and completed before then are left out.
        """
        ...

    async def unkept(self, *, since: float) -> list[Entry]:
        """Those that are unfinished, or completed and not kept in storage; otherwise as ``unsaved``."""
        ...

    async def spent(self, now: float) -> float:
        """Credits that this owner's requests of the 24 hours before ``now`` cost, or may cost."""
        ...

    async def mark_told(self, number: int) -> None:
        """Record that a caller was told of the task."""
        ...

    async def paid_beside(self, number: int) -> tuple[str, ...]:
        """The ids of the tasks that were paid for a request in addition to its own."""
        ...

    async def mark_paid_beside(self, number: int, task: Task, now: float) -> None:
        """Record a task that was paid for a request in addition to its own, so that nobody else takes it."""
        ...

    async def rivals(self) -> list[Entry]:
        """The rows, of every owner at the same API, to which a task of the account's list may belong.

        These were sent and have no answer, or were sent again before they had one.
        """
        ...

    async def taken_ids(self, task_ids: list[str]) -> set[str]:
        """Those of the ids that answer a request of any owner: one account can have several keys."""
        ...

    async def durations(self, task_id: str, limit: int = 10) -> list[float]:
        """Seconds that the last finished tasks of the same kind as this one took."""
        ...

    async def ensure_followed(self, task_id: str) -> None:
        """Make sure that a task has a job, where jobs follow tasks."""
        ...

    async def mark_saved(self, task_id: str, saved: Saved) -> None:
        """Record where a task's video is."""
        ...

    async def mark_kept(self, task_id: str, kept: Kept) -> None:
        """Record where a hosted server keeps a task's video."""
        ...

    async def find_upload(self, digest: str, now: float) -> str | None:
        """The address of a picture in the file service, unless it expires soon."""
        ...

    async def record_upload(self, digest: str, url: str, expires_at: float) -> None:
        """Record a picture's address in the file service, and when it expires, in Unix seconds."""
        ...


class Ledger(Protocol):
    """The record that outlives the process. Every method raises ``LedgerError`` if it cannot be used."""

    def for_owner(self, gateway: str, identity: str) -> OwnerLedger:
        """The ledger bound to one owner.

        Args:
            gateway: the API's address.
            identity: what tells owners apart, such as the API key. Only a keyed digest of both is stored.
        """
        ...

    def for_digest(self, gateway: str, digest: str) -> OwnerLedger:
        """The ledger bound to the owner for whom this digest stands."""
        ...

    async def owners_of_unkept(self, gateway: str, *, since: float) -> list[str]:
        """The digests of the owners for whom ``unkept`` has an answer."""
        ...

    async def abandoned(self, gateway: str) -> list[tuple[str, int]]:
        """The digest of the owner and the number of each row that ``take_over`` may now take over."""
        ...

    def clock(self, local: Callable[[], float]) -> Callable[[], float]:
        """The clock by which all programs with this ledger tell the time, in Unix seconds.

        Args:
            local: this machine's.
        """
        ...

    async def watch(self, told: OnChange) -> None:
        """Tell of changes that any program with this ledger makes, until this is cancelled."""
        ...

    async def run_jobs(self, step: Step) -> None:
        """Work on the jobs that follow tasks, where the ledger has such, until this is cancelled."""
        ...

    async def digest(self, gateway: str, identity: str) -> str:
        """The keyed digest that stands for an owner in the rows, and that may be written to a log.

        Args:
            gateway: the API's address.
            identity: what tells owners apart.
        """
        ...

    async def check(self) -> None:
        """Make sure that requests can be recorded.

        Raises:
            LedgerError: when they cannot.
        """
        ...

    async def open(self) -> None:
        """Prepare for the first calls, which then take less time."""
        ...

    async def entries(self, *, limit: int = 50) -> list[Entry]:
        """The rows of all owners, newest first."""
        ...

    async def count(self) -> int:
        """The number of rows of all owners."""
        ...

    async def keys(self, numbers: list[int]) -> dict[int, str]:
        """The idempotency keys of the requests, of all owners, that have these numbers.

        A number that no request has is left out. Another ledger has the same numbers, never the same keys.
        """
        ...

    async def named(self, task_id_or_number: str) -> list[Entry]:
        """The rows, of all owners, of a task or with a number, with those that have the same task."""
        ...

    async def expired(self, before: float, now: float, *, limit: int) -> list[Entry]:
        """Rows of all owners, the oldest first, that are no longer needed.

        Args:
            before: Unix seconds; rows that were made since then are left out.
            now: Unix seconds. Rows with which something happened in the two days before are left out too.
            limit: how many at most.
        """
        ...

    async def remove(self, entries: list[Entry]) -> None:
        """Remove rows; one that is gone already is no error."""
        ...

    async def remove_uploads(self, now: float) -> None:
        """Remove the addresses of pictures that the file service no longer has."""
        ...

    async def aclose(self) -> None:
        """Close the ledger."""
        ...
