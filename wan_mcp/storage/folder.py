"""A folder of objects on the disk: what is in it is whole, and survives a power cut."""

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

DEFAULT = "storage"
"""The folder of the objects, in the data folder, where the settings name no other place."""
STAGING = ".staging"
"""The folder, in that of the objects, of files that are not objects yet."""
INNER = ("results", "films", "posters", "uploads")
"""The folders of the objects. They are made here, so that nobody else can read what is in them."""
ABANDONED = 24 * 3600.0
"""Seconds after which what an ended process left behind is removed."""
_STAGED = re.compile(r"[0-9a-f]{40}(\.\w{1,8})?#\d+")
"""The name of a file that obstore has not finished."""


def prepared(folder: Path) -> Path:
    """The folder of a store, without what processes left in it that were killed.

    Raises:
        OSError: when it cannot be written.
    """
    staging = folder / STAGING
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for inner in (staging, *(folder / name for name in INNER)):
        inner.mkdir(mode=0o700, exist_ok=True)
    if not os.access(staging, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", str(staging))
    staged = (path for path in folder.glob("*/*#*") if _STAGED.fullmatch(path.name))
    for path in (*staging.iterdir(), *staged):
        with suppress(OSError):
            if path.lstat().st_mtime >= time.time() - ABANDONED:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return folder


def put(folder: Path, key: str, path: Path) -> None:
    """Make a file an object without a second copy, where both are on one disk; durable once this ends.

    Raises:
        OSError: when it cannot be written.
    """
    target, staged = folder / key, folder / STAGING / secrets.token_hex(8)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        try:
            staged.hardlink_to(path)
        except OSError:  # another disk, or a file system without hard links
            shutil.copyfile(path, staged)
        with staged.open("rb+") as file:
            os.fsync(file.fileno())
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    if os.name != "posix":
        return
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
