"""Keeping a task's video: found again if it was saved before, else fetched while its link lives."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import anyio

from wan_mcp.errors import EvolinkError, LedgerError, LinkDead, VideoError
from wan_mcp.generation.snapshot import Report
from wan_mcp.generation.status import Owner
from wan_mcp.ledger import Ledger, Saved
from wan_mcp.videos import download

Look = Callable[[str], Awaitable[Report]]


class Keeper:
    """Saves the videos of one owner's tasks into one folder.

    Args:
        folder: where videos go.
        stream: opens their links.
        ledger: remembers where they are.
        owner: whose tasks these are.
        look: reads a task.
    """

    def __init__(
        self, folder: Path, stream: download.Stream, ledger: Ledger, owner: Owner, look: Look
    ) -> None:
        self._folder = folder
        self._stream = stream
        self._ledger = ledger
        self._owner = owner
        self._look = look
        self._under_way: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def save(self, task_id: str, name: str | None, notice: download.Notice) -> Report:
        """Save the video of a task; saved before, it is the file that there is.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or put on the disk.
            EvolinkError: when the task cannot be read.
        """
        lock = self._under_way.setdefault(task_id, anyio.Lock())
        async with lock:
            return await self._save(task_id, name, notice)

    async def _save(self, task_id: str, name: str | None, notice: download.Notice) -> Report:
        report = await self._look(task_id)
        known = await self._known(task_id)
        if known is not None and await download.digest_of(Path(known.path)) == known.sha256:
            return replace(report, saved=known)
        link = _link(report)
        wanted = name or task_id
        try:
            try:
                saved = await download.save(link, self._folder, wanted, self._stream, notice)
            except LinkDead as dead:
                report, link = await self._fresh(task_id, link, dead)
                saved = await download.save(link, self._folder, wanted, self._stream, notice)
        except LinkDead as dead:
            raise _lost(report, dead) from dead
        await self._record(task_id, saved)
        return replace(report, saved=saved)

    async def _fresh(self, task_id: str, dead_link: str, dead: LinkDead) -> tuple[Report, str]:
        """Ask once more whether there is another link."""
        try:
            report = await self._look(task_id)
            link = _link(report)
        except (EvolinkError, VideoError):
            raise dead from None
        if link == dead_link:
            raise dead
        return report, link

    async def _known(self, task_id: str) -> Saved | None:
        """Where the video is, also if another process has just saved it."""
        with suppress(LedgerError):
            entry = await self._ledger.find(await self._owner(), task_id)
            return entry.saved if entry else None
        return None

    async def _record(self, task_id: str, saved: Saved) -> None:
        try:
            await self._ledger.saved(await self._owner(), task_id, saved)
        except LedgerError:  # the file is there, which is what counts
            return


def _link(report: Report) -> str:
    task = report.task
    if task.status == "completed" and task.results:
        return task.results[0]
    if task.status in ("failed", "cancelled"):
        raise VideoError(f"The task {task.status}, so there is no video.", task_id=task.id)
    raise VideoError(
        f"There is no video yet: the task is {task.status}.",
        next_step=f"Call wait_for_task with task_id {task.id} first.",
        task_id=task.id,
    )


def _lost(report: Report, dead: LinkDead) -> LinkDead:
    """What to do about a dead link. Nobody is sent to pay again while it may only be resting."""
    if report.link_life is not None and report.link_life > 0:
        later = "It should still work: call save_video again in a few minutes."
        return LinkDead(dead.message, next_step=later, task_id=report.task.id)
    new = "The video cannot be fetched any more; generate_video with new_take makes a new one."
    return LinkDead(dead.message, next_step=new, task_id=report.task.id)
