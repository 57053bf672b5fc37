"""Saving a task's video: the file that was saved before, or a download while a link works."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import httpx2

from wan_mcp.errors import EvolinkError, LedgerError, LinkDead, LinkFailed, StorageError, VideoError, WanError
from wan_mcp.generation import outcomes
from wan_mcp.generation.last_reads import Known
from wan_mcp.generation.places import Found, VideoPlace
from wan_mcp.generation.reading import FRESH, TaskReader
from wan_mcp.generation.status import NO_LINK_YET, UNREADABLE, TaskSnapshot
from wan_mcp.ledger import Entry, OwnerLedger, Saved
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.videos import download, filenames

AT_ONCE = 3
"""Videos of one owner that are fetched at the same time at most, where there are many owners."""
MAX_FAILURES = 100
"""Videos whose failure to be saved is remembered, at most."""

Turn = AbstractAsyncContextManager[object]


class VideoSaver:
    """Saves the videos of one owner's tasks.

    Args:
        place: where videos go.
        fetcher: opens their links.
        ledger: the owner's; has the tasks' rows.
        tasks: reads the owner's tasks.
        turn: bounds the videos that the whole process fetches at the same time; None: there is no bound,
            since there is one owner.
    """

    def __init__(
        self,
        place: VideoPlace,
        fetcher: PublicFetcher,
        ledger: OwnerLedger,
        tasks: TaskReader,
        turn: anyio.CapacityLimiter | None = None,
    ) -> None:
        self.place = place
        self._fetcher = fetcher
        self._ledger = ledger
        self._tasks = tasks
        self._turn: Turn = turn or nullcontext()
        self._own_turn: Turn = anyio.CapacityLimiter(AT_ONCE) if turn else nullcontext()
        self._under_way: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._failures: dict[str, tuple[float, WanError]] = {}

    async def save(
        self, task_id: str, name: str | None, on_progress: download.OnProgress, retry: float = 0.0
    ) -> TaskSnapshot:
        """Save the video of a task; one that was saved before is not downloaded again.

        Args:
            task_id: the task.
            name: what to call the file; a video that was saved before gets this name too. None: the name
                that it has, or the words of its prompt.
            on_progress: told how much is downloaded.
            retry: seconds after a failure in which its error is raised again, instead of another try.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or written.
            StorageError: when the storage fails.
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        await self._tasks.check(task_id)
        async with self._alone_with(task_id):
            at, failure = self._failures.get(task_id, (0.0, None))
            if failure is not None and anyio.current_time() - at < retry:
                raise failure.with_traceback(None)
            self._failures.pop(task_id, None)
            try:
                return await self._save(task_id, name, on_progress)
            except (VideoError, StorageError) as error:
                if len(self._failures) >= MAX_FAILURES:
                    self._failures.clear()
                self._failures[task_id] = anyio.current_time(), error
                raise

    async def local_file(self, task_id: str, folder: Path) -> Path:
        """The video of a task as a file on this machine: the saved file, or a download that is not recorded.

        Args:
            task_id: the task.
            folder: where a download goes.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or written.
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        await self._tasks.check(task_id)
        entry = None
        async with self._alone_with(task_id):
            with suppress(LedgerError):
                entry = await self._ledger.find(task_id)
            try:
                path = await self.place.local_file(entry, folder) if entry else None
            except StorageError as error:
                return await self._downloaded(task_id, folder, error)
            return path or await self._downloaded(task_id, folder)

    async def _downloaded(self, task_id: str, folder: Path, because: StorageError | None = None) -> Path:
        """A video from its link; where it is kept but the link is dead, ``because`` tells what failed."""
        snapshot = await self._current(task_id)
        try:
            _, downloaded = await self._download(snapshot, folder, task_id, _ignored)
        except LinkFailed as error:
            raise because or error from error
        return Path(downloaded.path)

    @asynccontextmanager
    async def _alone_with(self, task_id: str) -> AsyncIterator[None]:
        """Let one call at a time work on a task's video, of all processes."""
        lock = self._under_way.setdefault(task_id, anyio.Lock())
        async with lock, self.place.alone_with(task_id):
            yield

    async def _current(self, task_id: str) -> TaskSnapshot:
        try:
            return (await self._tasks.poll(task_id, FRESH, _has_video))[0]
        except EvolinkError as error:  # a known link works without the API
            snapshot = await self._tasks.remembered(task_id, error)
            if not snapshot.task.is_over and not isinstance(error, UNREADABLE):
                raise
            return snapshot

    async def _save(self, task_id: str, name: str | None, on_progress: download.OnProgress) -> TaskSnapshot:
        snapshot = await self._current(task_id)
        entry = None
        with suppress(LedgerError):  # read again: another process may just have saved it
            entry = await self._ledger.find(task_id)
        stem = filenames.safe_stem(name or _default_name(task_id, entry))
        found = await self.place.find(entry, stem, is_asked=bool(name)) if entry else None
        if found is None:
            try:
                snapshot, found = await self._fetched(snapshot, stem, on_progress)
            except LinkFailed as error:  # nobody should pay again for a video that may come back
                raise (self.place.loss(entry) if entry else None) or error from error
        if entry is None or found.file not in (entry.saved, entry.kept):
            with suppress(LedgerError):  # the file matters more
                await self.place.record(task_id, found)
        return replace(
            snapshot, saved=found.saved, kept=found.kept, link=found.link, kept_until=found.kept_until
        )

    async def _fetched(
        self, snapshot: TaskSnapshot, stem: str, on_progress: download.OnProgress
    ) -> tuple[TaskSnapshot, Found]:
        """Download a video, and add it to its place."""
        _links(snapshot)  # there is a video
        async with self._own_turn, self._turn:
            await self.place.check()  # else the download would be for nothing
            with self.place.staging() as folder:
                snapshot, saved = await self._download(snapshot, folder, stem, on_progress)
                return snapshot, await self.place.add(saved, task_id=snapshot.task.id)

    async def _download(
        self, snapshot: TaskSnapshot, folder: Path, stem: str, on_progress: download.OnProgress
    ) -> tuple[TaskSnapshot, Saved]:
        """Try each link of the task, then read the task again and try new links."""
        failures: dict[str, LinkFailed] = {}
        most = 0

        async def rising(received: int, length: int | None) -> None:
            nonlocal most
            if received > most:
                most = received
                await on_progress(received, length)

        for is_fresh in (False, True):
            for link in _links(snapshot):
                if link not in failures:
                    try:
                        saved = await download.save(link, folder, stem, self._stream, rising)
                    except LinkFailed as error:
                        failures[link] = error
                    else:
                        return snapshot, saved
            if not is_fresh:
                with suppress(EvolinkError, VideoError):
                    again = await self._tasks.read_or_remember(snapshot.task.id)
                    if _links(again):
                        snapshot = again
        raise _failed(snapshot, list(failures.values()))

    def _stream(self, link: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[httpx2.Response]:
        return self._fetcher.stream(link, headers=headers, deadline=download.MAX_SECONDS)


async def _ignored(received: int, length: int | None) -> None:
    """Tell nobody of the progress."""


def _has_video(known: Known) -> bool:
    return known.task.has_video


def _default_name(task_id: str, entry: Entry | None) -> str:
    if entry is None:
        return task_id
    return filenames.with_take(filenames.of_prompt(entry.prompt) or task_id, entry.take)


def _links(snapshot: TaskSnapshot) -> tuple[str, ...]:
    task = snapshot.task
    if task.status == "completed" and task.results:
        return task.results
    if task.status in ("failed", "cancelled"):
        raise VideoError(
            f"The task {'failed' if task.status == 'failed' else 'was cancelled'}, so there is no video.",
            next_step=f"Call get_task with task_id {task.id}: it says why, and what to do next.",
            task_id=task.id,
        )
    state = NO_LINK_YET if task.status == "completed" else f"the task is {task.status}"
    raise VideoError(
        f"There is no video yet: {state}.",
        next_step=f"Call wait_for_task with task_id {task.id} first.",
        task_id=task.id,
    )


def _failed(snapshot: TaskSnapshot, failures: list[LinkFailed]) -> LinkFailed:
    """One error for all links. Suggest paying again only once they have expired: a host may only be down."""
    is_dead = all(isinstance(failure, LinkDead) for failure in failures)
    life = snapshot.link_life
    advice = f"The video is gone; {outcomes.another_take(snapshot.entry)}"
    if life is not None and life > 0:
        advice = "The link should still work: try again in a few minutes."
    elif life is None and not is_dead:
        advice = "Try again later."
    # Once the links have expired, another attempt does not help.
    steps = [] if snapshot.has_expired else [failure.next_step for failure in failures]
    said = " ".join(dict.fromkeys(failure.message for failure in failures))
    if len(failures) > 1:
        said = f"None of the {len(failures)} links gave the video. {said}"
    return (LinkDead if is_dead else LinkFailed)(
        said,
        next_step=next(filter(None, steps), advice),
        task_id=snapshot.task.id,
    )
