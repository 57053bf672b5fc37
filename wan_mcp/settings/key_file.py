"""The key as ``wan-mcp setup`` keeps it: in one file that only its owner can read."""

import json
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from wan_mcp.errors import MAKE_DATA_FOLDER_WRITABLE, SettingsError, reason_of

FILE_NAME = "key.json"
LARGEST = 10_000
"""Bytes of a file that are read; one with a key is far smaller."""
_FIELDS = ("EVOLINK_API_KEY", "EVOLINK_BASE_URL", "EVOLINK_FILES_URL")


@dataclass(frozen=True)
class KeptKey:
    """A key, and the two addresses it was given for: it is sent to no others."""

    key: SecretStr
    base_url: str
    files_url: str


def read(path: Path) -> KeptKey | None:
    """What the file holds; None where there is no file.

    Raises:
        SettingsError: when it cannot be used, with what to do.
    """
    again = "Run wan-mcp setup to replace it."
    # A pipe in its place must not make anybody wait.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise SettingsError("it is a symbolic link", next_step=again)
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SettingsError("it is not a regular file", next_step=again)
            if sys.platform != "win32":
                if found.st_uid != os.geteuid():
                    raise SettingsError("it belongs to another user", next_step=again)
                if mode := stat.S_IMODE(found.st_mode) & 0o077:
                    others = "its group" if mode & 0o007 == 0 else "others"
                    raise SettingsError(f"{others} may use the file", next_step=f'Run chmod 600 "{path}".')
            values = json.loads(file.read(LARGEST))
            key, base_url, files_url = (values[name] for name in _FIELDS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(reason_of(error), next_step=again) from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingsError("its content is damaged", next_step=again) from None
    if not all(isinstance(value, str) and value for value in (key, base_url, files_url)):
        raise SettingsError("its content is damaged", next_step=again)
    return KeptKey(SecretStr(key), base_url, files_url)


def keep(path: Path, kept: KeptKey) -> None:
    """Write the file atomically, for its owner alone. A link in its place is replaced, not followed.

    Raises:
        SettingsError: when it cannot be written; then it is as it was.
    """
    values = (kept.key.get_secret_value(), kept.base_url, kept.files_url)
    text = json.dumps(dict(zip(_FIELDS, values, strict=True)), indent=2) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(path, text.encode(), mode=0o600)
    except OSError as error:
        raise SettingsError(
            f"The key could not be kept in {path} ({reason_of(error)}).",
            next_step=MAKE_DATA_FOLDER_WRITABLE,
        ) from None


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that is at every moment whole: the old one, or the new one.

    Raises:
        OSError: when it cannot be written; then it is as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".new")
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(mode)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
