"""Submissions run in the background; calls join them, and leave them when their time is up."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from wan_mcp.errors import InternalError, LedgerError, PictureUnavailable, TakenOver, WanError
from wan_mcp.evolink import VideoRequest, prices
from wan_mcp.generation import outcomes
from wan_mcp.generation.outcomes import Progress, Submitted
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.submission import Means, Submission
from wan_mcp.images import Picture, place_of
from wan_mcp.ledger import DEFAULTS, ClaimRules, Entry, Fingerprints, Image, Intent, fingerprint
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

UPLOAD_LIFE = 72 * 3600.0
"""Seconds for which an uploaded picture lives, where the answer does not say: as documented."""
HEARTBEAT = 5.0
"""Seconds between two notifications of a caller."""

OnStage = Callable[[str], Awaitable[None]]
"""Told what is being done, at once and then every few seconds."""

Source = Picture | PictureUnavailable
"""A picture, or why it cannot be read."""


class Job:
    """One submission under way."""

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self.waiting = 0
        """Calls that wait for it."""
        self.progress = Progress()
        self._result: Submitted | None = None
        self._error: WanError | None = None
        self._done = anyio.Event()

    def found(self, result: Submitted) -> None:
        """Tell the result. The first outcome counts."""
        if not self._done.is_set():
            self._result = result
            self._done.set()

    def failed(self, error: WanError) -> None:
        """Tell why there is no task. The first outcome counts."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def join(self, patience: float, on_stage: OnStage) -> Submitted:
        """Wait for the outcome, for so many seconds at most.

        Raises:
            StillUnderWay: when there is none yet.
            WanError: when there is no task.
        """
        deadline = anyio.current_time() + patience
        self.waiting += 1
        try:
            while not self._done.is_set() and (left := deadline - anyio.current_time()) > 0:
                await on_stage(self.progress.stage)
                with anyio.move_on_after(min(HEARTBEAT, left)):
                    await self._done.wait()
        finally:
            self.waiting -= 1
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise outcomes.under_way(self.progress.reason, sent=self.progress.sent)
        return self._result


