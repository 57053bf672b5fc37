"""Joining the videos of several tasks into one file, in the background."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from wan_mcp.errors import InternalError, LedgerError, StillUnderWay, VideoError, WanError
from wan_mcp.generation import outcomes
from wan_mcp.generation.places import Found
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.ledger import OwnerLedger, Saved
from wan_mcp.videos import filenames, files, formats, pyav
from wan_mcp.videos.join import Joined
from wan_mcp.videos.join import join as join_files

logger = logging.getLogger(__name__)

HEARTBEAT = 1.0
"""Seconds between two notifications to a caller."""
MAX_UNDER_WAY = 5
"""Joins of one owner that are asked for and not made yet, at most."""
MAX_JOBS = 20
"""Joins whose results are kept at most, for callers that were told to call again."""

OnShare = Callable[[float], Awaitable[None]]
"""Told how much of a film is done, from 0 to 1."""


@dataclass(frozen=True)
class Film:
    """A file in which the videos of several tasks follow one another."""

    found: Found
    task_ids: tuple[str, ...]
    lossless: bool
    """Whether the pictures were copied, not re-encoded."""
    remarks: tuple[str, ...]
    """What is unusual about the parts, in sentences."""


class _Job:
    """One join under way."""

    def __init__(self) -> None:
        self.share = 0.0
        self.film: Film | None = None
        self.error: WanError | None = None
        self.done = anyio.Event()
        self.is_stopped = False
        """Read by the thread, which cannot be cancelled."""

    def progress(self, share: float) -> None:
        self.share = share


class VideoJoiner:
    """Joins the videos of one owner's tasks.

    Args:
        runtime: where the work runs.
        saver: has the videos.
        ledger: has the prompts, after which files are named.
    """

    def __init__(self, runtime: Runtime, saver: VideoSaver, ledger: OwnerLedger) -> None:
        self._runtime = runtime
        self._saver = saver
        self._place = saver.place
        self._ledger = ledger
        self._jobs: dict[tuple[str | None, ...], _Job] = {}
        self._one_at_a_time = anyio.Lock()

    async def join(
        self, task_ids: Sequence[str], name: str | None, patience: float, on_share: OnShare
    ) -> Film:
        """Join the videos of tasks, in this order. Cancelling the call does not cancel the join.

        Args:
            task_ids: the tasks; one may be there several times.
            name: what to call the file; None: the words of the first task's prompt.
            patience: seconds after which the call is answered in any case.
            on_share: told how much is done.

        Raises:
            StillUnderWay: when the time is up; an equal call goes on waiting.
            SettingsError: when PyAV is not installed.
            VideoError: when a part has no video, or the film cannot be made or written.
        """
        await anyio.to_thread.run_sync(pyav.check_installed, "Joining videos")
        key = (name, *task_ids)
        if key not in self._jobs:
            if sum(not job.done.is_set() for job in self._jobs.values()) >= MAX_UNDER_WAY:
                raise StillUnderWay(
                    f"{MAX_UNDER_WAY} other joins are under way.",
                    next_step=f"{outcomes.SAME_CALL.format(tool='join_videos')} in a minute.",
                )
            if len(self._jobs) >= MAX_JOBS:
                self._jobs = {key: job for key, job in self._jobs.items() if not job.done.is_set()}
            job = self._jobs[key] = _Job()
            self._runtime.run_until_exit(partial(self._run, job, tuple(task_ids), name))
        job = self._jobs[key]
        with anyio.move_on_after(patience):
            while not job.done.is_set():
                await on_share(job.share)
                with anyio.move_on_after(HEARTBEAT):
                    await job.done.wait()
        if not job.done.is_set():
            raise StillUnderWay(
                f"The videos are still being joined: {100 * job.share:.0f} % is done.",
                next_step=f"{outcomes.SAME_CALL.format(tool='join_videos')}: the join goes on meanwhile.",
            )
        self._jobs.pop(key, None)  # another caller may have removed it already
        if job.error is not None:
            raise job.error.with_traceback(None)
        if job.film is None:
            raise outcomes.stopped(sent=False)
        return job.film

    async def _run(self, job: _Job, task_ids: tuple[str, ...], name: str | None) -> None:
        try:
            async with self._one_at_a_time:
                job.film = await self._joined(job, task_ids, name)
        except WanError as error:
            job.error = error
        except Exception:
            logger.exception("joining videos failed unexpectedly")
            job.error = InternalError()
        finally:
            job.is_stopped = True
            job.done.set()

    async def _joined(self, job: _Job, task_ids: tuple[str, ...], name: str | None) -> Film:
        stem = filenames.safe_stem(name or await self._default_name(task_ids[0]))
        with files.temporary_folder() as folder:
            paths = await self._parts(task_ids, folder)
            await self._place.check()
            with self._place.staging() as staging:
                partial = files.partial_path(staging)
                try:
                    joined, saved = await anyio.to_thread.run_sync(
                        self._make, job, paths, partial, stem, abandon_on_cancel=True
                    )
                finally:
                    job.is_stopped = True
                    _remove(partial)  # an abandoned thread may end before it does this
                found = await self._place.add(saved, film=True)
        return Film(found, task_ids, joined.lossless, joined.remarks)

    async def _parts(self, task_ids: tuple[str, ...], folder: Path) -> list[Path]:
        """The files of all parts, in order; one error names all parts that have no video."""
        found: dict[str, Path] = {}
        missing: dict[str, WanError] = {}
        for task_id in dict.fromkeys(task_ids):
            try:
                found[task_id] = await self._saver.local_file(task_id, folder)
            except LedgerError:
                raise
            except WanError as error:
                missing[task_id] = error
        if missing:
            said = " ".join(f"{task_id}: {error.message}" for task_id, error in missing.items())
            steps = dict.fromkeys(error.next_step for error in missing.values() if error.next_step)
            raise VideoError(
                f"Nothing was joined. {said}", next_step=" ".join(steps), task_id=next(iter(missing))
            )
        return [found[task_id] for task_id in task_ids]

    def _make(self, job: _Job, paths: list[Path], partial: Path, stem: str) -> tuple[Joined, Saved]:
        folder = partial.parent
        with files.disk_errors(folder):
            files.prepare(folder)
            try:
                joined = join_files(paths, partial, job.progress, lambda: job.is_stopped)
                with partial.open("rb") as file:
                    video = formats.examine(file)
                assert video is not None, "a film that was just written is whole"
                return joined, files.keep(partial, video, folder, stem)
            finally:
                _remove(partial)

    async def _default_name(self, task_id: str) -> str:
        entry = await self._ledger.find(task_id)
        return f"{filenames.of_prompt(entry.prompt if entry else '') or task_id}-joined"


def _remove(partial: Path) -> None:
    with suppress(OSError):  # on Windows, while the thread has it open; the thread removes it then
        partial.unlink(missing_ok=True)
