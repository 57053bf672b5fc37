"""The use cases of one owner, without MCP: request a video, get its task, wait, list, save, preview, join."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import anyio

from wan_mcp.errors import (
    AddressRefused,
    EvolinkError,
    OutOfCredits,
    PictureUnavailable,
)
from wan_mcp.evolink import Credits, Task, prices
from wan_mcp.generation import outcomes
from wan_mcp.generation.allowance import Allowance
from wan_mcp.generation.autosaving import AutomaticSaver, SaveAgain
from wan_mcp.generation.following import Follower
from wan_mcp.generation.frames import FrameReader
from wan_mcp.generation.intents import Source
from wan_mcp.generation.job_following import JobFollower
from wan_mcp.generation.jobs import Submitter
from wan_mcp.generation.joining import VideoJoiner
from wan_mcp.generation.last_reads import AFTER_FAILURE
from wan_mcp.generation.measures import counted
from wan_mcp.generation.opening import PictureOpener
from wan_mcp.generation.outcomes import BeforePaying, OnStage, Submitted, unasked
from wan_mcp.generation.owners import Owner
from wan_mcp.generation.polling import Poller
from wan_mcp.generation.reading import FRESH, PATIENCE, TaskReader
from wan_mcp.generation.request import Request
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.generation.sending import Means
from wan_mcp.generation.status import UNREADABLE, TaskSnapshot
from wan_mcp.generation.task_list import TaskList
from wan_mcp.generation.task_source import TaskSource
from wan_mcp.images import Picture
from wan_mcp.images.loader import ON_SIGNED
from wan_mcp.ledger import Entry, EntryStatus
from wan_mcp.videos import download

GONE = "The picture cannot be read now; this is the task of an equal request that was made before."
"""Said where an earlier request was found by its picture's place alone."""
BALANCE_SECONDS = 5.0
"""Seconds that a refusal for lack of credits waits at most for the balance."""
MIN_PATIENCE = 1.0
"""Seconds for the ledger's answer at least, even if reading the picture took all the time."""

OnProgress = Callable[[TaskSnapshot | None], Awaitable[None]]
"""Told what is known of a task that is waited for: at once, at least every ten seconds, at each change."""


async def _ignored(*progress: object) -> None:
    """Tell nobody of the progress."""


