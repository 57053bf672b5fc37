"""Who works on a request: a process holds one file lock while it lives, and its rows name that lock.

The kernel frees the lock when the process ends, however it ends, also in a container, which has its own
process ids.
"""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

SIGN_OF_LIFE = 600.0
"""Seconds without a sign of life after which a process that holds its lock counts as stopped."""
SUFFIX = ".lock"


class Lease:
    """The lock of this process; to be used in one thread at a time.

    Args:
        folder: where the locks of all processes are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: FileLock | None = None
        self.working: set[int] = set()
        """The rows that this process works on."""

    @property
    def own_name(self) -> str | None:
        """The name of this process; None until it has worked on a row."""
        return Path(self._lock.lock_file).name if self._lock else None

    def renew(self) -> str:
        """Give a sign of life, and return the name by which a row says that this process works on it.

        Raises:
            OSError: when the folder cannot be written.
        """
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_dead()
            lock = FileLock(self._folder / f"{secrets.token_hex(8)}{SUFFIX}", mode=0o600, thread_local=False)
            lock.acquire(timeout=1)  # another process may briefly take the new file for one of a dead process
            self._lock = lock
        path = Path(self._lock.lock_file)
        now = time.monotonic()  # the same clock for all processes of this machine, which cannot be set
        with suppress(OSError):
            os.utime(path, (now, now))
        return path.name

    def is_alive(self, holder: str | None, number: int) -> bool:
        """Whether a process may be working on a row.

        Args:
            holder: the name in the row.
            number: the row.
        """
        if holder is None:
            return False
        if holder == self.own_name:
            return number in self.working
        path = self._folder / holder
        if not holder.endswith(SUFFIX) or not _is_held(path):
            return False
        try:
            return time.monotonic() - path.stat().st_mtime <= SIGN_OF_LIFE
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Free the lock."""
        if self._lock is not None:
            with suppress(OSError):
                Path(self._lock.lock_file).unlink()
            self._lock.release()
            self._lock = None

    def _remove_dead(self) -> None:
        for path in self._folder.glob(f"*{SUFFIX}"):
            lock = FileLock(path, thread_local=False)
            with suppress(OSError, Timeout):
                lock.acquire(timeout=0)
                path.unlink(missing_ok=True)
                lock.release()


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written says nothing about the other process
        return True
    lock.release()
    return False
