"""Frames of the videos of one owner's tasks: the last one, to continue the video, and a sheet of several."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from wan_mcp.errors import LedgerError, StillUnderWay
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.ledger import Entry, OwnerLedger
from wan_mcp.videos import files, frames, pyav

T = TypeVar("T")


@dataclass(frozen=True)
class Preview:
    """Frames of a task's video."""

    sheet: frames.Sheet
    entry: Entry | None
    """The ledger's row of the task, where there is one."""
    path: Path | None
    """The saved file, where there is one."""


class FrameReader:
    """Reads frames of one owner's videos: from the saved files, else through their links.

    Args:
        saver: has the videos.
        ledger: has the rows of their tasks.
        decoding: bounds the videos that the whole process decodes at the same time.
        deployment: whether this owner is one of many, whose videos are decoded one after the other.
    """

    def __init__(
        self, saver: VideoSaver, ledger: OwnerLedger, decoding: anyio.Semaphore, deployment: Deployment
    ) -> None:
        self._saver = saver
        self._ledger = ledger
        self._decoding = decoding
        self._local = deployment.local
        self._turn = anyio.Semaphore(1)

    async def last_frame(self, task_id: str) -> bytes:
        """The last good frame of a task's video, as a PNG file of the video's size.

        Raises:
            SettingsError: when PyAV is not installed.
            VideoError: when there is no video, or it cannot be fetched or decoded.
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        await anyio.to_thread.run_sync(pyav.check_installed, "Continuing a video")
        return (await self._of_video(task_id, frames.last_frame))[0]

    async def preview(self, task_id: str, count: int, patience: float) -> Preview:
        """A contact sheet of frames of a task's video.

        Args:
            task_id: the task.
            count: how many frames.
            patience: seconds after which the call is answered in any case.

        Raises:
            StillUnderWay: when the time is up.
            SettingsError: when PyAV is not installed.
            VideoError: when there is no video, or it cannot be fetched or decoded.
            EvolinkError: when the task cannot be read, and the ledger does not have it.
        """
        await anyio.to_thread.run_sync(pyav.check_installed, "A preview")
        with anyio.move_on_after(patience):
            sheet, saved = await self._of_video(task_id, lambda path: frames.contact_sheet(path, count))
            entry = None
            with suppress(LedgerError):  # the frames matter more
                entry = await self._ledger.find(task_id)
                entry = entry and await self._saver.place.shown(entry)
            return Preview(sheet, entry, saved)
        raise StillUnderWay(
            f"The video could not be fetched and decoded within {patience:g} seconds.",
            next_step=f"Call save_video with task_id {task_id}, then preview_video again.",
        )

    async def _of_video(self, task_id: str, work: Callable[[Path], T]) -> tuple[T, Path | None]:
        """What ``work`` makes of a task's video, and the saved file, unless it had to be downloaded."""
        with files.temporary_folder() as folder:
            path = await self._saver.local_file(task_id, folder)
            async with nullcontext() if self._local else self._turn, self._decoding:
                # Among many owners, one who leaves must not leave a thread behind that does not count.
                made = await anyio.to_thread.run_sync(work, path, abandon_on_cancel=self._local)
            return made, None if path.parent == folder else path
