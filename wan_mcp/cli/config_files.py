"""Configuration files of other programs: read with care, copied before a change, replaced atomically."""

import os
import stat
import time
from pathlib import Path

from wan_mcp.errors import ConfigurationError, reason_of
from wan_mcp.settings import key_file

LARGEST = 100_000_000
"""Bytes of a file that is read. The one of Claude Code holds its history, too."""
BACKUPS = "backups"
"""The folder in the data folder that has the copies."""


def read(path: Path) -> str | None:
    """A file's text; None where there is no file.

    Raises:
        ConfigurationError: when it cannot be read, or must not be replaced.
    """
    try:
        _check_links(path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise ConfigurationError("it is not a file with settings")
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise ConfigurationError("the file belongs to another user")
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigurationError("the file is not text in UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"the file cannot be read ({reason_of(error)})") from error


def check_writable(path: Path) -> None:
    """Check that the user has not protected a file, which would not stop a program that replaces it.

    Raises:
        ConfigurationError: when it is read-only.
    """
    try:
        if not path.stat().st_mode & stat.S_IWUSR:
            raise ConfigurationError("the file is read-only")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"the file cannot be read ({reason_of(error)})") from error


def write(path: Path, old: str | None, new: str) -> None:
    """Replace a file atomically, if it is still as it was read.

    Args:
        path: the file; its mode stays. A new one is for its owner alone.
        old: the text that was read.
        new: the text to write.

    Raises:
        ConfigurationError: when it was changed meanwhile, or cannot be written; it is whole.
    """
    mode = 0o600
    try:
        if old is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            check_writable(path)
            mode = stat.S_IMODE(path.stat().st_mode) & 0o777
        if read(path) != old:
            raise ConfigurationError(
                "another program changed the file meanwhile", next_step="Run wan-mcp setup again."
            )
        key_file.replace(path, new.encode(), mode=mode)
    except OSError as error:
        raise ConfigurationError(f"the file cannot be written ({reason_of(error)})") from error


def back_up(folder: Path, name: str, text: str) -> Path:
    """Keep a copy that only the user can read, under a name that no other copy has.

    Raises:
        ConfigurationError: when it cannot be kept.
    """
    day = time.strftime("%Y%m%d-%H%M%S")
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(1, 1000):
            path = folder / (f"{name}-{day}-{number}" if number > 1 else f"{name}-{day}")
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(descriptor)
            except BaseException:
                path.unlink()
                raise
            return path
    except OSError as error:
        raise ConfigurationError(f"no copy can be kept in {folder} ({reason_of(error)})") from error
    raise ConfigurationError(f"no copy can be kept in {folder} (there are too many)")


def _check_links(path: Path) -> None:
    """Refuse links: what is behind one may be shared, or published, as people do with their dotfiles."""
    home = Path.home()
    below_home = [folder for folder in path.parents if folder.is_relative_to(home) and folder != home]
    for one in (path, *below_home):
        if one.is_symlink():
            raise ConfigurationError(f"{one} is a symbolic link, which is not followed")
