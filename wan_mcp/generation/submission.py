"""One wish is paid once: from the intent in the ledger to the task, whatever happens in between."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from wan_mcp.errors import EvolinkError, LedgerError, OutcomeUnknown, WanError
from wan_mcp.evolink import Evolink, Listing, Task, VideoRequest
from wan_mcp.evolink.client import PAUSE_BEFORE_LOOK
from wan_mcp.ledger import Claim, Entry, Intent, Ledger, Terms

logger = logging.getLogger(__name__)

JOINING_PAUSE = 0.25
"""Seconds between two looks whether another call for the same has its answer."""
SETTLING = 5.0
"""Seconds that other requests under way get, before a task in the list can be told to be ours."""
BEFORE, AFTER = 3.0, 120.0
"""Seconds around the sending in which a task of ours can have been created."""
PAGES = 20
"""Pages of the account's list that a look reads at most."""

Prepare = Callable[[], Awaitable[VideoRequest]]


@dataclass(frozen=True)
class Order:
    """A wish that has its task."""

    entry: Entry
    repeated: bool = False
    """Whether it had one before this call."""


class Cashier:
    """Submits what is wished for, at most once.

    Args:
        evolink: the API.
        ledger: the record of all wishes.
        clock: the time, in Unix seconds.
    """

    def __init__(self, evolink: Evolink, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._clock = clock

    async def order(self, intent: Intent, terms: Terms, prepare: Prepare) -> Order:
        """Give a wish its task: the one that it has, the one that is being made, or a new one.

        Args:
            intent: the wish.
            terms: what the settings and the caller say about repeats and the cap.
            prepare: makes the request ready to be sent; called only if a new one is.

        Raises:
            CapReached: when it would cost too much; nothing was sent.
            LedgerError: when the intent could not be written down; nothing was sent.
            OutcomeUnknown: when it cannot be known whether the request was accepted.
            EvolinkError: when it was refused.
        """
        waited_for = None
        while True:
            claim = await self._ledger.claim(intent, replace(terms, now=self._clock()), waited_for)
            if claim.kind == "busy":
                waited_for = claim.entry.number
                await anyio.sleep(JOINING_PAUSE)
            elif claim.kind == "repeat":
                return Order(claim.entry, repeated=True)
            elif claim.kind == "unknown":
                raise _unknown("The equal request that was under way ended without an answer.")
            else:
                return Order(await self._carry_out(claim, prepare))

    async def _carry_out(self, claim: Claim, prepare: Prepare) -> Entry:
        """Send the request of a claim that is ours, and give the claim up if that fails."""
        sent = claim.kind == "resume"
        try:
            if claim.kind == "resume":
                return await self._go_on(claim.entry)
            request = await prepare()
            entry = await self._ledger.posting(claim.entry.number, request.body(), self._clock())
            sent = True
            return await self._submit(entry, request)
        except BaseException as error:
            surely_not = claim.kind == "fresh" and isinstance(error, WanError) and error.charged == "no"
            with anyio.move_on_after(1, shield=True):
                await self._give_up(claim.entry, sent=sent and not surely_not)
            raise

    async def _give_up(self, entry: Entry, *, sent: bool) -> None:
        try:
            await self._ledger.released(entry.number, sent=sent)
        except LedgerError as error:
            logger.warning("the ledger could not be written: %s", error)

    async def _go_on(self, entry: Entry) -> Entry:
        """Take up a request whose answer never came: look whether it arrived, else send it again."""
        since = self._clock() - (entry.reposted_at or 0)
        if since < PAUSE_BEFORE_LOOK:  # far below zero where the clock was set back
            await anyio.sleep(PAUSE_BEFORE_LOOK - max(since, 0))
        found = await self._look(entry)
        if found is not None:
            return await self._record(entry, found, adopted=True)
        request = VideoRequest.model_validate(entry.body)
        entry = await self._posting_again(entry)
        try:
            return await self._submit(entry, request)
        except EvolinkError as error:
            if isinstance(error, OutcomeUnknown):
                raise
            raise _unknown(f"An earlier request for the same had no answer; now: {error.message}") from error

    async def _submit(self, entry: Entry, request: VideoRequest) -> Entry:
        adopted = False

        async def look() -> Task | None:
            nonlocal entry, adopted
            found = await self._look(entry)
            adopted = found is not None
            if found is None:
                entry = await self._posting_again(entry)
            return found

        assert entry.idempotency_key is not None
        task = await self._evolink.submit(request, idempotency_key=entry.idempotency_key, look=look)
        return await self._record(entry, task, adopted=adopted)

    async def _posting_again(self, entry: Entry) -> Entry:
        """Write down that the request is about to be sent once more."""
        assert entry.body is not None
        try:
            return await self._ledger.posting(entry.number, entry.body, self._clock())
        except LedgerError as error:  # a request was sent already: this is no plain refusal any more
            raise _unknown(error.message) from error

    async def _record(self, entry: Entry, task: Task, *, adopted: bool) -> Entry:
        """Write the answer down. The task exists and is paid: a ledger that fails now must not hide it."""
        try:
            return await self._ledger.answered(entry.number, task, self._clock(), adopted=adopted)
        except LedgerError as error:
            logger.error("task %s could not be recorded: %s", task.id, error)
            await self._give_up(entry, sent=True)
            return replace(entry, task=task, adopted=adopted, known_at=self._clock())

    async def _look(self, entry: Entry) -> Task | None:
        """The task that a request without an answer made, from the account's own list.

        None where there is none, and also where the list is not to be had: then the idempotency key
        has to do.

        Raises:
            OutcomeUnknown: when there are tasks that may be it, but it cannot be told which.
        """
        try:
            candidates, rivals = await self._candidates(entry)
        except LedgerError as error:
            raise _unknown(error.message) from error
        except EvolinkError as error:
            if isinstance(error, OutcomeUnknown):
                raise
            logger.warning("the account's list of tasks is not to be had: %s", error)
            return None
        deadline = anyio.current_time() + SETTLING
        while candidates and rivals and anyio.current_time() < deadline:
            await anyio.sleep(0.5)
            with suppress(EvolinkError, LedgerError):  # what was seen before counts on
                candidates, rivals = await self._candidates(entry)
        if not candidates:
            return None
        if len(candidates) > 1 or rivals:
            raise _ambiguous(entry, candidates)
        logger.warning("task %s was found in the account's list and is taken for ours", candidates[0].id)
        return await self._whole(candidates[0])

    async def _candidates(self, entry: Entry) -> tuple[list[Task], list[Entry]]:
        """Tasks of the account that were created in the time in question and are nobody else's, and the
        requests to which they may belong as well."""
        first, last = entry.posted_at or 0.0, entry.reposted_at or 0.0
        found: dict[str, Task] = {}  # a task made meanwhile moves another one to the next page
        for page in range(1, PAGES + 1):
            try:
                listing = await self._evolink.tasks(page=page)
            except EvolinkError as error:
                if found:
                    raise _unknown(f"The account's list of tasks broke off. {error.message}") from error
                raise
            skew = self._skew(listing)
            dated = [(task, (task.created or 0) - skew) for task in listing.tasks]
            found |= {task.id: task for task, made in dated if first - BEFORE <= made <= last + AFTER}
            if not dated or dated[-1][1] < first - BEFORE:
                break
        # The rivals first: one that gets its task meanwhile is a rival still, or its task is taken.
        rivals = await self._rivals(entry)
        taken = await self._ledger.claimed_ids(list(found))
        return [task for task in found.values() if task.id not in taken], rivals

    def _skew(self, listing: Listing) -> float:
        """How far their clock is ahead of ours, in seconds; a ``Date`` header is good to about one."""
        ahead = 0.0 if listing.server_time is None else listing.server_time - self._clock()
        return ahead if abs(ahead) > 2 else 0.0

    async def _rivals(self, entry: Entry) -> list[Entry]:
        """Other requests without an answer, to which the same task may belong."""
        others = await self._ledger.unanswered(entry.owner)
        return [other for other in others if other.number != entry.number and _overlap(other, entry)]

    async def _whole(self, task: Task) -> Task:
        """All of a task that the list names in short."""
        try:
            return await self._evolink.task(task.id)
        except EvolinkError:
            return task


def _overlap(one: Entry, other: Entry) -> bool:
    """Whether a task created for one could be taken for the other's."""
    return (one.posted_at or 0) - BEFORE <= (other.reposted_at or 0) + AFTER and (
        other.posted_at or 0
    ) - BEFORE <= (one.reposted_at or 0) + AFTER


ASK_AGAIN = (
    "Ask for exactly the same again in a minute: that is safe, it goes on with this request instead of "
    "making a second one. list_tasks shows it as unknown."
)


def _unknown(reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(reason, next_step=ASK_AGAIN, charged="unknown")


def _ambiguous(entry: Entry, candidates: list[Task]) -> OutcomeUnknown:
    ids = ", ".join(task.id for task in candidates[:5])
    return OutcomeUnknown(
        f"A request for this had no answer, and it cannot be told which of these is its task: {ids}.",
        next_step=(
            "Nothing was sent now. Look at them with get_task. To make another video all the same, which may "
            "be paid in addition, change the prompt a little, or have the user run "
            f"wan-mcp tasks --forget '#{entry.number}' and ask again."
        ),
        charged="unknown",
    )
