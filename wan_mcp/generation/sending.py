"""The paid POST of one request: recorded before it is written, with the true time."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from wan_mcp.errors import Busy, EvolinkError, LedgerError, LostAnswer, TakenOver, Unreachable
from wan_mcp.evolink import Accepted, Evolink, VideoRequest
from wan_mcp.evolink.connection import MAX_CONNECTING
from wan_mcp.evolink.http_errors import HONOURED
from wan_mcp.evolink.retries import persist
from wan_mcp.generation.account_list import AccountList
from wan_mcp.generation.measures import Measures
from wan_mcp.generation.outcomes import Progress
from wan_mcp.ledger import Entry, KeyUse, OwnerLedger, Post
from wan_mcp.ledger.policy import REPEATED_FOR, Delays, age, since_last_post

logger = logging.getLogger(__name__)

LATE = 2.0
"""Seconds by which a POST may be written later than its record says, beyond the time to connect."""
MAX_LATE = 5
"""Times that a POST which was not written in time is recorded again."""


class NotNow(Exception):
    """Raised when the request must not be sent now: it is too old, or the gateway is known now."""


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
    """Bounds the POSTs of the whole process. The time of a POST begins when its turn has come."""
    delays: Delays
    measures: Measures
    shared: bool = False
    """Whether other callers share the account: its tasks may be theirs, and are not named to this one."""


class Sender:
    """Sends one request, once for each call of ``post``.

    Args:
        means: what it works with.
        entry: the row, which this process holds.
        request: its body; None where the ledger's record of it is damaged, so that it cannot be sent again.
        progress: told what is being done.
    """

    def __init__(self, means: Means, entry: Entry, request: VideoRequest | None, progress: Progress) -> None:
        self._evolink, self._ledger, self._clock = means.evolink, means.ledger, means.clock
        self._slots = means.slots
        self._list = AccountList(means.evolink)
        self.entry = entry
        self._request = request
        self._progress = progress
        self._posted: float | None = None
        """When this process last sent the request, by the event loop's clock, which nobody can change."""
        progress.sent = bool(entry.posts)

    @property
    def is_old(self) -> bool:
        """Whether the request is not sent any more, so that only its task is searched for."""
        return self._request is None or (
            bool(self.entry.posts)
            and age(self.entry.posts, self._clock(), self._evolink.skew()) >= REPEATED_FOR
        )

    @property
    def passed(self) -> float:
        """Seconds since the last POST."""
        if self._posted is not None:
            return anyio.current_time() - self._posted
        return since_last_post(self.entry, self._clock())

    async def post(self, *, guess: bool = False) -> Accepted | None:
        """Send the request; None where the answer was lost.

        Args:
            guess: whether an earlier POST may have arrived, so that this one may be paid in addition.

        Raises:
            NotNow: when the request must not be sent now.
            EvolinkError: when the request was refused for certain.
            LedgerError: when the POST could not be recorded; it was not sent.
        """
        again = bool(self.entry.posts)
        retried = () if guess else (Unreachable, Busy)  # before another guess, the gateway may become known
        try:
            accepted = await persist(lambda: self._post_once(guess=guess), retried)
        except LostAnswer as lost:
            self._progress.reason = lost.message
            logger.warning("the answer of a submission was lost: %s", lost)
            if again and lost.code in HONOURED:
                await self.learn("honoured")
            return None
        if again and accepted.replayed:
            await self.learn("honoured")
        return accepted

    async def learn(self, use: KeyUse) -> None:
        """Record what was learned about the gateway."""
        try:
            await self._ledger.learn_key_use(use)
        except LedgerError as error:
            logger.warning("what was learned about the gateway could not be recorded: %s", error)

    async def learn_skew(self) -> None:
        """Ask the gateway for its time, unless it is known."""
        if self._evolink.skew() is None:
            await self._list.learn_skew()

    async def _post_once(self, *, guess: bool) -> Accepted:
        async with self._slots:
            await self.learn_skew()
            if guess and await self._ledger.key_use() != "unknown":
                raise NotNow
            for _ in range(MAX_LATE):
                writing = await self._record(guess=guess)
                try:
                    assert self._request is not None
                    return await self._evolink.submit(
                        self._request, idempotency_key=self.entry.idempotency_key or "", writing=writing
                    )
                except _Late:
                    logger.warning("a submission was not sent: the process stood still, or the clock was set")
                    await self._drop(guess=guess)
                except LostAnswer:  # it may have arrived, so the POST stays on record
                    raise
                except EvolinkError:
                    await self._drop(guess=guess)
                    raise
            raise Unreachable("The request was not sent in time.", next_step="Try again later.")

    async def _record(self, *, guess: bool) -> Callable[[], None]:
        """Record that the request is about to be sent. Return the check to make when it is written."""
        if self.is_old or self._request is None:
            raise NotNow
        self._progress.stage = "waiting for Evolink's answer"
        moment, began = self._clock(), anyio.current_time()
        post = Post(moment, self._evolink.skew())
        self.entry = await self._ledger.mark_posted(
            self.entry.number, post, self._request.body(), guess=guess
        )
        self._posted, self._progress.sent = began, True

        def writing() -> None:
            waited = anyio.current_time() - began
            if waited > MAX_CONNECTING + LATE or abs(self._clock() - moment - waited) > LATE:
                raise _Late

        return writing

    async def _drop(self, *, guess: bool) -> None:
        try:
            self.entry = await self._ledger.drop_post(self.entry.number, guessed=guess)
        except TakenOver:
            raise
        except LedgerError as error:  # then the record says that this POST may have arrived
            logger.warning("the ledger could not be written: %s", error)
        self._progress.sent = bool(self.entry.posts)
