"""One process at a time saves a task's video."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout

PAUSE = 0.2
"""Seconds between two attempts to get a lock that another process holds."""


@asynccontextmanager
async def task_lock(folder: Path, task_id: str) -> AsyncIterator[None]:
    """Hold the lock of a task, which only one process can have; if the folder is not writable, go on without.

    The kernel frees the lock when the process ends, however it ends.

    Args:
        folder: where the locks are, and nothing else.
        task_id: the task.
    """
    path = folder / f"{hashlib.sha256(task_id.encode()).hexdigest()[:32]}.lock"
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        with suppress(OSError, NotImplementedError):
            await anyio.to_thread.run_sync(_remove_dead, folder, path)
            while not await anyio.to_thread.run_sync(_acquired, lock):  # noqa: ASYNC110  another process frees it
                await anyio.sleep(PAUSE)
        yield
    finally:
        _remove(lock)


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _remove(lock: FileLock) -> None:
    """Remove the file of a lock that is held, and free it; a process that waits for it makes a new one."""
    if lock.is_locked:
        with suppress(OSError):  # some systems do not remove an open file
            Path(lock.lock_file).unlink()
        lock.release()


def _remove_dead(folder: Path, own: Path) -> None:
    """Remove what killed processes left behind."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.lock"):
        if path != own:
            lock = FileLock(path, thread_local=False)
            with suppress(OSError):
                _acquired(lock)
                _remove(lock)
