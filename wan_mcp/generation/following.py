"""Following tasks to their end and saving their videos, also when no caller waits for them."""

import itertools
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from wan_mcp.errors import LedgerError, StorageError, WanError
from wan_mcp.generation.places import VideoPlace
from wan_mcp.generation.polling import Poller
from wan_mcp.generation.reading import TaskReader
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.status import LINK_LIFE
from wan_mcp.ledger import Entry

logger = logging.getLogger(__name__)

RETRIES = (30.0, 120.0, 600.0)
"""Seconds until the next try, after the first failures to read a task or save its video; the last repeats."""
TAKE_UP_EVERY = 600.0
"""Seconds between two searches for tasks that other programs left."""
AT_ONCE = 3
"""Videos that are saved at the same time at most."""


class Follower:
    """Follows the tasks of one owner.

    Args:
        runtime: has the clock, and runs the work in the background until the program stops.
        tasks: reads the tasks.
        poller: shared with the callers that wait.
        place: where videos are saved; knows what is unfinished or unsaved.
        save: saves the video of a task; may be called again for a saved one.
    """

    def __init__(
        self,
        runtime: Runtime,
        tasks: TaskReader,
        poller: Poller,
        place: VideoPlace,
        save: Callable[[str], Awaitable[object]],
    ) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._poller = poller
        self._place = place
        self._save = save
        self._followed: set[str] = set()
        self._saving = anyio.CapacityLimiter(AT_ONCE)

    @property
    def is_busy(self) -> bool:
        """Whether any task is followed."""
        return bool(self._followed)

    async def take_up(self) -> None:
        """Follow the tasks that earlier programs left unfinished or unsaved, while their links may work."""
        try:
            entries = await self._place.unsaved(since=self._runtime.clock() - LINK_LIFE)
        except LedgerError as error:
            logger.warning("earlier tasks are not followed: %s", error)
            return
        for entry in entries:
            self.follow(entry)

    def follow(self, entry: Entry) -> None:
        """Follow a task in the background, unless nothing is left to do."""
        task = entry.task
        if task is None or task.id in self._followed or self._place.has(entry):
            return
        if task.status not in ("failed", "cancelled"):
            self._followed.add(task.id)
            self._runtime.run_until_exit(partial(self._follow, entry, task.id))

    async def _follow(self, entry: Entry, task_id: str) -> None:
        since = max(entry.asked_at, *(post.at for post in entry.posts), entry.completed_at or 0.0)
        left = since + LINK_LIFE - self._runtime.clock()
        try:
            with anyio.move_on_after(left):
                await self._keep(entry, task_id)
        except Exception:
            logger.exception("following %s failed unexpectedly", task_id)
        finally:
            self._followed.discard(task_id)

    async def _keep(self, entry: Entry, task_id: str) -> None:
        task = entry.task
        assert task is not None
        await self._tasks.learn(task_id)
        first = max(self._tasks.pause(task) - (self._runtime.clock() - (entry.known_at or 0.0)), 0.0)
        for pause in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                if not task.is_over:
                    task = await self._poller.follow(task_id, first)
                if task.status == "completed":
                    async with self._saving:
                        await self._save(task_id)
                return
            except StorageError:  # the storage logs its failure once, for all tasks
                logger.info("%s cannot be kept yet", task_id)
            except WanError as error:  # a refused key, too, may be accepted later
                logger.warning("%s cannot be saved yet: %s", task_id, error)
            await anyio.sleep(pause)
