"""A clock that jumps instead of waiting."""

import asyncio
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio.to_thread
import pytest

EPOCH = 1_790_000_000.0


class JumpingSelector(selectors.DefaultSelector):
    """Where the loop would sleep until its next timer, time jumps there instead; else it stands still.

    While a worker thread or the storage is busy its end is awaited for real: that is not idle time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or super().select(timeout)
        if _threads_are_busy() or _storage_is_busy():
            ready = super().select(timeout)
        if not ready:
            self.now += timeout
        return ready


def _threads_are_busy() -> bool:
    try:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
    except Exception:  # outside of a task there is no limiter yet
        return False


def _storage_is_busy() -> bool:
    """Whether a task awaits obstore, whose threads are not those of anyio."""
    awaited = [getattr(task, "_fut_waiter", None) for task in asyncio.all_tasks()]
    callbacks = [callback for future in awaited for callback in getattr(future, "_callbacks", None) or ()]
    return any(type(callback).__name__ == "PyDoneCallback" for callback, _ in callbacks)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no real time, and nothing but waiting takes its own."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def now() -> float:
    """The tests' wall clock: it jumps together with the loop's."""
    return EPOCH + asyncio.get_running_loop().time()


@contextmanager
def local_time(monkeypatch: pytest.MonkeyPatch, zone: str) -> Iterator[None]:
    """This machine in another time zone, for as long as the block lasts."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()
