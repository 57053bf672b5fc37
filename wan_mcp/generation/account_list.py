"""The account's list of tasks, which may show what became of a submission without an answer."""

import logging
import math
from collections.abc import AsyncIterator, Sequence

import anyio

from wan_mcp.errors import EvolinkError
from wan_mcp.evolink import MODELS, Evolink, Task
from wan_mcp.evolink.client import PAGE_SIZE
from wan_mcp.ledger import Post
from wan_mcp.ledger.policy import CREATED_BEFORE, MAX_SKEW_CHANGE, Listed

logger = logging.getLogger(__name__)

MAX_PAGES = 20
"""Pages of the list that one search reads at most."""
LEARNING = 5.0
"""Seconds that asking for the gateway's time may take."""
NOT_OFFERED = (400, 401, 403, 404, 405)
"""HTTP statuses of a gateway that has no such list, or not for this key."""


async def search_times(passed: float, searches: Sequence[float]) -> AsyncIterator[bool]:
    """Wait for each time to search the list; yield whether a task would certainly be listed by then.

    Args:
        passed: seconds since the last POST.
        searches: when to search, in seconds after that POST.
    """
    began = anyio.current_time()
    if searches[0] < passed < searches[-1]:  # a caller asks now
        yield False
    for moment in searches:
        if moment > passed or moment == searches[-1]:
            await anyio.sleep(max(moment - passed - (anyio.current_time() - began), 0))
            yield moment == searches[-1]


class AccountList:
    """Reads the account's list; the ledger's policy decides what follows from it.

    Args:
        evolink: the API.
    """

    def __init__(self, evolink: Evolink) -> None:
        self._evolink = evolink

    async def search(self, posts: Sequence[Post], model: str | None) -> Listed:
        """Read the list back to the time of a request.

        Args:
            posts: the request's POSTs; tasks from before them are not needed.
            model: the request's model; None where that is not known.
        """
        found: dict[str, Task] = {}  # a task that is created during this moves another one to the next page
        try:
            complete = await self._read(found, posts, model)
        except EvolinkError as error:
            if not found and error.status in NOT_OFFERED:
                logger.info("the account's list of tasks is not offered: %s", error)
                return Listed(offered=False)
            logger.warning("reading the account's list of tasks failed: %s", error)
            complete = False
        possible = (model,) if model else MODELS
        tasks = tuple(task for task in found.values() if task.model in (None, *possible))
        return Listed(complete=complete, skew=self._evolink.skew(), tasks=tasks)

    async def learn_skew(self) -> None:
        """Ask the gateway for its time, which is needed to search for a lost answer later."""
        with anyio.move_on_after(LEARNING):
            try:
                await self._evolink.tasks(page_size=1)
            except EvolinkError as error:
                logger.info("the gateway has no list: %s", error)

    async def whole(self, task: Task) -> Task:
        """The task with all its properties; the list has only the main ones."""
        try:
            return await self._evolink.task(task.id)
        except EvolinkError:
            return task

    async def _read(self, found: dict[str, Task], posts: Sequence[Post], model: str | None) -> bool:
        """Read page after page. Return whether the whole time since the request was covered."""
        newest = math.inf
        for page in range(1, MAX_PAGES + 1):
            listing = await self._evolink.tasks(model, page=page)
            new = {task.id: task for task in listing.tasks if task.id not in found}
            found |= new
            is_all = listing.total is not None and len(found) >= listing.total
            if not listing.tasks or (is_all and len(listing.tasks) < PAGE_SIZE):
                return True
            if not new:  # the gateway answers with the same page each time
                return is_all
            dates = [task.created for task in new.values() if task.created is not None]
            if dates != sorted(dates, reverse=True) or (dates and dates[0] > newest):
                return False  # not newest first, as documented: what was not read may be newer
            newest = dates[-1] if dates else newest
            skew = self._evolink.skew() or 0.0
            first = min(post.at + ahead for post in posts for ahead in (post.skew or 0.0, skew, 0.0))
            if newest < first - CREATED_BEFORE - MAX_SKEW_CHANGE:
                return True
        return False
