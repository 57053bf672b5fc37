"""Saving a task's video: the file that was saved before, or a download while the link lives."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import httpx2

from wan_mcp.errors import EvolinkError, LedgerError, LinkDead, VideoError
from wan_mcp.generation import outcomes
from wan_mcp.generation.status import TaskReader, TaskSnapshot
from wan_mcp.ledger import OwnerLedger, Saved
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.videos import download, files


class VideoSaver:
    """Saves the videos of one owner's tasks into one folder.

    Args:
        folder: where videos go.
        fetcher: opens their links.
        ledger: the owner's; remembers where the videos are.
        tasks: reads the owner's tasks.
    """

    def __init__(self, folder: Path, fetcher: PublicFetcher, ledger: OwnerLedger, tasks: TaskReader) -> None:
        self._folder = folder
        self._fetcher = fetcher
        self._ledger = ledger
        self._tasks = tasks
        self._under_way: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def save(self, task_id: str, name: str | None, on_progress: download.OnProgress) -> TaskSnapshot:
        """Save the video of a task; if it was saved before, the answer names that file.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or written.
            EvolinkError: when the task can neither be read nor is known.
        """
        lock = self._under_way.setdefault(task_id, anyio.Lock())
        async with lock:
            return await self._save(task_id, name, on_progress)

    async def _save(self, task_id: str, name: str | None, on_progress: download.OnProgress) -> TaskSnapshot:
        snapshot = await self._tasks.read_or_remember(task_id)
        entry = await self._tasks.entry(task_id)  # read again: another process may just have saved it
        known = entry.saved if entry else None
        if known is not None and await files.digest_of(Path(known.path)) == known.sha256:
            return replace(snapshot, saved=known)
        link = _link(snapshot)
        stem = name or (f"{task_id}-take-{entry.take}" if entry and entry.take > 1 else task_id)
        try:
            try:
                saved = await self._download(link, stem, on_progress)
            except LinkDead as dead:
                snapshot, link = await self._other_link(task_id, link, dead)
                saved = await self._download(link, stem, on_progress)
        except LinkDead as dead:
            raise _with_advice(snapshot, dead) from dead
        with suppress(LedgerError):  # the file is there, which is what counts
            await self._ledger.mark_saved(task_id, saved)
        return replace(snapshot, saved=saved)

    async def _download(self, link: str, name: str, on_progress: download.OnProgress) -> Saved:
        return await download.save(link, self._folder, name, self._stream, on_progress)

    def _stream(self, link: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[httpx2.Response]:
        return self._fetcher.stream(link, headers=headers, deadline=download.MAX_SECONDS)

    async def _other_link(self, task_id: str, link: str, dead: LinkDead) -> tuple[TaskSnapshot, str]:
        """Ask once more whether there is another link."""
        try:
            snapshot = await self._tasks.read_or_remember(task_id)
            other = _link(snapshot)
        except (EvolinkError, VideoError):
            raise dead from None
        if other == link:
            raise dead
        return snapshot, other


def _link(snapshot: TaskSnapshot) -> str:
    task = snapshot.task
    if task.status == "completed" and task.results:
        return task.results[0]
    if task.status in ("failed", "cancelled"):
        raise VideoError(f"The task {task.status}, so there is no video.", task_id=task.id)
    raise VideoError(
        f"There is no video yet: the task is {task.status}.",
        next_step=f"Call wait_for_task with task_id {task.id} first.",
        task_id=task.id,
    )


def _with_advice(snapshot: TaskSnapshot, dead: LinkDead) -> LinkDead:
    """Suggest paying again only once the link has expired: before that, the host may only be down."""
    advice = f"The video is gone; {outcomes.another_take(snapshot.entry)}"
    if snapshot.link_life is not None and snapshot.link_life > 0:
        advice = "It should still work: call save_video again in a few minutes."
    return LinkDead(dead.message, next_step=advice, task_id=snapshot.task.id)