class VideoService:
    """The use cases. It is cheap to make: the runtime has what is expensive. Calls may run at the same time.

    Args:
        runtime: what all owners share.
        owner: whose tasks these are.
    """

    def __init__(self, runtime: Runtime, owner: Owner) -> None:
        settings = runtime.settings
        self.settings = settings
        self.deployment = runtime.deployment
        self._runtime = runtime
        self._evolink = runtime.evolink(owner)
        self._ledger = runtime.ledger_of(owner)
        clock, measures, changed = runtime.clock, runtime.measures, partial(runtime.changed, owner)
        has_jobs = runtime.has_jobs
        limit = runtime.rate_limit()
        self._source = TaskSource(
            self._evolink, self._ledger, clock, self.deployment, measures, limit if has_jobs else None
        )
        self._place = runtime.place_of(self._ledger)
        self._tasks = TaskReader(self._source, self._ledger, clock, changed, self._place, has_jobs)
        shared = self.deployment.operator_pays
        means = Means(self._evolink, self._ledger, clock, runtime.slots, runtime.delays, measures, shared)
        self._list = TaskList(self._ledger, self._tasks, self._place)
        self._poller = Poller(self._tasks, runtime.looks if has_jobs else limit, runtime.background)
        turn = None if self.deployment.local else runtime.keeping
        self._saver = VideoSaver(self._place, runtime.fetcher, self._ledger, self._tasks, turn)
        self.frames = FrameReader(self._saver, self._ledger, runtime.decoding, self.deployment)
        self.joiner = VideoJoiner(runtime, self._saver, self._ledger)
        pictures = runtime.pictures if self.deployment.local else runtime.pictures.of_one_caller()
        self.uploads = runtime.uploads_of(self._ledger)
        self._pictures = PictureOpener(pictures, self.frames, self._ledger, self.uploads)
        save = partial(self.save, name=None)
        save_again: SaveAgain = partial(self.save, name=None, retry=AFTER_FAILURE)
        self._follower: Follower | JobFollower
        if has_jobs:
            self._follower = JobFollower(clock, self._ledger, self._tasks, self._place, save_again)
            save_again = self._follower.saved
        else:
            self._follower = Follower(runtime, self._tasks, self._poller, self._place, save)
        self._automatic = AutomaticSaver(self.deployment, self._place, save_again)
        self._submitter = Submitter(means, settings, runtime.background, self._on_task)

    async def generate(
        self,
        request: Request,
        patience: float = math.inf,
        on_stage: OnStage = _ignored,
        before_paying: BeforePaying = unasked,
    ) -> TaskSnapshot:
        """Request a video, or find the one that was requested before.

        Cancelling the call does not cancel the request.

        Args:
            request: what to make.
            patience: seconds after which the call is answered in any case.
            on_stage: told what is being done, every few seconds.
            before_paying: called before a new request is sent for the first time.

        Raises:
            NotSent: when the request was refused here: the picture, a cap, the ledger, the settings.
            StillUnderWay: when the time was up before there was an outcome; the submission goes on.
            EvolinkError: when the API refused the request, or its outcome is not known.
        """
        deadline = anyio.current_time() + patience
        picture: Source
        notes: tuple[str, ...] = ()
        try:
            picture = await self._pictures.open(request.picture, patience) if request.picture else None
        except (PictureUnavailable, AddressRefused) as error:  # an equal request may have been paid before
            picture, notes = error, (GONE,)
        left = max(deadline - anyio.current_time(), MIN_PATIENCE)
        self._runtime.run_until_exit(self._automatic.check)
        try:
            submitted = await self._submitter.submit(request, picture, left, on_stage, before_paying)
        except OutOfCredits as error:
            estimate, balance = prices.estimate(request.duration, request.quality), await self._balance()
            raise outcomes.out_of_credits(error, estimate, balance, from_text=not request.picture) from error
        snapshot = await self._present(submitted, deadline)
        if isinstance(picture, Picture):
            is_made = snapshot.task.status == "completed"  # so Evolink has fetched the picture
            notes = tuple(note for note in picture.notes if not (is_made and note in ON_SIGNED.values()))
        return replace(snapshot, image=submitted.entry.image, notes=notes, submitted=submitted)

    async def _present(self, submitted: Submitted, deadline: float) -> TaskSnapshot:
        """The task of a request, read again if its last read was a while ago."""
        entry = submitted.entry
        assert entry.task is not None
        self._tasks.take_in(entry.task)
        age = self._runtime.clock() - (entry.known_at or 0)
        if submitted.repeated and not entry.task.is_over and age > FRESH:
            with suppress(EvolinkError), anyio.move_on_after(max(deadline - anyio.current_time(), 0)):
                return await self.get_task(entry.task.id)
        snapshot = self._tasks.snapshot(entry.task, await self._place.shown(entry))
        return await self._automatic.noted(snapshot)

    async def get_task(self, task_id: str) -> TaskSnapshot:
        """Read a task, unless it is running and was just read; if the read fails, use the ledger's state.

        Raises:
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        return await self._automatic.noted(await self._tasks.read_or_remember(task_id))

    async def current(self, task_id: str, patience: float = PATIENCE) -> TaskSnapshot:
        """A task as it is known after ``patience`` seconds at most, read only if the schedule says so.

        A task that is too new to be known to the API is pending.

        Raises:
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        return await self._tasks.current(task_id, patience)

    async def wait(self, task_id: str, seconds: float, on_progress: OnProgress) -> TaskSnapshot:
        """Wait until a task is over or the time is up; with 0 seconds, read it once.

        Raises:
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        return await counted(self._runtime.measures, self._waited(task_id, seconds, on_progress))

    async def _waited(self, task_id: str, seconds: float, on_progress: OnProgress) -> TaskSnapshot:
        async def on_poll(task: Task | None) -> None:
            await on_progress(self._tasks.snapshot(task) if task else None)

        await self._tasks.check(task_id)
        await self._tasks.learn(task_id)
        try:
            waited = await self._poller.wait(task_id, seconds, on_poll)
        except UNREADABLE as error:
            return replace(await self._tasks.awaited(task_id, error), waited=seconds)
        snapshot = self._tasks.snapshot(waited.task, await self._tasks.entry(task_id))
        if waited.task.is_over:
            return await self.saved_automatically(snapshot)
        return await self._automatic.noted(replace(snapshot, read_error=waited.read_error, waited=seconds))

    async def saved_automatically(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Save the video of a completed task if the settings say so; a failure is noted in the snapshot."""
        return await self._automatic.saved(snapshot)

    async def save(
        self, task_id: str, name: str | None, on_progress: download.OnProgress = _ignored, retry: float = 0.0
    ) -> TaskSnapshot:
        """Save the video of a finished task. Cancelling the call does not cancel the download.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or written.
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        return await self._runtime.run_to_end(lambda: self._saver.save(task_id, name, on_progress, retry))

    async def poster(self, task_id: str) -> bytes:
        """A small JPEG of the picture that was sent for a task.

        Raises:
            NoPoster: when none is kept, as for a task that was made elsewhere.
            LedgerError: when the ledger cannot be read.
        """
        return await self._runtime.posters.read(await self._ledger.find(task_id))

    async def tasks(self, status: EntryStatus | None, limit: int) -> list[Entry]:
        """The newest entries; a few of the unfinished tasks are read again first."""
        return await self._list.newest(status, limit)

    @property
    def is_busy(self) -> bool:
        """Whether a submission is under way, or a task is waited for or followed."""
        return self._submitter.is_busy or self._poller.is_busy or self._follower.is_busy

    def end_waits(self) -> None:
        """End all waits now with their normal answer, since the server is about to stop."""
        self._poller.end_waits()

    def now(self) -> float:
        """The time, in Unix seconds."""
        return self._runtime.clock()

    @property
    def digest(self) -> str | None:
        """The digest that stands for the owner in the ledger, once it is known."""
        return self._ledger.known_digest

    async def take_up(self) -> None:
        """Follow what an earlier process left unfinished or unsaved, if the settings say so."""
        if self.deployment.follows:
            await self._follower.take_up()

    async def step(self, task_id: str) -> float | None:
        """What a job does for a task: see ``JobFollower.step``."""
        assert isinstance(self._follower, JobFollower)
        return await self._follower.step(task_id)

    async def resume(self, number: int) -> None:
        """Go on with a request whose program died: see ``Submitter.resume``."""
        await self._submitter.resume(number)

    def wake(self, task_id: str) -> None:
        """End the pause of whoever waits for a task, which another program has read; empty: for any task."""
        self._poller.wake(task_id)
        if isinstance(self._follower, JobFollower):
            self._follower.wake()

    async def credits(self) -> Credits:
        """What the account and the key have left: to be told only to whoever pays."""
        return await self._evolink.credits()

    async def allowance(self) -> Allowance:
        """What this owner may still spend, where the operator pays. Nothing is read from the API.

        Raises:
            LedgerError: when the ledger cannot be read.
        """
        spent = await self._ledger.spent(self.now())
        return Allowance(spent, self.settings.daily_credits, self.settings.request_credits)

    def _on_task(self, submitted: Submitted, sent: Picture | None) -> None:
        assert submitted.entry.task is not None
        self._source.remember_own(submitted.entry.task.id)  # even if the ledger could not record it yet
        self._runtime.keep_poster(submitted.entry, sent)
        if self.deployment.follows:
            self._follower.follow(submitted.entry)
            if submitted.also_paid:  # the ledger has those tasks as unsaved
                self._runtime.run_until_exit(self._follower.take_up)

    async def _balance(self) -> Credits | None:
        if not self.deployment.operator_pays:  # else the balance is the operator's business
            with anyio.move_on_after(BALANCE_SECONDS), suppress(EvolinkError):
                return await self.credits()
        return None
