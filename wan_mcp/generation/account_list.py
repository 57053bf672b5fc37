"""The account's own list of tasks: which of them belongs to a submission whose answer was lost."""

import logging
from collections.abc import Callable
from contextlib import suppress

import anyio

from wan_mcp.errors import EvolinkError, LedgerError, OutcomeUnknown
from wan_mcp.evolink import REPEAT_SAFELY, Evolink, Listing, Task
from wan_mcp.ledger import Entry, OwnerLedger

logger = logging.getLogger(__name__)

SETTLING = 5.0
"""Seconds for which other submissions under way are waited for, before a listed task is assigned."""
BEFORE, AFTER = 3.0, 120.0
"""Seconds around the POST in which its task can have been created."""
MAX_PAGES = 20
"""Pages of the list that one search reads at most."""

REPEAT = f"{REPEAT_SAFELY} list_tasks shows it as unknown."


class AccountList:
    """Searches the account's list for the task of a submission.

    Args:
        evolink: the API.
        ledger: the owner's: a task that belongs to another request is not a candidate.
        clock: the time, in Unix seconds.
    """

    def __init__(self, evolink: Evolink, ledger: OwnerLedger, clock: Callable[[], float]) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._clock = clock

    async def find(self, entry: Entry) -> Task | None:
        """The task of a submission without an answer.

        None where there is none, and also where the list is not available: then the idempotency key
        has to suffice.

        Raises:
            OutcomeUnknown: when there are tasks that may be it, but it cannot be told which.
        """
        try:
            candidates, rivals = await self._candidates(entry)
        except LedgerError as error:
            raise outcome_unknown(error.message) from error
        except EvolinkError as error:
            if isinstance(error, OutcomeUnknown):
                raise
            logger.warning("the account's list of tasks is not available: %s", error)
            return None
        deadline = anyio.current_time() + SETTLING
        while candidates and rivals and anyio.current_time() < deadline:
            await anyio.sleep(0.5)
            with suppress(EvolinkError, LedgerError):  # what was read before still counts
                candidates, rivals = await self._candidates(entry)
        if not candidates:
            return None
        if len(candidates) > 1 or rivals:
            raise _ambiguous(entry, candidates)
        logger.warning("task %s was found in the account's list and is taken as ours", candidates[0].id)
        return await self._whole(candidates[0])

    async def _candidates(self, entry: Entry) -> tuple[list[Task], list[Entry]]:
        """Tasks that were created in the time in question and belong to no other request, and the requests
        to which they may belong as well."""
        first, last = entry.posted_at or 0.0, entry.reposted_at or 0.0
        found: dict[str, Task] = {}  # a task that is created meanwhile moves another one to the next page
        for page in range(1, MAX_PAGES + 1):
            try:
                listing = await self._evolink.tasks(page=page)
            except EvolinkError as error:
                if found:
                    text = f"Reading the account's list of tasks failed. {error.message}"
                    raise outcome_unknown(text) from error
                raise
            skew = self._skew(listing)
            dated = [(task, (task.created or 0) - skew) for task in listing.tasks]
            found |= {task.id: task for task, made in dated if first - BEFORE <= made <= last + AFTER}
            if not dated or dated[-1][1] < first - BEFORE:
                break
        # The rivals first: one that gets its task meanwhile still counts, or its task is taken.
        rivals = await self._rivals(entry)
        taken = await self._ledger.taken_ids(list(found))
        return [task for task in found.values() if task.id not in taken], rivals

    def _skew(self, listing: Listing) -> float:
        """Seconds by which the gateway's clock is ahead of ours; a ``Date`` header is good to about one."""
        ahead = 0.0 if listing.server_time is None else listing.server_time - self._clock()
        return ahead if abs(ahead) > 2 else 0.0

    async def _rivals(self, entry: Entry) -> list[Entry]:
        """Other requests without an answer, to which the same task may belong."""
        others = await self._ledger.unanswered()
        return [other for other in others if other.number != entry.number and _overlap(other, entry)]

    async def _whole(self, task: Task) -> Task:
        """The whole task; the list has only its main properties."""
        try:
            return await self._evolink.task(task.id)
        except EvolinkError:
            return task


def _overlap(one: Entry, other: Entry) -> bool:
    """Whether a task created for one could be taken for the other's."""
    return (one.posted_at or 0) - BEFORE <= (other.reposted_at or 0) + AFTER and (
        other.posted_at or 0
    ) - BEFORE <= (one.reposted_at or 0) + AFTER


def outcome_unknown(reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(reason, next_step=REPEAT, charged="unknown")


def _ambiguous(entry: Entry, candidates: list[Task]) -> OutcomeUnknown:
    ids = ", ".join(task.id for task in candidates[:5])
    return OutcomeUnknown(
        f"An equal request had no answer, and it cannot be told which of these tasks is its own: {ids}.",
        next_step=(
            "Nothing was sent now. Check them with get_task. To make another video anyway, which may be paid "
            "in addition, change the prompt a little, or have the user run "
            f"wan-mcp tasks --forget '#{entry.number}' and make the request again."
        ),
        charged="unknown",
    )