class Submitter:
    """Submits the requests of one owner, each paid once.

    Args:
        means: what it works with.
        settings: the repeat window and the caps.
        background: where the jobs run.
    """

    def __init__(self, means: Means, settings: Settings, background: TaskGroup) -> None:
        self._means = means
        self._ledger = means.ledger
        self._settings = settings
        self._background = background
        self._jobs: list[Job] = []

    async def submit(
        self,
        request: GenerationRequest,
        picture: Source,
        patience: float,
        on_stage: OnStage,
    ) -> Submitted:
        """Give a request its task: the one that it has, the one that is being made, or a new one.

        Cancelling the call does not cancel the request.

        Args:
            request: what to make.
            picture: its picture, or why that cannot be read: then only an earlier request counts.
            patience: seconds after which the call is answered in any case.
            on_stage: told what is being done.

        Raises:
            PictureUnavailable: when there is no picture, and no earlier request.
            StillUnderWay: when the time was up before there was an outcome; the submission goes on.
            CapReached: when it would cost too much; nothing was sent.
            LedgerError: when the intent could not be recorded; nothing was sent.
            OutcomeUnknown: when it is not known whether the request was accepted.
            EvolinkError: when it was refused.
        """
        intent = _intent(request, picture)
        job = next((job for job in self._jobs if intent.fingerprints.same(job.intent.fingerprints)), None)
        joined = job is not None
        if job is None:
            job = Job(intent)
            self._jobs.append(job)
            self._background.start_soon(self._run, job, request, picture)
        submitted = await job.join(patience, on_stage)
        changed = intent.fingerprints.changed_since(submitted.entry.fingerprints)
        return replace(submitted, repeated=submitted.repeated or joined, changed=changed)

    async def _run(self, job: Job, request: GenerationRequest, picture: Source) -> None:
        try:
            await self._work(job, request, picture)
        except WanError as error:
            job.failed(error)
        except Exception:
            logger.exception("a submission failed unexpectedly")
            job.failed(InternalError(charged="unknown" if job.progress.sent else "no"))
        finally:
            self._jobs.remove(job)
            job.failed(outcomes.stopped(sent=job.progress.sent))  # counts only if it was cancelled

    async def _work(self, job: Job, request: GenerationRequest, picture: Source) -> None:
        """Claim the request, wait while another process works on it, and carry it out."""
        while True:
            claim = await self._ledger.claim(job.intent, self._rules())
            if claim.entry is None:
                assert isinstance(picture, PictureUnavailable)
                raise picture
            if claim.kind == "repeat":
                job.found(Submitted(claim.entry, repeated=True))
                return
            if claim.kind != "busy":
                with suppress(TakenOver):  # then it is claimed again, and waited for
                    await self._carry_out(job, claim.entry, request, picture, replaces=claim.replaces)
                    return
            elif not job.waiting:  # the other process goes on, and nobody here wants its answer
                return
            job.progress.sent = bool(claim.entry.posts)
            await anyio.sleep(self._means.delays.joining)

    async def _carry_out(
        self,
        job: Job,
        entry: Entry,
        request: GenerationRequest,
        picture: Source,
        *,
        replaces: bool,
    ) -> None:
        """Work on a row that is ours, and give it up at the end."""

        def found(submitted: Submitted) -> None:
            job.found(replace(submitted, replaces=replaces))

        try:
            if entry.posts:
                body = VideoRequest.model_validate(entry.body)
                await Submission(self._means, entry, body, job.progress, found).go_on()
            else:
                assert isinstance(picture, Picture)
                body = await self._prepare(job, request, picture)
                await Submission(self._means, entry, body, job.progress, found).begin()
        finally:
            with anyio.move_on_after(1, shield=True):
                try:
                    await self._ledger.release(entry.number)
                except LedgerError as error:
                    logger.warning("the ledger could not be written: %s", error)

    async def _prepare(self, job: Job, request: GenerationRequest, picture: Picture) -> VideoRequest:
        """The request with an address at which Evolink finds the picture."""
        address = picture.address
        if address is None:
            job.progress.stage = "uploading the picture"
            address = await self._upload(picture)
        return VideoRequest.model_validate(request.body() | {"image_urls": [address]})

    async def _upload(self, picture: Picture) -> str:
        """The address of a picture in the file service; it is uploaded once while that upload lives."""
        assert picture.content is not None
        assert picture.digest is not None
        known = await self._ledger.find_upload(picture.digest, self._means.clock())
        if known is not None:
            return known
        upload = await self._means.evolink.upload(picture.file_name, picture.content, picture.media_type)
        now = self._means.clock()
        expires = upload.expires_at.timestamp() if upload.expires_at else now + UPLOAD_LIFE
        await self._ledger.record_upload(picture.digest, upload.url, expires)
        return upload.url

    def _rules(self) -> ClaimRules:
        return ClaimRules(
            now=self._means.clock(),
            repeat_seconds=self._settings.repeat_minutes * 60,
            daily_credits=self._settings.daily_credits,
            request_credits=self._settings.request_credits,
        )


def _intent(request: GenerationRequest, picture: Source) -> Intent:
    meaning = request.body() | {"take": request.take}

    def printed(identity: str | None) -> str | None:
        return None if identity is None else fingerprint(meaning, identity)

    read = picture if isinstance(picture, Picture) else Picture()
    return Intent(
        Fingerprints(
            reference=fingerprint(meaning, place_of(request.image_urls[0])),
            content=printed(read.digest),
            address=printed(read.place),
        ),
        prompt=request.prompt,
        duration=request.duration or DEFAULTS["duration"],
        quality=request.quality or DEFAULTS["quality"],
        estimate=prices.estimate(request.duration, request.quality),
        take=request.take,
        image=Image(read.width, read.height, read.format, read.adjusted) if read is picture else None,
    )
