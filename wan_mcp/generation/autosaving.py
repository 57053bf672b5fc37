"""Saving the video of a completed task without being asked, where the settings say so."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from wan_mcp.errors import InternalError, StillUnderWay, StorageError, VideoError, WanError
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.places import VideoPlace
from wan_mcp.generation.status import TaskSnapshot

logger = logging.getLogger(__name__)

SAVING_SECONDS = 8.0
"""Seconds that a wait goes on after the completion, so that the video is saved."""

SaveAgain = Callable[[str], Awaitable[TaskSnapshot]]
"""Saves the video of a task; may be called again for a saved one."""


class AutomaticSaver:
    """Saves the videos of one owner's tasks, and notes in a snapshot why it cannot.

    Args:
        deployment: tells whether videos are saved without being asked.
        place: where they go.
        save: saves the video of a task; may be called again for a saved one.
    """

    def __init__(self, deployment: Deployment, place: VideoPlace, save: SaveAgain) -> None:
        self._is_on = deployment.autosaves
        self._place = place
        self._save = save

    async def saved(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Save the video of a completed task; a failure is noted."""
        if not self._is_on or snapshot.task.status != "completed":
            return snapshot
        with anyio.move_on_after(SAVING_SECONDS):
            try:
                return await self._save(snapshot.task.id)
            except VideoError as error:  # also where storage does not have a kept video any more
                return replace(snapshot, kept=None, link=None, kept_until=None, save_error=error)
            except WanError as error:
                return replace(snapshot, save_error=error)
            except Exception:
                logger.exception("saving %s failed unexpectedly", snapshot.task.id)
                return replace(snapshot, save_error=InternalError())
        return replace(snapshot, save_error=StillUnderWay("The video is still being saved."))

    async def noted(self, snapshot: TaskSnapshot) -> TaskSnapshot:
        """Note where a video that is still to be saved could not be saved now."""
        is_left = snapshot.task.status not in ("failed", "cancelled") and snapshot.kept is None
        if not self._is_on or not is_left or snapshot.save_error is not None:
            return snapshot
        return replace(snapshot, save_error=await self._failure())

    async def check(self) -> None:
        """Check beside other work what ``noted`` will ask for, so that it does not take longer."""
        if self._is_on:
            await self._failure()

    async def _failure(self) -> StorageError | None:
        try:
            await self._place.check()
        except StorageError as error:
            return error
        return None
