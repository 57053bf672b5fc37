"""One submission, paid once: from the first POST to the task, even if answers are lost.

This module waits and acts; ``ledger.policy`` decides.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace

import anyio

from wan_mcp.errors import Busy, EvolinkError, LedgerError, OutcomeUnknown, TakenOver, Unreachable
from wan_mcp.evolink import Task, VideoRequest
from wan_mcp.generation import outcomes
from wan_mcp.generation.account_list import AccountList, search_times
from wan_mcp.generation.outcomes import Progress, Submitted
from wan_mcp.generation.sending import Means, NotNow, Sender
from wan_mcp.ledger import Entry, KeyUse
from wan_mcp.ledger.policy import Listed, Verdict, assign, next_step, paid_beside

logger = logging.getLogger(__name__)

LEARNING = 15.0
"""Seconds that a caller waits at most for what a repeat has shown about the gateway."""
LEDGER_FAILURES = 7
"""Times that the ledger may fail before nothing more is done until a caller asks: some half a minute."""
REFUSED_GUESS_PAUSE = 5.0
"""Seconds to wait after a refusal that passes, where the gateway does not say how long."""


class Submission:
    """The work on one row of the ledger, which this process holds.

    Args:
        means: what it works with.
        entry: the row.
        request: its body; None where the ledger's record of it is damaged.
        progress: told what is being done.
        found: told the result as soon as it is known.
    """

    def __init__(
        self,
        means: Means,
        entry: Entry,
        request: VideoRequest | None,
        progress: Progress,
        found: Callable[[Submitted], None],
    ) -> None:
        self._ledger, self._clock, self._delays = means.ledger, means.clock, means.delays
        self._measures = means.measures
        self._shared = means.shared
        self._list = AccountList(means.evolink)
        self._sender = Sender(means, entry, request, progress)
        self._progress = progress
        self._found = found
        self._deadline = anyio.current_time() + means.delays.repeating
        """After this time, nothing more is sent until a caller makes the same request again."""

    async def begin(self) -> None:
        """Send the request for the first time.

        Raises:
            LedgerError: when the POST could not be recorded; nothing was sent.
            TakenOver: when another process works on the request now.
            OutcomeUnknown: when it is not known whether it was accepted, and nothing more can be done now.
            EvolinkError: when the request was refused.
        """
        if not await self._send():
            await self.go_on()

    async def go_on(self) -> None:
        """Go on with a request whose answer was lost: find its task, or send it again if the rules allow it.

        Raises:
            TakenOver, OutcomeUnknown: as ``begin``.
        """
        for left in reversed(range(LEDGER_FAILURES)):
            try:
                await self._until_over()
                return
            except (OutcomeUnknown, TakenOver):
                raise
            except (EvolinkError, LedgerError) as error:  # this says nothing about the earlier POST
                if left == 0 or isinstance(error, EvolinkError):
                    text = f"An earlier attempt had no answer, and then: {error.message}"
                    raise outcomes.unknown(text) from error
                logger.warning("the ledger is asked again: %s", error)
                await anyio.sleep(self._delays.rewriting)

    async def _until_over(self) -> None:
        await self._sender.learn_skew()
        over = False
        while not over:
            use = await self._ledger.key_use()
            repeating = use == "honoured" and not self._sender.is_old
            try:
                over = await (self._repeat_under_the_key() if repeating else self._search_and_act(use))
            except NotNow:  # the request became too old, or the gateway is known now
                continue

    async def learned(self) -> tuple[str, ...]:
        """The other tasks that were paid for this request, as its repeat shows.

        They are searched for now if the process that repeated the request ended before it had done so.

        Raises:
            LedgerError: when the ledger cannot be read or written.
        """
        entry = self._sender.entry
        if any(entry.number == guess.number for guess in await self._ledger.answered_guesses()):
            with anyio.move_on_after(LEARNING):
                await self._learn_from(entry, *await self._search(entry))
                await self._ledger.end_guess(entry.number)
        return await self._ledger.paid_beside(entry.number)

    async def _repeat_under_the_key(self) -> bool:
        """Send the request until the gateway answers with the task that it made. Return whether it did."""
        self._progress.stage = "asking for the lost answer"
        first = max(self._delays.repeats[0] - self._sender.passed, 0)
        last = itertools.repeat(self._delays.repeats[-1])
        for pause in itertools.chain((first, *self._delays.repeats[1:]), last):
            if anyio.current_time() + pause > self._deadline:
                raise outcomes.unknown(self._progress.reason)
            await anyio.sleep(pause)
            try:
                if await self._send():
                    return True
            except EvolinkError as error:  # a refused repeat says nothing about the earlier POST
                self._progress.reason = error.message
        raise AssertionError("unreachable")

    async def _search_and_act(self, use: KeyUse) -> bool:
        """Search the account's list until it shows what to do next, and do it. Return whether it is done."""
        self._progress.stage = "looking for the task in the account's list"
        async for last_search in search_times(self._sender.passed, self._delays.searches):
            if await self._ledger.key_use() != use:
                return False
            entry = self._sender.entry
            rivals, listed = await self._search(entry)
            if use == "unknown" and await self._learn_from(entry, rivals, listed):
                return False
            verdict = assign(entry, rivals, listed, self._delays)
            step = next_step(use, verdict, entry, old=self._sender.is_old, last_search=last_search)
            if step == "wait":
                continue
            if step == "found":
                logger.warning("task %s was found in the account's list", verdict.candidates[0].id)
                self._measures.read()
                return await self._finish(await self._list.whole(verdict.candidates[0]), recovered=True)
            if step == "stop":
                raise self._undecided(use, verdict)
            if anyio.current_time() > self._deadline:
                raise outcomes.unknown(self._progress.reason)
            return await (self._guess() if step == "guess" else self._send())
        raise AssertionError("unreachable")

    async def _search(self, entry: Entry) -> tuple[list[Entry], Listed]:
        """The requests that may have made a task of the list, and what the list shows since this request."""
        before = {rival.number: rival for rival in await self._ledger.rivals()}
        listed = await self._list.search(entry.posts, entry.model)
        # Once more: a request may have been sent, and its task listed, while the list was read.
        after = {rival.number: rival for rival in await self._ledger.rivals()}
        taken = await self._ledger.taken_ids([task.id for task in listed.tasks])
        free = tuple(task for task in listed.tasks if task.id not in taken)
        seen = frozenset(task.id for task in listed.tasks)
        return list((after | before).values()), replace(listed, tasks=free, seen=seen)

    def _undecided(self, use: KeyUse, verdict: Verdict) -> OutcomeUnknown:
        take = self._sender.entry.take + 1 if use == "ignored" else None
        candidates = None if self._shared else verdict.candidates
        return outcomes.undecided(self._progress.reason, candidates, take=take, old=self._sender.is_old)

    async def _guess(self) -> bool:
        """Send the request again, although its POST may have arrived. Return whether it is done.

        Only one of several requests is sent; the others wait for what it shows about the gateway.
        """
        for entry in await self._ledger.answered_guesses():  # their processes ended before they learned
            rivals, listed = await self._search(entry)
            if entry.task and entry.task.id in listed.seen:  # else it is in another account
                await self._learn_from(entry, rivals, listed)
                await self._ledger.end_guess(entry.number)
        within = self._delays.listed_within
        deadline = anyio.current_time() + within
        while not await self._ledger.begin_guess(self._sender.entry.number, self._clock(), within):
            if anyio.current_time() >= deadline or await self._ledger.key_use() != "unknown":
                return False
            await anyio.sleep(4 * self._delays.joining)
        try:
            return await self._send(guess=True)
        except (Unreachable, Busy) as error:
            self._progress.reason = error.message
            pause = error.retry_after or REFUSED_GUESS_PAUSE
            if anyio.current_time() + pause > self._deadline:
                raise outcomes.unknown(error.message) from error
            await anyio.sleep(pause)
            return False

    async def _send(self, *, guess: bool = False) -> bool:
        """Send the request. Return whether the answer is its task."""
        accepted = await self._sender.post(guess=guess)
        return accepted is not None and await self._finish(accepted.task, learn=not accepted.replayed)

    async def _finish(self, task: Task, *, recovered: bool = False, learn: bool = False) -> bool:
        """Record the task, tell the callers, and return True. A failing ledger must not hide a paid task."""
        ours, entry, told = self._sender.entry, None, False
        while entry is None:
            try:
                entry = await self._ledger.mark_answered(
                    ours.number, task, self._clock(), recovered=recovered
                )
            except LedgerError as error:
                logger.error("task %s could not be recorded yet: %s", task.id, error)
                self._found(Submitted(replace(ours, task=task, recovered=recovered)))
                told = told or self._progress.waiting > 0
                await anyio.sleep(self._delays.rewriting)
        shared = entry.number < ours.number
        if not shared:
            self._measures.submitted(task.credits_reserved or ours.estimate)
        also_paid: tuple[str, ...] = ()
        try:
            with anyio.move_on_after(LEARNING):  # the caller should soon be told of the task
                if learn and len(entry.posts) > 1 and await self._ledger.key_use() != "honoured":
                    also_paid = await self._learn_from(entry, *await self._search(entry))
                if len(ours.posts) > 1:
                    await self._ledger.end_guess(ours.number)
            if told:
                await self._ledger.mark_told(entry.number)
        except LedgerError as error:  # it can be learned later
            logger.warning("what a repeat shows could not be learned: %s", error)
        self._found(Submitted(entry, shared=shared, also_paid=also_paid))
        return True

    async def _learn_from(self, entry: Entry, rivals: list[Entry], listed: Listed) -> tuple[str, ...]:
        """Return the other tasks that the gateway made for a repeated request, and record what they show.

        Where others share the account, only a task that no other request can have made is returned.
        """
        others = paid_beside(entry, rivals, listed, self._delays) if len(entry.posts) > 1 else ()
        if others:
            logger.warning("the gateway ignores the idempotency key: a request was paid twice")
            await self._ledger.learn_key_use("ignored")
        is_certain = len(others) == 1 and entry.task is not None  # no other request can have made that task
        if is_certain:
            await self._ledger.mark_paid_beside(entry.number, others[0], self._clock())
        return tuple(task.id for task in others) if is_certain or not self._shared else ()
