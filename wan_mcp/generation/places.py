"""Where the videos of an owner's tasks go: a folder of the user's machine, or a hosted server's storage."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from wan_mcp.errors import StorageError
from wan_mcp.generation.status import on_this_disk
from wan_mcp.ledger import Entry, Kept, OwnerLedger, Saved, SignedLink
from wan_mcp.videos import files
from wan_mcp.videos.task_lock import task_lock


@dataclass(frozen=True)
class Found:
    """Where a video is: a saved file, or a kept object with a link to it."""

    saved: Saved | None = None
    kept: Kept | None = None
    link: SignedLink | None = None
    kept_until: float | None = None
    """In Unix seconds."""

    @property
    def file(self) -> Saved | Kept:
        """What is known of the file itself."""
        file = self.saved or self.kept
        assert file is not None
        return file


class VideoPlace(Protocol):
    """Where the videos of one owner's tasks are saved."""

    @property
    def has_files(self) -> bool:
        """Whether the owner gets the videos as files."""
        ...

    def has(self, entry: Entry) -> bool:
        """Whether a row says that its video is saved here."""
        ...

    async def check(self) -> None:
        """Check, within a second, that a video can be saved now.

        Raises:
            StorageError: when it cannot.
        """
        ...

    async def shown(self, entry: Entry) -> Entry:
        """A row as its owner may see it: with the video as far as it is here."""
        ...

    async def unsaved(self, *, since: float) -> list[Entry]:
        """The requests that are unfinished, or completed and not saved here: see ``OwnerLedger.unsaved``."""
        ...

    def alone_with(self, task_id: str) -> AbstractAsyncContextManager[None]:
        """Keep other processes from working on a task's video."""
        ...

    async def find(self, entry: Entry, stem: str, *, is_asked: bool) -> Found | None:
        """The video that was saved before; None where it is gone.

        Args:
            entry: its row.
            stem: the name that a file is to have.
            is_asked: whether the caller asked for that name; then a file gets it too.
        """
        ...

    def loss(self, entry: Entry) -> StorageError | None:
        """Why a video that was not found may come back; None where it does not."""
        ...

    def staging(self) -> AbstractContextManager[Path]:
        """A folder for new files until they are added; files that are not added may be removed."""
        ...

    async def add(self, saved: Saved, *, film: bool = False, task_id: str = "") -> Found:
        """Add a whole file that is in the folder for new files.

        Args:
            saved: the file.
            film: whether it is a film of several tasks' videos, rather than the video of a task.
            task_id: the task.
        """
        ...

    async def record(self, task_id: str, found: Found) -> None:
        """Record in the ledger where a task's video is."""
        ...

    async def local_file(self, entry: Entry, folder: Path) -> Path | None:
        """The saved video as a file on this machine, for a short time; None where it is not saved.

        Args:
            entry: its row.
            folder: where a copy may be put.

        Raises:
            StorageError: when it is saved, but cannot be read now.
        """
        ...


class OutputFolder:
    """A folder on the user's machine.

    Args:
        folder: where videos go.
        ledger: the owner's.
        locks: the folder of the locks that let only one process save a task's video.
    """

    has_files = True

    def __init__(self, folder: Path, ledger: OwnerLedger, locks: Path) -> None:
        self._folder = folder
        self._ledger = ledger
        self._locks = locks

    def has(self, entry: Entry) -> bool:
        return entry.saved is not None

    async def check(self) -> None:
        """A folder that cannot be written is noticed when a video is saved."""

    async def shown(self, entry: Entry) -> Entry:
        """Without what a hosted server with the same ledger keeps."""
        return replace(await on_this_disk(entry), kept=None)

    async def unsaved(self, *, since: float) -> list[Entry]:
        return await self._ledger.unsaved(since=since)

    def alone_with(self, task_id: str) -> AbstractAsyncContextManager[None]:
        return task_lock(self._locks, task_id)

    async def find(self, entry: Entry, stem: str, *, is_asked: bool) -> Found | None:
        return await anyio.to_thread.run_sync(self._find, entry.saved, stem, is_asked)

    def _find(self, known: Saved | None, stem: str, is_asked: bool) -> Found | None:
        if known is None:
            return None
        if not is_asked and files.is_there(known, Path(known.path)):
            return Found(saved=known)
        path = files.name_again(known, self._folder, stem)
        return Found(saved=replace(known, path=str(path))) if path else None

    def loss(self, entry: Entry) -> StorageError | None:
        return None

    def staging(self) -> AbstractContextManager[Path]:
        return nullcontext(self._folder)  # a file gets its name there once it is whole

    async def add(self, saved: Saved, *, film: bool = False, task_id: str = "") -> Found:
        return Found(saved=saved)

    async def record(self, task_id: str, found: Found) -> None:
        assert found.saved is not None
        await self._ledger.mark_saved(task_id, found.saved)

    async def local_file(self, entry: Entry, folder: Path) -> Path | None:
        if entry.saved is None:
            return None
        path = Path(entry.saved.path)
        return path if await anyio.to_thread.run_sync(files.is_there, entry.saved, path) else None
