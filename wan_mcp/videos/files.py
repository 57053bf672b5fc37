"""Video files on the disk: a file gets its final name only when it is whole, and never replaces another."""

import errno
import filecmp
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from wan_mcp.errors import DiskError, VideoError, WanError
from wan_mcp.ledger import Saved
from wan_mcp.videos.formats import Video

PARTIAL = ".wan-mcp-{}.part"
"""The name of a file that is not whole yet."""
ABANDONED = 24 * 3600.0
"""Seconds after which such a file is removed: its process must have been killed."""
ANOTHER_DISK = "set WAN_MCP_OUTPUT_DIR to another disk"
FREE_SPACE = f"Free some space on the disk, or {ANOTHER_DISK}."
WRITABLE_FOLDER = "Set WAN_MCP_OUTPUT_DIR to a folder that can be written"


def prepare(folder: Path) -> None:
    """Make the folder, and remove the partial files of processes that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(PARTIAL.format("*")):
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - ABANDONED:
                path.unlink()


def partial_path(folder: Path) -> Path:
    """Where a file of that folder is written before it is whole; another path for each call."""
    return folder / PARTIAL.format(secrets.token_hex(8))


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder for files that are not kept; in the system's folder for them, unless ``parent`` is given."""
    # A thread that was abandoned may still have one of them open, which Windows does not delete.
    with TemporaryDirectory(prefix="wan-mcp-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def keep(whole: Path, video: Video, folder: Path, stem: str, digest: str | None = None) -> Saved:
    """Make a whole file durable, and give it its name.

    Args:
        whole: the file.
        video: what it is.
        folder: where it goes.
        stem: its name without the ending.
        digest: its SHA-256, where that is known.

    Raises:
        VideoError: when too many files have this name.
    """
    with whole.open("rb+") as file:
        os.fsync(file.fileno())
    digest, size, movie = digest or digest_of(whole), whole.stat().st_size, video.movie
    target = place(whole, folder, stem, video.ending)
    return Saved(str(target), size, digest, movie.seconds, movie.width, movie.height, video.remark)


def place(partial: Path, folder: Path, stem: str, ending: str) -> Path:
    """Give a whole file its final name; where another file has that, a number is added.

    A file that has the name and the same content is the same video: its process was killed, or the ledger
    failed, before its name was recorded.

    Raises:
        VideoError: when too many files have this name.
    """
    target = next(
        path for path in _names(folder, stem, ending) if _take_name(partial, path) or _is_same(partial, path)
    )
    _sync_folder(folder)
    return target


def name_again(saved: Saved, folder: Path, stem: str) -> Path | None:
    """Give a video that is already saved this name too.

    Returns:
        Its path under this name, also where it had the name before; None where the video no longer exists.

    Raises:
        VideoError: when too many files have this name, or the disk fails.
    """
    source = Path(saved.path).resolve()
    with disk_errors(folder):
        for target in _names(folder, stem, source.suffix.removeprefix(".")):
            if is_there(saved, target):
                return target
            if not os.path.lexists(target):
                break
        if not is_there(saved, source):
            return None
        prepare(folder)
        partial = partial_path(folder)
        try:
            _link_or_copy(source, partial)
            return place(partial, folder, stem, source.suffix.removeprefix("."))
        finally:
            partial.unlink(missing_ok=True)


def is_there(saved: Saved, path: Path) -> bool:
    """Whether a file is the video as it was saved."""
    try:
        return path.stat().st_size == saved.size and digest_of(path) == saved.sha256
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())


def _names(folder: Path, stem: str, ending: str) -> Iterator[Path]:
    yield folder / f"{stem}.{ending}"
    for number in range(2, 10_000):
        yield folder / f"{stem}-{number}.{ending}"
    raise VideoError("There are too many videos with this name.", next_step="Give another filename.")


def _is_same(partial: Path, path: Path) -> bool:
    with suppress(OSError):  # a link that leads nowhere
        return path.is_file() and filecmp.cmp(partial, path, shallow=False)
    return False


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
    """Turn errors of the file system into a ``VideoError`` that says what to do."""
    try:
        yield
    except WanError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DiskError(
            f"The video cannot be saved in {folder} ({'the disk is full' if full else error.strerror}).",
            next_step=FREE_SPACE if full else f"{WRITABLE_FOLDER}.",
        ) from error
