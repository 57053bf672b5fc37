"""What is made of the videos of one owner's tasks: last frames, contact sheets and joined films."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
import anyio.to_thread

from wan_mcp.errors import LedgerError, StillUnderWay
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.ledger import Entry, OwnerLedger, Saved
from wan_mcp.videos import frames, pyav

T = TypeVar("T")


@dataclass(frozen=True)
class Preview:
    """Frames of a task's video."""

    sheet: frames.Sheet
    entry: Entry | None
    """The ledger's row of the task, where there is one."""
    path: str | None
    """The saved file, where it is there."""


class Films:
    """Reads the pixels of one owner's videos: of the saved files, else through their links.

    Args:
        saver: has the videos.
        ledger: has the rows of their tasks.
    """

    def __init__(self, saver: VideoSaver, ledger: OwnerLedger) -> None:
        self._saver = saver
        self._ledger = ledger

    async def last_frame(self, task_id: str) -> bytes:
        """The last good frame of a task's video, as a PNG file of the video's own size.

        Raises:
            SettingsError: when PyAV is not installed.
            VideoError: when there is no video, or it cannot be fetched or decoded.
            EvolinkError: when the task can neither be read nor is known.
        """
        pyav.check_installed("Continuing a video")
        return (await self._of_video(task_id, frames.last_frame))[0]

    async def preview(self, task_id: str, count: int, patience: float) -> Preview:
        """A contact sheet of so many frames of a task's video.

        Args:
            task_id: the task.
            count: how many frames.
            patience: seconds after which the call is answered in any case.

        Raises:
            StillUnderWay: when the time was up.
            SettingsError: when PyAV is not installed.
            VideoError: when there is no video, or it cannot be fetched or decoded.
            EvolinkError: when the task can neither be read nor is known.
        """
        pyav.check_installed("A preview")
        with anyio.move_on_after(patience):
            sheet, saved = await self._of_video(task_id, lambda path: frames.contact_sheet(path, count))
            entry = None
            with suppress(LedgerError):  # the frames are what counts
                entry = await self._ledger.find(task_id)
            is_kept = entry is not None and entry.saved == saved
            return Preview(sheet, entry, saved.path if is_kept else None)
        raise StillUnderWay(
            f"The video could not be fetched and decoded within {patience:g} seconds.",
            next_step=f"Call save_video with task_id {task_id}, then preview_video again.",
        )

    async def _of_video(self, task_id: str, work: Callable[[Path], T]) -> tuple[T, Saved]:
        # A thread that is given up may still have the file open.
        with TemporaryDirectory(prefix="wan-mcp-", ignore_cleanup_errors=True) as folder:
            saved = await self._saver.at_hand(task_id, Path(folder))
            return await anyio.to_thread.run_sync(work, Path(saved.path), abandon_on_cancel=True), saved
