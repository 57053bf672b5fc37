"""The submission of a request: from the intent in the ledger to the task, paid once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from wan_mcp.errors import EvolinkError, LedgerError, OutcomeUnknown, WanError
from wan_mcp.evolink import PAUSE_BEFORE_SEARCH, Evolink, Task, VideoRequest, prices
from wan_mcp.generation.account_list import AccountList, outcome_unknown
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.images import Picture
from wan_mcp.ledger import DEFAULTS, Claim, ClaimRules, Entry, Intent, OwnerLedger, fingerprint
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

JOINING_PAUSE = 0.25
"""Seconds between two claims for a request that another call is submitting."""
UPLOAD_LIFE = 72 * 3600.0
"""Seconds for which an uploaded picture lives, where the answer does not say: as documented."""


@dataclass(frozen=True)
class Submitted:
    """A request that has its task."""

    entry: Entry
    repeated: bool = False
    """Whether it had one before this call."""


class Submitter:
    """Submits the requests of one owner, each at most once.

    Args:
        evolink: the API.
        ledger: the owner's.
        settings: the repeat window and the cap.
        clock: the time, in Unix seconds.
    """

    def __init__(
        self, evolink: Evolink, ledger: OwnerLedger, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._evolink = evolink
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._list = AccountList(evolink, ledger, clock)

    async def submit(self, request: GenerationRequest, picture: Picture) -> Submitted:
        """Give a request its task: the one that it has, the one that is being made, or a new one.

        Raises:
            CapReached: when it would cost too much; nothing was sent.
            LedgerError: when the intent could not be recorded; nothing was sent.
            OutcomeUnknown: when it is not known whether the request was accepted.
            EvolinkError: when it was refused.
        """
        intent = Intent(
            fingerprint=fingerprint(request.body(), picture.identity),
            prompt=request.prompt,
            duration=request.duration or DEFAULTS["duration"],
            quality=request.quality or DEFAULTS["quality"],
            estimate=prices.estimate(request.duration, request.quality),
        )
        waited_for = None
        while True:
            claim = await self._ledger.claim(intent, self._rules(request), waited_for)
            if claim.kind == "busy":
                waited_for = claim.entry.number
                await anyio.sleep(JOINING_PAUSE)
            elif claim.kind == "repeat":
                return Submitted(claim.entry, repeated=True)
            elif claim.kind == "unknown":
                raise outcome_unknown("The equal request that was under way ended without an answer.")
            else:
                return Submitted(await self._carry_out(claim, request, picture))

    def _rules(self, request: GenerationRequest) -> ClaimRules:
        return ClaimRules(
            now=self._clock(),
            repeat_seconds=self._settings.repeat_minutes * 60,
            daily_credits=self._settings.daily_credits,
            new_take=request.new_take,
        )

    async def _carry_out(self, claim: Claim, request: GenerationRequest, picture: Picture) -> Entry:
        """Send the request of a claim that is ours, and give up the claim if that fails."""
        sent = claim.kind == "resume"
        try:
            if claim.kind == "resume":
                return await self._resume(claim.entry)
            prepared = await self._prepare(request, picture)
            entry = await self._ledger.mark_posted(claim.entry.number, prepared.body(), self._clock())
            sent = True
            return await self._post(entry, prepared)
        except BaseException as error:
            surely_not = claim.kind == "fresh" and isinstance(error, WanError) and error.charged == "no"
            with anyio.move_on_after(1, shield=True):
                await self._give_up(claim.entry, sent=sent and not surely_not)
            raise

    async def _prepare(self, request: GenerationRequest, picture: Picture) -> VideoRequest:
        """The request with an address at which Evolink finds the picture."""
        address = picture.address or await self._upload(picture)
        return VideoRequest.model_validate(request.body() | {"image_urls": [address]})

    async def _upload(self, picture: Picture) -> str:
        """The address of a picture in the file service; it is uploaded once while that upload lives."""
        assert picture.content is not None
        known = await self._ledger.find_upload(picture.identity, self._clock())
        if known is not None:
            return known
        upload = await self._evolink.upload(picture.file_name, picture.content, picture.media_type)
        expires = upload.expires_at.timestamp() if upload.expires_at else self._clock() + UPLOAD_LIFE
        await self._ledger.record_upload(picture.identity, upload.url, expires)
        return upload.url

    async def _resume(self, entry: Entry) -> Entry:
        """Go on with a request whose answer never came: find its task, else send it again."""
        since = self._clock() - (entry.reposted_at or 0)
        if since < PAUSE_BEFORE_SEARCH:  # far below zero where the clock was set back
            await anyio.sleep(PAUSE_BEFORE_SEARCH - max(since, 0))
        found = await self._list.find(entry)
        if found is not None:
            return await self._record(entry, found, recovered=True)
        request = VideoRequest.model_validate(entry.body)
        entry = await self._mark_reposted(entry)
        try:
            return await self._post(entry, request)
        except OutcomeUnknown:
            raise
        except EvolinkError as error:
            text = f"An earlier, equal request had no answer; now: {error.message}"
            raise outcome_unknown(text) from error

    async def _post(self, entry: Entry, request: VideoRequest) -> Entry:
        recovered = False

        async def find_task() -> Task | None:
            nonlocal entry, recovered
            found = await self._list.find(entry)
            recovered = found is not None
            if found is None:
                entry = await self._mark_reposted(entry)
            return found

        assert entry.idempotency_key is not None
        task = await self._evolink.submit(request, idempotency_key=entry.idempotency_key, find_task=find_task)
        return await self._record(entry, task, recovered=recovered)

    async def _mark_reposted(self, entry: Entry) -> Entry:
        """Record that the request is about to be sent once more."""
        assert entry.body is not None
        try:
            return await self._ledger.mark_posted(entry.number, entry.body, self._clock())
        except LedgerError as error:  # it was sent before, so this is not a plain refusal any more
            raise outcome_unknown(error.message) from error

    async def _record(self, entry: Entry, task: Task, *, recovered: bool) -> Entry:
        """Record the answer. The task exists and is paid: a ledger that fails now must not hide it."""
        try:
            return await self._ledger.mark_answered(entry.number, task, self._clock(), recovered=recovered)
        except LedgerError as error:
            logger.error("task %s could not be recorded: %s", task.id, error)
            await self._give_up(entry, sent=True)
            return replace(entry, task=task, recovered=recovered, known_at=self._clock())

    async def _give_up(self, entry: Entry, *, sent: bool) -> None:
        try:
            await self._ledger.release(entry.number, sent=sent)
        except LedgerError as error:
            logger.warning("the ledger could not be written: %s", error)
