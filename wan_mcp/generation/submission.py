"""One submission, paid once: from the first POST to the task, whatever is lost between.

This module waits and sends; ``ledger.policy`` decides.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from wan_mcp.errors import (
    Busy,
    EvolinkError,
    LedgerError,
    LostAnswer,
    OutcomeUnknown,
    TakenOver,
    Unreachable,
)
from wan_mcp.evolink import Accepted, Evolink, Task, VideoRequest
from wan_mcp.evolink.connection import MAX_CONNECTING
from wan_mcp.evolink.http_errors import HONOURED
from wan_mcp.evolink.retries import persist
from wan_mcp.generation import outcomes
from wan_mcp.generation.account_list import AccountList, search_times
from wan_mcp.generation.outcomes import Progress, Submitted
from wan_mcp.ledger import Entry, KeyUse, OwnerLedger, Post
from wan_mcp.ledger.policy import (
    REPEATED_FOR,
    Delays,
    Listed,
    Verdict,
    age,
    assign,
    next_step,
    paid_beside,
    since_last_post,
)

logger = logging.getLogger(__name__)

LATE = 2.0
"""Seconds by which the writing of a POST may be later than its record says, beyond the time to connect."""


class _Late(Exception):
    """The process stood still, or the clock was changed, since the POST was recorded."""


@dataclass(frozen=True)
class Means:
    """What the submissions of one owner work with."""

    evolink: Evolink
    ledger: OwnerLedger
    clock: Callable[[], float]
    """The time, in Unix seconds."""
    slots: anyio.CapacityLimiter
    """Bounds the POSTs of the whole process; the time of one that waits for its turn has not begun."""
    delays: Delays


class Submission:
    """The work on one row of the ledger, which this process holds.

    Args:
        means: what it works with.
        entry: the row.
        request: its body.
        progress: where it says how far it is.
        found: told the result as soon as it is known.
    """

    def __init__(
        self,
        means: Means,
        entry: Entry,
        request: VideoRequest,
        progress: Progress,
        found: Callable[[Submitted], None],
    ) -> None:
        self._evolink, self._ledger, self._clock = means.evolink, means.ledger, means.clock
        self._slots, self._delays = means.slots, means.delays
        self._list = AccountList(means.evolink, means.ledger)
        self._entry = entry
        self._request = request
        self._progress = progress
        self._found = found
        self._deadline = anyio.current_time() + means.delays.repeating
        """After it nothing more is sent until a caller makes the same request again."""
        progress.sent = bool(entry.posts)

    async def begin(self) -> None:
        """Send the request for the first time.

        Raises:
            LedgerError: when it could not be recorded; nothing was sent.
            TakenOver: when another process works on it now.
            OutcomeUnknown: when it is not known whether it was accepted, and nothing more can be done now.
            EvolinkError: when it was refused.
        """
        accepted = await self._post()
        if accepted is None:
            await self.go_on()
        else:
            await self._finish(accepted.task, learn=not accepted.replayed)

    async def go_on(self) -> None:
        """Go on with a request whose answer was lost: find its task, else send it again, as the rules say.

        Raises:
            TakenOver, OutcomeUnknown: as ``begin``.
        """
        try:
            over = False
            while not over:
                use = await self._ledger.key_use()
                repeating = use == "honoured" and not self._is_old()
                over = await (self._repeat_under_the_key() if repeating else self._search_and_act(use))
        except (OutcomeUnknown, TakenOver):
            raise
        except (EvolinkError, LedgerError) as error:  # it says nothing about the POST before
            raise outcomes.unknown(f"An earlier attempt had no answer, and then: {error.message}") from error

    def _is_old(self) -> bool:
        return age(self._entry.posts, self._clock()) >= REPEATED_FOR

    async def _repeat_under_the_key(self) -> bool:
        """Send the request until the gateway answers with the task that it made; whether that is the end."""
        self._progress.stage = "asking for the lost answer"
        first = max(self._delays.repeats[0] - since_last_post(self._entry, self._clock()), 0)
        last = itertools.repeat(self._delays.repeats[-1])
        for pause in itertools.chain((first, *self._delays.repeats[1:]), last):
            if anyio.current_time() + pause > self._deadline:
                raise outcomes.unknown(self._progress.reason)
            await anyio.sleep(pause)
            try:
                accepted = await self._post()
            except EvolinkError as error:  # a refused repeat says nothing about the POST before it
                self._progress.reason = error.message
                continue
            if accepted is not None:
                return await self._finish(accepted.task, learn=not accepted.replayed)
        raise AssertionError("unreachable")

    async def _search_and_act(self, use: KeyUse) -> bool:
        """Search the account's list until it tells what became of the request; whether that is the end."""
        self._progress.stage = "looking for the task in the account's list"
        passed = since_last_post(self._entry, self._clock())
        async for last_search in search_times(passed, self._delays.searches):
            if await self._ledger.key_use() != use:
                return False
            rivals, listed = await self._search()
            if use == "unknown" and await self._learn_from(self._entry, rivals, listed):
                return False
            verdict = assign(self._entry, rivals, listed, self._delays)
            step = next_step(use, verdict, self._entry, self._clock(), last_search=last_search)
            if step == "wait":
                continue
            if step == "found":
                logger.warning("task %s was found in the account's list", verdict.candidates[0].id)
                return await self._finish(await self._list.whole(verdict.candidates[0]), recovered=True)
            if step == "stop":
                raise self._undecided(use, verdict)
            if anyio.current_time() > self._deadline:
                raise outcomes.unknown(self._progress.reason)
            if step == "guess" and not await self._may_guess():
                return False
            accepted = await self._post(guess=step == "guess")
            return accepted is not None and await self._finish(accepted.task, learn=not accepted.replayed)
        raise AssertionError("unreachable")

    async def _search(self, entry: Entry | None = None) -> tuple[list[Entry], Listed]:
        """The requests without an answer, and what the list shows of the time of this one or another."""
        # In this order: a request that gets its task meanwhile still counts, or its task is taken.
        rivals = await self._ledger.unanswered()
        return rivals, await self._list.search((entry or self._entry).posts)

    def _undecided(self, use: KeyUse, verdict: Verdict) -> OutcomeUnknown:
        take = self._entry.take + 1 if use == "ignored" else None
        return outcomes.undecided(self._progress.reason, verdict.candidates, take=take, old=self._is_old())

    async def _may_guess(self) -> bool:
        """Whether this request may be sent again, although its POST may have arrived.

        Of several requests one is, and the others wait for what it teaches about the gateway.
        """
        for entry in await self._ledger.answered_guesses():  # of a process that ended before it had learned
            await self._learn_from(entry, *await self._search(entry))
            await self._ledger.end_guess(entry.number)
        within = self._delays.listed_within
        deadline = anyio.current_time() + within
        while not await self._ledger.begin_guess(self._entry.number, self._clock(), within):
            if anyio.current_time() >= deadline or await self._ledger.key_use() != "unknown":
                return False
            await anyio.sleep(4 * self._delays.joining)
        return True

    async def _post(self, *, guess: bool = False) -> Accepted | None:
        """Send the request; None where the answer was lost.

        Raises:
            EvolinkError: when it was surely refused.
            LedgerError: when it could not be recorded; it was not sent.
        """
        again = bool(self._entry.posts)
        try:
            accepted = await persist(lambda: self._post_once(guess=guess), (Unreachable, Busy))
        except LostAnswer as lost:
            self._progress.reason = lost.message
            logger.warning("the answer of a submission was lost: %s", lost)
            if again and lost.code in HONOURED:
                await self._learn("honoured")
            return None
        if again and accepted.replayed:
            await self._learn("honoured")
        return accepted

    async def _post_once(self, *, guess: bool) -> Accepted:
        key = self._entry.idempotency_key or ""
        async with self._slots:
            if self._evolink.skew() is None and await self._ledger.key_use() != "honoured":
                await self._list.learn_skew()
            late = False
            while True:
                writing = await self._record_post(instead=late, guess=guess)
                try:
                    return await self._evolink.submit(self._request, idempotency_key=key, writing=writing)
                except _Late:
                    late = True
                except LostAnswer:  # it may have arrived, so the POST stays on record
                    raise
                except EvolinkError:
                    await self._drop_post(guess=guess)
                    raise

    async def _record_post(self, *, instead: bool, guess: bool) -> Callable[[], None]:
        """Record that the request is about to be sent; the check to be made when it is written."""
        self._progress.stage = "waiting for Evolink's answer"
        moment, began = self._clock(), anyio.current_time()
        post = Post(moment, self._evolink.skew())
        self._entry = await self._ledger.mark_posted(
            self._entry.number, post, self._request.body(), instead=instead, guess=guess
        )
        self._progress.sent = True

        def writing() -> None:
            waited = anyio.current_time() - began
            if waited > MAX_CONNECTING + LATE or abs(self._clock() - moment - waited) > LATE:
                raise _Late

        return writing

    async def _drop_post(self, *, guess: bool) -> None:
        try:
            self._entry = await self._ledger.drop_post(self._entry.number, guessed=guess)
        except LedgerError as error:  # then this POST is taken for one that may have arrived
            logger.warning("the ledger could not be written: %s", error)
        self._progress.sent = bool(self._entry.posts)

    async def _finish(self, task: Task, *, recovered: bool = False, learn: bool = False) -> bool:
        """Record the task, and tell it; always true. A ledger that fails must not hide a paid task."""
        entry = None
        while entry is None:
            try:
                number, now = self._entry.number, self._clock()
                entry = await self._ledger.mark_answered(number, task, now, recovered=recovered)
            except LedgerError as error:
                logger.error("task %s could not be recorded yet: %s", task.id, error)
                self._found(Submitted(replace(self._entry, task=task, recovered=recovered)))
                await anyio.sleep(self._delays.rewriting)
        also_paid: tuple[str, ...] = ()
        try:
            if learn and len(entry.posts) > 1 and await self._ledger.key_use() != "honoured":
                also_paid = await self._learn_from(entry, *await self._search())
            if len(self._entry.posts) > 1:
                await self._ledger.end_guess(self._entry.number)
        except LedgerError as error:  # the next one who wants to know learns it
            logger.warning("what a repeat shows could not be learned: %s", error)
        self._found(Submitted(entry, shared=entry.number < self._entry.number, also_paid=also_paid))
        return True

    async def _learn_from(self, entry: Entry, rivals: list[Entry], listed: Listed) -> tuple[str, ...]:
        """Learn from the list, after a repeat, whether the gateway made another task as well; those."""
        others = paid_beside(entry, rivals, listed, self._delays) if len(entry.posts) > 1 else ()
        if others:
            logger.warning("the gateway ignores the idempotency key: a request was paid twice")
            await self._learn("ignored")
        return tuple(task.id for task in others)

    async def _learn(self, use: KeyUse) -> None:
        try:
            await self._ledger.learn_key_use(use)
        except LedgerError as error:
            logger.warning("what was learned of the gateway could not be recorded: %s", error)
