"""Reading a picture from this machine, and from nowhere but the folders that pictures may be read from."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from wan_mcp.errors import PictureError
from wan_mcp.images.facts import facts
from wan_mcp.images.limits import MAX_READ, in_bytes

_HEAD = 4096
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = os.O_RDONLY | _NO_LINKS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINKS
_WALKS = os.open in os.supports_dir_fd


def read(path: Path, folders: Iterable[Path]) -> bytes:
    """Read a whole file, if it is a regular file below one of the folders once links are resolved.

    What lies outside is refused in the same words whether it exists or not.

    Raises:
        PictureError: when it may not be read, cannot be read, or does not begin like a picture.
    """
    try:
        handle = _open(*_located(path, folders))
        try:
            return _content(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(error) from None


def _located(path: Path, folders: Iterable[Path]) -> tuple[Path, Path]:
    """The folder, and the file relative to it, both without any link."""
    try:
        real = path.resolve()
    except RuntimeError:  # links in a circle, before Python 3.13
        raise PictureError("is a link that leads in a circle", next_step="Give the file itself.") from None
    for folder in folders:
        root = folder.expanduser().resolve()
        if real.is_relative_to(root):
            return root, real.relative_to(root)
    raise PictureError(
        "is outside the folders that pictures may be read from",
        next_step="Copy it into one of them, or set WAN_MCP_IMAGE_DIRS to allow its folder.",
    )


def _open(folder: Path, relative: Path) -> int:
    """Open step by step without following links, so that none can be slipped in after the check."""
    if not _WALKS or not relative.parts:
        return os.open(folder / relative, _FILE)
    at = os.open(folder, _FOLDER)
    try:
        for name in relative.parts[:-1]:
            below = os.open(name, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        return os.open(relative.parts[-1], _FILE, dir_fd=at)
    finally:
        os.close(at)


def _content(handle: int) -> bytes:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
        raise PictureError(f"is {what}, not a file", next_step="Give the path of a picture file.")
    facts(_read_all(handle, min(_HEAD, found.st_size)))  # refuses what is no picture before reading on
    os.lseek(handle, 0, os.SEEK_SET)
    if found.st_size > MAX_READ:
        text = f"has {in_bytes(found.st_size)}; at most {in_bytes(MAX_READ)} are read"
        raise PictureError(text, next_step="Give a smaller version of the picture.")
    return _read_all(handle, found.st_size)


def _read_all(handle: int, size: int) -> bytes:
    """As many bytes as the file had when it was opened, or fewer."""
    parts = []
    while size > 0 and (part := os.read(handle, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _unreadable(error: OSError) -> PictureError:
    if isinstance(error, FileNotFoundError):
        return PictureError("does not exist", next_step="Check the spelling of the path.")
    if isinstance(error, PermissionError):
        return PictureError("may not be read by this program", next_step="Check the permissions of the file.")
    return PictureError(
        f"cannot be read ({error.strerror})", next_step="Copy it to another folder, and try that."
    )
