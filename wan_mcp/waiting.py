"""When to look at an unfinished task again, and waiting for it within bounds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import anyio

from wan_mcp.errors import (
    Busy,
    EvolinkError,
    LostAnswer,
    ServerFault,
    Unreachable,
    UnreadableAnswer,
    WanError,
)
from wan_mcp.evolink import Task

USUAL_PAUSE = 8.0
"""Seconds between two reads of a video task: what the vendor's own clients do."""
SHORTEST_PAUSE = 2.0
HEARTBEAT = 5.0
"""Seconds between two notices that the wait goes on."""

PASSING = (Unreachable, LostAnswer, UnreadableAnswer, Busy, ServerFault)
"""Errors of a read that say nothing about the task: the wait goes on."""

Read = Callable[[], Awaitable[Task]]
Notice = Callable[[Task | None], Awaitable[None]]
"""Told what is known of the task: at once, at least every ten seconds, and when it changes."""


def pause(estimated_time: float | None) -> float:
    """Seconds until the next read: about ten reads in an estimated run, never more often than every
    two seconds nor less often than the vendor's clients, since each read makes the gateway ask its
    provider."""
    if estimated_time is None:
        return USUAL_PAUSE
    return min(max(estimated_time / 10, SHORTEST_PAUSE), USUAL_PAUSE)


async def readings(read: Read) -> AsyncIterator[Task | EvolinkError]:
    """What each read of a task found, paced, until the task is over.

    A read that fails for a passing reason is yielded as its error; any other error is raised.
    """
    estimate = None
    while True:
        try:
            task = await read()
        except PASSING as error:
            yield error
            wait = error.retry_after or pause(estimate)
        else:
            yield task
            if task.is_over:
                return
            estimate = task.estimated_time or estimate
            wait = pause(estimate)
        await anyio.sleep(wait)


@dataclass(frozen=True)
class Waited:
    """What a wait came to know. ``trouble`` is the error of the last read, where that one failed."""

    task: Task
    trouble: EvolinkError | None = None


class _Latest:
    """What the reader has found so far, for the heartbeat to tell."""

    task: Task | None = None
    trouble: EvolinkError | None = None
    end: WanError | None = None
    """An error after which no further read would help."""


async def wait(read: Read, seconds: float, notice: Notice) -> Waited:
    """Read a task until it is over or the time is up; 0 seconds look once.

    Running out of time is a normal result, and nothing happens to the task by it.

    Raises:
        EvolinkError: when the task cannot be read at all.
    """
    latest = _Latest()
    await notice(None)
    with anyio.move_on_after(seconds) if seconds > 0 else anyio.CancelScope():
        async with anyio.create_task_group() as group:
            group.start_soon(_beat, latest, notice)
            await _follow(read, latest, notice, once=seconds <= 0)
            group.cancel_scope.cancel()
    if latest.end is not None:
        raise latest.end
    if latest.task is None:
        raise latest.trouble or LostAnswer("Evolink did not answer in the time of this wait.")
    return Waited(latest.task, latest.trouble)


async def _follow(read: Read, latest: _Latest, notice: Notice, *, once: bool) -> None:
    try:
        async for reading in readings(read):
            if isinstance(reading, Task):
                latest.task, latest.trouble = reading, None
                await notice(reading)
            else:
                latest.trouble = reading
            if once:
                return
    except WanError as error:
        latest.end = error


async def _beat(latest: _Latest, notice: Notice) -> None:
    while True:
        await anyio.sleep(HEARTBEAT)
        await notice(latest.task)
