"""Where an owner's tasks are read from: the API, which is asked only for tasks that the owner may see."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from wan_mcp.errors import LedgerError, NotFound, NotKnownYet
from wan_mcp.evolink import Evolink, Task, values
from wan_mcp.generation.measures import UNCOUNTED, Measures
from wan_mcp.generation.owners import LOCAL, Deployment
from wan_mcp.generation.rate_limit import RateLimit
from wan_mcp.ledger import Entry, OwnerLedger

NEW_FOR = 120.0
"""Seconds after its creation in which parts of the API may not know a task yet."""
CLOCKS_DIFFER = 60.0
"""Seconds by which the API's clock may be ahead of ours."""
MAX_REMEMBERED = 10_000
"""Tasks that are remembered in memory at most."""
_CREATED = re.compile(r"task-unified-(\d{10,13})-")


class TaskSource:
    """Asks the API for the tasks of one owner.

    Where owners share an account, the API would answer for the tasks of all of them. Then it is asked only
    for tasks that the owner's ledger has.

    Args:
        evolink: the API.
        ledger: the owner's.
        clock: the time, in Unix seconds.
        deployment: who pays, and where.
        measures: told of each read.
        rate_limit: bounds the reads; None where whoever polls does so.
    """

    def __init__(
        self,
        evolink: Evolink,
        ledger: OwnerLedger,
        clock: Callable[[], float],
        deployment: Deployment = LOCAL,
        measures: Measures = UNCOUNTED,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._clock = clock
        self._deployment = deployment
        self._measures = measures
        self._rate_limit = rate_limit
        self._own: dict[str, bool] = {}
        """Tasks of the owner, for when the ledger cannot be read, and whether it was seen to have them.

        Used only where owners share an account.
        """
        self._waited_since: dict[str, float] = {}

    async def task(self, task_id: str) -> Task:
        """Read a task.

        Raises:
            NotKnownYet: when the API does not know the task, but it may be too new.
            EvolinkError: when the task cannot be read for another reason.
            LedgerError: when only the ledger can tell whose task it is, and it cannot be read.
        """
        await self.check(task_id)
        self._measures.read()
        try:
            if self._rate_limit is not None:
                return await self._rate_limit.run(partial(self._evolink.task, task_id))
            return await self._evolink.task(task_id)
        except NotFound as error:
            if not await self._is_new(task_id):
                raise
            raise NotKnownYet(
                f"{error.message} A task can be unknown for two minutes after it was made.",
                next_step="Ask again in a few seconds.",
                status=error.status,
                code=error.code,
                request_id=error.request_id,
            ) from error

    async def check(self, task_id: str) -> None:
        """Refuse a task that the owner may not see. Nothing is sent.

        Raises:
            NotFound: when owners share an account, and the owner's ledger does not have the task. The text
                is the same whether or not the account has it.
            LedgerError: when owners share an account, and the ledger cannot be read.
        """
        if not self._deployment.operator_pays:
            return
        try:
            entry = await self._ledger.find(task_id)
        except LedgerError:
            if task_id not in self._own:
                raise
            return
        if entry is not None:
            self._remember(task_id, is_recorded=True)
        elif self._own.get(task_id, True):  # also where its row was removed: a read would bring that back
            raise NotFound(
                f"You have no task {task_id} on this server.", next_step="Check the id with list_tasks."
            )

    def remember_own(self, task_id: str) -> None:
        """Remember that a task is the owner's, also if the ledger could not record it yet."""
        self._remember(task_id, is_recorded=self._own.get(task_id, False))

    def _remember(self, task_id: str, *, is_recorded: bool) -> None:
        if len(self._own) >= MAX_REMEMBERED:
            self._own.clear()
        self._own[task_id] = is_recorded

    def remember_wait(self, task_id: str) -> None:
        """Remember since when a task is waited for: it may be new."""
        if len(self._waited_since) >= MAX_REMEMBERED:
            self._waited_since.clear()
        self._waited_since.setdefault(task_id, self._clock())

    async def _is_new(self, task_id: str) -> bool:
        """Whether a task may have been made so recently that the API does not know it yet."""
        now, entry = self._clock(), await self._entry(task_id)
        if entry is not None:
            sent = (entry.asked_at, *(post.at for post in entry.posts))
            return not (entry.task and entry.task.is_over) and abs(now - max(sent)) < NEW_FOR
        # A hosted server must not tell an id of another owner from one that nobody has.
        if self._deployment.local and await self._is_of_another_owner(task_id):
            return False
        found = _CREATED.match(task_id)
        made = values.time(found[1]) if found else None
        if made is None or made > now + CLOCKS_DIFFER:
            made = self._waited_since.get(task_id)
        return made is not None and now - made < NEW_FOR

    async def _is_of_another_owner(self, task_id: str) -> bool:
        """Whether a task answers a request of another owner, so that it is not new."""
        with suppress(LedgerError):
            return bool(await self._ledger.taken_ids([task_id]))
        return False

    async def _entry(self, task_id: str) -> Entry | None:
        with suppress(LedgerError):
            return await self._ledger.find(task_id)
        return None
