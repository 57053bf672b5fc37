"""A clock that jumps instead of waiting."""

import asyncio
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio.to_thread
import pytest

EPOCH = 1_790_000_000.0
waited_for: list[object] = []
"""Calls under way that end in a thread which the loop does not know."""


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
        if _threads_are_busy() or waited_for:
            ready = super().select(timeout)
        if not ready:
            self.now += timeout
        return ready


def _threads_are_busy() -> bool:
    try:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
    except Exception:  # outside of a task there is no limiter yet
        return False


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no real time, and nothing but waiting takes its own."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def counting(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A function of obstore, whose work is awaited for real."""

    async def run(*given: Any, **named: Any) -> Any:
        call = object()
        waited_for.append(call)
        try:
            result = await work(*given, **named)
        finally:
            waited_for.remove(call)
        return _Answer(result) if hasattr(result, "bytes_async") else result

    return run


class _Answer:
    """An object that is being read."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.bytes_async = counting(answer.bytes_async)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    async def stream(self, **options: Any) -> AsyncIterator[Any]:
        chunks = self._answer.stream(**options).__aiter__()
        following = counting(chunks.__anext__)
        while True:
            try:
                yield await following()
            except StopAsyncIteration:
                return


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
