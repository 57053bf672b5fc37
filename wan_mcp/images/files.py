"""Reading a picture from this machine, only from the folders that are allowed."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from wan_mcp.errors import PictureUnavailable
from wan_mcp.images.decoding import format_of
from wan_mcp.images.limits import MAX_READ, in_bytes, too_long
from wan_mcp.images.names import matching, nearest, readable
from wan_mcp.images.sources import PASTED
from wan_mcp.images.unsupported import refuse

_HEAD = 4096
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = os.O_RDONLY | _NO_LINKS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINKS
_WALKS = os.open in os.supports_dir_fd
_OF_A_CHAT = ("/mnt/data/", "/mnt/user-data/")
"""Folders in which chat programs keep pasted files, on machines other than this one."""

Found = tuple[Path, Path]  # an allowed folder, and the file relative to it, with all links resolved


def read(paths: Sequence[Path], folders: Sequence[Path]) -> tuple[bytes, Path | None]:
    """Read a whole file, if it is a regular file below one of the folders once links are resolved.

    A file outside of them is refused in the same words whether it exists or not.

    Args:
        paths: every path that may be meant, at least one of them absolute; the first that exists is read.
        folders: where files may be read from.

    Returns:
        The content, and the path of the file if that is not the first of ``paths``.

    Raises:
        PictureError: when it may not be read, cannot be read, or does not begin like a picture.
    """
    absolute = [path for path in paths if path.is_absolute()]
    inside = [found for path in absolute if (found := _located(path, folders)) is not None]
    if not inside:
        raise _outside(absolute[0], folders)
    try:
        for found in inside:
            if (found[0] / found[1]).exists():
                break
        else:
            found = _meant(inside)
        handle = _open(*found)
        try:
            content = _content(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(error) from None
    path = found[0] / found[1]
    return content, None if path == paths[0].resolve() else path


def _located(path: Path, folders: Sequence[Path]) -> Found | None:
    real = Path(os.path.realpath(path))  # resolve() fails where links lead in a circle, before Python 3.13
    for folder in folders:
        root = folder.expanduser().resolve()
        if real.is_relative_to(root):
            return root, real.relative_to(root)
    return None


def _outside(path: Path, folders: Sequence[Path]) -> PictureUnavailable:
    if path.as_posix().startswith(_OF_A_CHAT):
        return PictureUnavailable("is a path on the chat program's own machine", next_step=PASTED)
    listed = ", ".join(str(folder) for folder in dict.fromkeys(folders)) or "there are none"
    return PictureUnavailable(
        f"is outside the folders that pictures may be read from ({listed})",
        next_step="Copy it into one of them, or set WAN_MCP_IMAGE_DIRS to allow its folder.",
    )


def _meant(inside: list[Found]) -> Found:
    """The one file that can be meant by a path that does not exist.

    Raises:
        PictureError: when no file, or more than one, can be meant; it offers the nearest names.
    """
    offered: list[str] = []
    for root, relative in inside:
        folder = _descend(root, relative)
        if folder is None:
            continue
        names = _names(root / folder)
        found = matching(relative.name, names)
        if len(found) == 1:
            return root, folder / found[0]
        offered += nearest(relative.name, found or names)
    if not offered:
        raise FileNotFoundError
    listed = ", ".join(map(readable, dict.fromkeys(offered)))
    raise PictureUnavailable(
        "does not exist", next_step=f"Its folder has {listed}: give the path of one of these."
    )


def _descend(root: Path, relative: Path) -> Path | None:
    """The folder of a file, with the real name of each part; None where a part is hidden or ambiguous."""
    at = Path()
    for part in relative.parent.parts:
        below = root / at / part
        # Below a misspelt part, there may be links that were not resolved.
        found = [part] if below.is_dir() and not below.is_symlink() else matching(part, _names(root / at))
        if len(found) != 1 or part.startswith("."):
            return None
        at /= found[0]
    return at


def _names(folder: Path) -> list[str]:
    """The names in a folder, without links, which may lead out of it."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.is_symlink())
    except OSError:
        return []


def _open(folder: Path, relative: Path) -> int:
    """Open step by step without following links: one may have been added after the check."""
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
        raise PictureUnavailable(f"is {what}, not a file", next_step="Give the path of a picture file.")
    with open(handle, "rb", closefd=False) as file:
        head = file.read(min(_HEAD, found.st_size))
        if head and format_of(head) is None:  # refused before the rest is read
            raise refuse(head)
        if found.st_size > MAX_READ:
            raise too_long(in_bytes(found.st_size))
        return head + file.read(found.st_size - len(head))  # not what is added in the meantime


def _unreadable(error: OSError) -> PictureUnavailable:
    if isinstance(error, FileNotFoundError):
        return PictureUnavailable("does not exist", next_step="Check the spelling of the path.")
    if isinstance(error, PermissionError):
        return PictureUnavailable(
            "may not be read by this program", next_step="Check the permissions of the file."
        )
    text = f"cannot be read ({error.strerror})"
    return PictureUnavailable(text, next_step="Copy it to another folder, and give that path.")
