"""The use cases of one owner: request a video, get its task, wait for it, list and save. Free of MCP."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
from pydantic import SecretStr

from wan_mcp.errors import EvolinkError, InternalError, WanError
from wan_mcp.evolink import Credits, Evolink, Task
from wan_mcp.generation.polling import Poller
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.generation.status import UNREADABLE, TaskReader, TaskSnapshot
from wan_mcp.generation.submission import Submitter
from wan_mcp.images import Picture
from wan_mcp.ledger import Entry, EntryStatus
from wan_mcp.videos import download

logger = logging.getLogger(__name__)

MAX_REFRESHED = 5
"""Unfinished tasks that one listing reads again at most."""
REFRESH_SECONDS = 8.0
"""How long a listing waits for such a read."""
SAVING_SECONDS = 8.0
"""How long a wait that saw the completion goes on for the video to be saved."""

OnProgress = Callable[[TaskSnapshot | None], Awaitable[None]]
"""Told what is known of a task that is waited for: at once, at least every ten seconds, at each change."""


async def _unreported(received: int, length: int | None) -> None:
    """Progress that nobody is told of."""


class VideoService:
    """Cheap to make: whatever is expensive belongs to the runtime. Calls may run at the same time.

    Args:
        runtime: what all owners share.
        key: the Evolink API key, whose tasks these are.
    """

    def __init__(self, runtime: Runtime, key: SecretStr) -> None:
        settings = runtime.settings
        self.settings = settings
        self._runtime = runtime
        self._evolink = Evolink(
            key, runtime.connections, base_url=settings.base_url, files_url=settings.files_url
        )
        self._ledger = runtime.ledger.for_owner(settings.base_url, key.get_secret_value())
        self._tasks = TaskReader(self._evolink, self._ledger, runtime.clock, runtime.changed)
        self._submitter = Submitter(self._evolink, self._ledger, settings, runtime.clock)
        self._poller = Poller(self._tasks, runtime.rate_limit, runtime.background)
        self._saver = VideoSaver(settings.output_dir, runtime.fetcher, self._ledger, self._tasks)

    async def generate(self, request: GenerationRequest) -> TaskSnapshot:
        """Request a video, or find the one that was requested before.

        Cancelling the call does not cancel the request.

        Raises:
            NotSent: when it was refused here: the picture, the cap, the ledger, the settings.
            EvolinkError: when the API refused it, or its outcome is not known.
        """
        picture = await self._runtime.pictures.open(request.image_urls[0])
        return await self._runtime.run_to_end(lambda: self._submit(request, picture))

    async def get_task(self, task_id: str) -> TaskSnapshot:
        """Read a task once; where it cannot be read, answer what the ledger knows of it.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        return await self._tasks.read_or_remember(task_id)

    async def wait(self, task_id: str, seconds: float, on_progress: OnProgress) -> TaskSnapshot:
        """Wait until a task is over or the time is up; 0 seconds read once.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """

        async def on_poll(task: Task | None) -> None:
            await on_progress(self._tasks.snapshot(task) if task else None)

        await self._tasks.learn(task_id)
        try:
            waited = await self._poller.wait(task_id, seconds, on_poll)
        except UNREADABLE as error:
            return replace(await self._tasks.awaited(task_id, error), waited=seconds)
        snapshot = self._tasks.snapshot(waited.task, await self._tasks.entry(task_id))
        if waited.task.is_over:
            return await self._saved_automatically(snapshot)
        return replace(snapshot, read_error=waited.read_error, waited=seconds)

    async def save(
        self, task_id: str, name: str | None, on_progress: download.OnProgress = _unreported
    ) -> TaskSnapshot:
        """Save the video of a finished task. Cancelling the call does not cancel the download.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or written.
            EvolinkError: when the task can neither be read nor is known.
        """
        return await self._runtime.run_to_end(lambda: self._saver.save(task_id, name, on_progress))

    async def tasks(self, status: EntryStatus | None, limit: int) -> list[Entry]:
        """The newest entries; those that are not over are read again, up to a bound."""
        entries = await self._ledger.entries(status=status, limit=limit)
        running = [entry.task.id for entry in entries if entry.task and not entry.task.is_over]
        if not running:
            return entries
        async with anyio.create_task_group() as group:
            for task_id in running[:MAX_REFRESHED]:
                group.start_soon(self._refresh, task_id)
        return await self._ledger.entries(status=status, limit=limit)

    async def credits(self) -> Credits:
        """What the account and the key have left."""
        return await self._evolink.credits()

    async def _submit(self, request: GenerationRequest, picture: Picture) -> TaskSnapshot:
        submitted = await self._submitter.submit(request, picture)
        assert submitted.entry.task is not None
        snapshot = self._tasks.snapshot(submitted.entry.task, submitted.entry)
        if submitted.repeated and not snapshot.task.is_over:
            with suppress(EvolinkError):
                snapshot = await self.get_task(snapshot.task.id)
        return replace(snapshot, picture=picture, repeated=submitted.repeated)

    async def _saved_automatically(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Save a finished video where the settings say so; a failure of that is no failure of the task."""
        if not self.settings.autosave or snapshot.task.status != "completed":
            return snapshot
        with anyio.move_on_after(SAVING_SECONDS):
            try:
                return await self.save(snapshot.task.id, None)
            except WanError as error:
                return replace(snapshot, save_error=error)
            except Exception:
                logger.exception("saving %s failed unexpectedly", snapshot.task.id)
                return replace(snapshot, save_error=InternalError())
        slow = WanError("The video is still being saved.", next_step="Call save_video to see where it is.")
        return replace(snapshot, save_error=slow)

    async def _refresh(self, task_id: str) -> None:
        with anyio.move_on_after(REFRESH_SECONDS), suppress(EvolinkError):
            await self._tasks.read(task_id)


class Services:
    """The services of the owners that a program serves: for now the one whose key the settings hold.

    Args:
        runtime: what they share.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._own: VideoService | None = None

    def own(self) -> VideoService:
        """The service of the key that the settings hold.

        Raises:
            SettingsError: when there is no key, or the settings cannot be used.
        """
        if self._own is None:
            self._own = VideoService(self._runtime, self._runtime.settings.require_key())
        return self._own
