"""Video files on the disk: a file gets its final name whole, and never replaces another."""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio.to_thread

from wan_mcp.errors import VideoError, WanError

PARTIAL = ".wan-mcp-{}.part"
"""The name of a file that is not whole yet."""
ABANDONED = 24 * 3600.0
"""Seconds after which such a file is removed: its process was killed."""


def prepare(folder: Path) -> None:
    """Make the folder, and remove the partial files of processes that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(PARTIAL.format("*")):
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - ABANDONED:
                path.unlink()


def place(partial: Path, folder: Path, stem: str) -> Path:
    """Give a whole file its final name; where that is taken, a number is added.

    Raises:
        VideoError: when too many files have this name.
    """
    target = next(path for path in _names(folder, stem) if _take_name(partial, path))
    _sync_folder(folder)
    return target


def _names(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}.mp4"
    for number in range(2, 10_000):
        yield folder / f"{stem}-{number}.mp4"
    raise VideoError("There are too many videos of this name.", next_step="Give another filename.")


def _take_name(partial: Path, target: Path) -> bool:
    """Move to ``target`` unless it exists; atomically, so that two processes cannot take the same name."""
    try:
        os.link(partial, target)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            target.open("xb").close()
        except FileExistsError:
            return False
        try:
            partial.replace(target)
        except OSError:
            target.unlink()
            raise
        return True


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the file system can; the content is durable already."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What the file system raises becomes a ``VideoError`` that says what to do."""
    try:
        yield
    except WanError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise VideoError(
            f"The video cannot be saved in {folder} ({'the disk is full' if full else error.strerror}).",
            next_step="Free some room, or set WAN_MCP_OUTPUT_DIR to another disk."
            if full
            else "Set WAN_MCP_OUTPUT_DIR to a folder that can be written.",
        ) from error


async def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, or None where there is none."""

    def read() -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    return await anyio.to_thread.run_sync(read)
