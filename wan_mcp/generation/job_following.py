"""Following tasks by jobs of the ledger's database, which outlive the process that made them."""

import logging
from collections.abc import Callable

import anyio

from wan_mcp.errors import LedgerError
from wan_mcp.generation.autosaving import SaveAgain
from wan_mcp.generation.places import VideoPlace
from wan_mcp.generation.reading import OVERDUE, TaskReader
from wan_mcp.generation.status import LINK_LIFE, PASSING, TaskSnapshot
from wan_mcp.ledger import Entry, OwnerLedger

logger = logging.getLogger(__name__)

SOON = 1.0
"""Seconds before a read is due from which it is made."""
RECORD_AGAIN = 30.0
"""Seconds until a video is saved again whose place could not be recorded."""
LOOK_EVERY = 2.0
"""Seconds between two looks whether a job has saved a video, in case the notice of it was lost."""


class JobFollower:
    """Follows the tasks of one owner: the steps of their jobs, on whichever server works on them.

    Args:
        clock: the time, in Unix seconds.
        ledger: the owner's; it has a job for each task.
        tasks: reads the tasks.
        place: where videos are saved; knows what is unfinished or unsaved.
        save: saves the video of a task; may be called again for a saved one.
    """

    is_busy = False

    def __init__(
        self,
        clock: Callable[[], float],
        ledger: OwnerLedger,
        tasks: TaskReader,
        place: VideoPlace,
        save: SaveAgain,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._tasks = tasks
        self._place = place
        self._save = save
        self._changed = anyio.Event()

    def wake(self) -> None:
        """Look at once, in ``saved``, whether a video has been saved."""
        self._changed.set()
        self._changed = anyio.Event()

    def follow(self, entry: Entry) -> None:
        """The job was made together with the record of the answer."""

    async def take_up(self) -> None:
        """Make sure that each task has a job which is unfinished or unsaved, and whose links may work."""
        try:
            for entry in await self._place.unsaved(since=self._clock() - LINK_LIFE):
                if entry.task is not None:
                    await self._ledger.ensure_followed(entry.task.id)
        except LedgerError as error:
            logger.warning("earlier tasks are not followed: %s", error)

    async def step(self, task_id: str) -> float | None:
        """Read a task if a read is due, and save its video once it is completed.

        Returns:
            Seconds until the next step; None when nothing is left to do.

        Raises:
            WanError: when the step has to be tried again later.
        """
        entry = await self._ledger.find(task_id)
        task = entry.task if entry else None
        if entry is None or task is None or self._place.has(entry) or self._is_too_late(entry):
            return None
        if not task.is_over:
            await self._tasks.learn(task_id)
            age = max(self._clock() - (entry.known_at or 0.0), 0.0)
            due = self._tasks.pause(task, age) - age
            if due > SOON:
                return due
            try:
                task = (await self._tasks.read(task_id)).task
            except PASSING as error:
                pause = self._tasks.pause_after_failure(task_id)
                logger.info("reading %s failed (%s); again in %.0f s", task_id, error, pause)
                return pause
            if not task.is_over:
                return self._tasks.pause(task)
        if task.status == "completed":
            await self._save(task_id)
            entry = await self._ledger.find(task_id)
            if entry is not None and not self._place.has(entry):  # the ledger could not be written
                return RECORD_AGAIN
        return None

    async def saved(self, task_id: str) -> TaskSnapshot:
        """Wait until the job of a completed task has saved its video; save it here where the job does not.

        Raises:
            WanError: when it cannot be saved.
        """
        while True:
            changed = self._changed
            await self._place.check()
            entry = await self._tasks.entry(task_id)
            if entry is not None and entry.task is not None and self._place.has(entry):
                return self._tasks.snapshot(entry.task, entry)
            if entry is not None and self._clock() > (entry.completed_at or 0.0) + OVERDUE:
                return await self._save(task_id)  # also to tell why it fails
            with anyio.move_on_after(LOOK_EVERY):
                await changed.wait()

    def _is_too_late(self, entry: Entry) -> bool:
        since = max(entry.asked_at, *(post.at for post in entry.posts), entry.completed_at or 0.0)
        return self._clock() > since + LINK_LIFE
