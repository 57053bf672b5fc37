"""Submissions run in the background; calls join them, and leave them when their time is up."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from wan_mcp.errors import AddressRefused, InternalError, LedgerError, PictureUnavailable, TakenOver, WanError
from wan_mcp.evolink import VideoRequest
from wan_mcp.evolink.requests import request_of
from wan_mcp.generation import outcomes
from wan_mcp.generation.account_list import AccountList
from wan_mcp.generation.intents import Source, intent_for, intent_of, recorded
from wan_mcp.generation.outcomes import BeforePaying, OnStage, OnTask, Progress, Submitted, unasked
from wan_mcp.generation.request import Request
from wan_mcp.generation.sending import Means
from wan_mcp.generation.submission import Submission
from wan_mcp.generation.uploading import uploaded
from wan_mcp.images import Picture
from wan_mcp.ledger import ClaimRules, Entry, Intent
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

HEARTBEAT = 5.0
"""Seconds between two notifications to a caller."""


class Job:
    """One submission under way."""

    def __init__(self, intent: Intent, picture: Source, on_task: OnTask, before_paying: BeforePaying) -> None:
        self.intent = intent
        self.picture = picture
        self._on_task = on_task
        self.before_paying = before_paying
        self.is_agreed = before_paying is unasked
        """Whether the request may be sent."""
        self.progress = Progress()
        self._result: Submitted | None = None
        self._error: WanError | None = None
        self._done = anyio.Event()

    def found(self, result: Submitted) -> None:
        """Tell the result. The first outcome counts."""
        if not self._done.is_set():
            self._result = result
            self._done.set()
            sent, read = result.entry.fingerprints, self.intent.fingerprints.content
            # The picture at an address may have changed since it was sent.
            is_sent = read is not None and sent is not None and sent.content == read
            self._on_task(result, self.picture if isinstance(self.picture, Picture) and is_sent else None)

    def failed(self, error: WanError) -> None:
        """Tell why there is no task. The first outcome counts."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def join(self, patience: float, on_stage: OnStage) -> Submitted:
        """Wait for the outcome, for ``patience`` seconds at most.

        Raises:
            StillUnderWay: when there is no outcome yet.
            WanError: when there is no task.
        """
        deadline = anyio.current_time() + patience
        self.progress.waiting += 1
        try:
            while not self._done.is_set() and (left := deadline - anyio.current_time()) > 0:
                with anyio.move_on_after(min(HEARTBEAT, left)):
                    await self._done.wait()
                if not self._done.is_set():
                    await on_stage(self.progress.stage)
        finally:
            self.progress.waiting -= 1
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
        on_task: told of each request that has its task.
    """

    def __init__(self, means: Means, settings: Settings, background: TaskGroup, on_task: OnTask) -> None:
        self._means = means
        self._ledger = means.ledger
        self._settings = settings
        self._background = background
        self._on_task = on_task
        self._jobs: list[Job] = []

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    async def submit(
        self,
        request: Request,
        picture: Source,
        patience: float,
        on_stage: OnStage,
        before_paying: BeforePaying = unasked,
    ) -> Submitted:
        """Give a request its task: the one that it has already, that of a job under way, or a new one.

        Cancelling the call does not cancel the request.

        Args:
            request: what to make.
            picture: its picture, if any, or why that cannot be read; then only an earlier request is found.
            patience: seconds after which the call is answered in any case.
            on_stage: told what is being done.
            before_paying: may keep a new request from being sent.

        Raises:
            PictureUnavailable, AddressRefused: when the picture cannot be read, and no request is found.
            StillUnderWay: when the time was up before there was an outcome; the submission goes on.
            CapReached: when the request would exceed a cap; nothing was sent.
            LedgerError: when the request could not be recorded; nothing was sent.
            OutcomeUnknown: when it is not known whether the request was accepted.
            EvolinkError: when the request was refused.
        """
        intent = intent_for(request, picture)
        job = next((job for job in self._jobs if intent.fingerprints.same(job.intent.fingerprints)), None)
        joined = job is not None
        if job is None:
            job = Job(intent, picture, self._on_task, before_paying)
            self._jobs.append(job)
            self._background.start_soon(self._run, job, partial(self._work, job, request))
        submitted = await job.join(patience, on_stage)
        if submitted.entry.untold:
            with suppress(LedgerError):  # then the next equal request is told once more
                await self._ledger.mark_told(submitted.entry.number)
        changed = intent.fingerprints.changed_since(submitted.entry.fingerprints)
        return replace(submitted, repeated=submitted.repeated or joined, changed=changed)

    async def resume(self, number: int) -> None:
        """Go on with a request that was sent, and whose program died, although no caller asks.

        Raises:
            LedgerError: when the ledger cannot be read or written.
        """
        entry = await self._ledger.take_over(number)
        if entry is None:
            return
        logger.warning("request #%d, which another program left without an answer, goes on here", number)
        job = Job(intent_of(entry), None, self._on_task, unasked)
        job.progress.sent = True
        self._jobs.append(job)
        work = partial(self._carry_out, job, entry, None, replaces=False)
        self._background.start_soon(self._run, job, work)

    async def _run(self, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except WanError as error:
            job.failed(error)
        except Exception:
            logger.exception("a submission failed unexpectedly")
            job.failed(InternalError(charged="no" if job.progress.sent is False else "unknown"))
        finally:
            self._jobs.remove(job)
            job.failed(outcomes.stopped(sent=job.progress.sent))  # counts only if it was cancelled

    async def _work(self, job: Job, request: Request) -> None:
        """Claim the request, wait while another process works on it, and carry it out."""
        await self._ledger.open()  # whose clock counts
        rules = self._rules()
        while True:
            rules = replace(rules, now=self._means.clock(), skew=self._means.evolink.skew())
            claim = await self._ledger.claim(job.intent, rules)
            entry = claim.entry
            if entry is None:
                assert isinstance(job.picture, (PictureUnavailable, AddressRefused))
                raise job.picture
            job.progress.sent = bool(entry.posts)
            if claim.kind == "repeat":
                also_paid = await self._learned(job, entry) if len(entry.posts) > 1 else ()
                job.found(Submitted(entry, repeated=True, also_paid=also_paid))
                return
            if claim.kind == "undated":
                await AccountList(self._means.evolink).learn_skew()
                rules = replace(rules, skew_asked=True)
                continue
            if claim.kind == "fresh" and not job.is_agreed:
                await self._ask(job, entry)
                continue
            if claim.kind != "busy":
                with suppress(TakenOver):  # then it is claimed again, and waited for
                    await self._carry_out(job, entry, request, replaces=claim.replaces)
                    return
            elif not job.progress.waiting:  # the other process goes on, and no caller here waits for it
                return
            rules = replace(rules, waited_for=entry.number)
            await anyio.sleep(self._means.delays.joining)

    async def _ask(self, job: Job, entry: Entry) -> None:
        """Ask before paying. This may take hours, so the row is released, and claimed again afterwards."""
        await self._release(entry)
        assert not isinstance(job.picture, WanError)
        await job.before_paying(job.picture, job.intent)
        job.is_agreed = True

    async def _learned(self, job: Job, entry: Entry) -> tuple[str, ...]:
        try:
            return await Submission(self._means, entry, None, job.progress, job.found).learned()
        except LedgerError as error:
            logger.warning("what a repeat shows could not be learned: %s", error)
            return ()

    async def _carry_out(self, job: Job, entry: Entry, request: Request | None, *, replaces: bool) -> None:
        """Work on a row that this process holds, and release it at the end.

        A program that stops releases nothing: its lock is freed, and with it its rows.
        """

        def found(submitted: Submitted) -> None:
            job.found(replace(submitted, replaces=replaces))

        try:
            if entry.posts:
                await Submission(self._means, entry, recorded(entry), job.progress, found).go_on()
            else:
                assert request is not None
                body = await self._prepare(job, request)
                await Submission(self._means, entry, body, job.progress, found).begin()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException:
            await self._release(entry)
            raise
        await self._release(entry)

    async def _release(self, entry: Entry) -> None:
        try:
            await self._ledger.release(entry.number)
        except LedgerError as error:
            logger.warning("the ledger could not be written: %s", error)
            self._background.start_soon(self._release_later, entry)

    async def _release_later(self, entry: Entry) -> None:
        """Release a row once the ledger can be written. Until then, other processes wait for this one."""
        while True:
            await anyio.sleep(self._means.delays.rewriting)
            with suppress(LedgerError):
                await self._ledger.release(entry.number)
                return

    async def _prepare(self, job: Job, request: Request) -> VideoRequest:
        """The request as it is sent: its picture, if it has one, is an address that Evolink can fetch."""
        picture = job.picture
        if picture is None:
            return request_of(request.body())
        assert isinstance(picture, Picture)
        address = picture.address
        if address is None:
            job.progress.stage = "uploading the picture"
            address = await uploaded(self._means, picture)
        return request_of(request.body() | {"image_urls": [address]})

    def _rules(self) -> ClaimRules:
        return ClaimRules(
            now=self._means.clock(),
            repeat_seconds=self._settings.repeat_minutes * 60,
            daily_credits=self._settings.daily_credits,
            total_daily_credits=self._settings.total_daily_credits,
            request_credits=self._settings.request_credits,
        )
