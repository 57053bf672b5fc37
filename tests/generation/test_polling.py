"""The shared poller: one reader for each task, bounded for the process, until no caller waits any more."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from wan_mcp.errors import Busy, LostAnswer, NotFound
from wan_mcp.evolink import Task
from wan_mcp.generation.polling import Poller, Waited
from wan_mcp.generation.rate_limit import RateLimit
from wan_mcp.generation.status import TaskSnapshot

pytestmark = pytest.mark.anyio


def task(status: str, task_id: str = "task-1") -> Task:
    results = ["https://media.example.com/v.mp4"] if status == "completed" else []
    return Task.read({"id": task_id, "status": status, "results": results})


async def nothing(found: Task | None) -> None:
    """Tell nobody."""


class Upstream:
    """Tasks that complete at a given time, and a log of the reads."""

    def __init__(self, seconds: float = 60) -> None:
        self.ends = anyio.current_time() + seconds
        self.reads: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def read(self, task_id: str) -> Task:
        self.reads.append((anyio.current_time(), task_id))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await anyio.sleep(0.5)
        finally:
            self.at_once -= 1
        return task("completed" if anyio.current_time() >= self.ends else "processing", task_id)


class Tasks:
    """Tasks that a function reads, always after the same pause."""

    def __init__(self, read: Callable[[str], Awaitable[Task]], seconds: float) -> None:
        self._read = read
        self._seconds = seconds

    async def poll(self, task_id: str, younger_than: float) -> tuple[TaskSnapshot, float]:
        return TaskSnapshot(await self._read(task_id)), self._seconds


@asynccontextmanager
async def poller(
    read: Callable[[str], Awaitable[Task]], pause: float = 5, limit: RateLimit | None = None
) -> AsyncIterator[Poller]:
    async with anyio.create_task_group() as group:
        yield Poller(Tasks(read, pause), limit or RateLimit(100, 100), group)
        group.cancel_scope.cancel()


async def test_two_waits_cost_the_reads_of_one() -> None:
    """All who wait for a task share its reader, and all see the end."""
    alone, shared = Upstream(), Upstream()
    async with poller(alone.read) as one:
        await one.wait("task-1", 100, nothing)
    ends: list[Waited] = []

    async def wait(both: Poller) -> None:
        ends.append(await both.wait("task-1", 100, nothing))

    shared.ends = anyio.current_time() + 60
    async with poller(shared.read) as both, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait, both)
    assert [end.task.status for end in ends] == ["completed"] * 5
    assert abs(len(shared.reads) - len(alone.reads)) <= 2


async def test_the_reader_is_gone_when_nobody_waits() -> None:
    """Running out of time and being cancelled both end the reading at once."""
    upstream = Upstream(1000)
    async with poller(upstream.read) as polling:
        waited = await polling.wait("task-1", 20, nothing)
        assert waited.task.status == "processing"
        with anyio.move_on_after(10):
            await polling.wait("task-1", 100, nothing)
        reads = len(upstream.reads)
        await anyio.sleep(100)
        assert len(upstream.reads) == reads


async def test_one_who_leaves_does_not_stop_the_others() -> None:
    """After a cancelled wait, the reader goes on for the other callers."""
    upstream = Upstream(60)
    async with poller(upstream.read) as polling, anyio.create_task_group() as group:

        async def impatient() -> None:
            with anyio.move_on_after(10):
                await polling.wait("task-1", 100, nothing)

        group.start_soon(impatient)
        waited = await polling.wait("task-1", 100, nothing)
    assert waited.task.status == "completed"


async def test_reads_are_bounded_in_number_and_rate_and_fair() -> None:
    """Fifty tasks wait at once: never more than the bound, and each is read before one is read again."""
    upstream = Upstream(60)
    start = anyio.current_time()
    async with poller(upstream.read, limit=RateLimit(5, 2)) as polling, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(polling.wait, f"task-{number}", 40, nothing)
    assert upstream.most_at_once <= 2
    assert len(upstream.reads) <= 5 * (anyio.current_time() - start) + 2
    assert len({task_id for _, task_id in upstream.reads[:50]}) == 50


async def test_a_passing_error_slows_the_reads_and_ends_nothing() -> None:
    """After each busy or lost answer the pause is longer; then the end is seen."""
    moments: list[float] = []

    async def read(task_id: str) -> Task:
        moments.append(anyio.current_time())
        if len(moments) <= 3:
            raise LostAnswer("gone")
        return task("completed")

    async with poller(read) as polling:
        waited = await polling.wait("task-1", 100, nothing)
    assert waited == Waited(task("completed"))
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 10


async def test_what_the_api_asks_for_is_honoured() -> None:
    """After Retry-After: 30 the next read comes 30 seconds later."""
    moments: list[float] = []

    async def read(task_id: str) -> Task:
        moments.append(anyio.current_time())
        if len(moments) == 1:
            raise Busy("slow down", retry_after=30)
        return task("completed")

    async with poller(read) as polling:
        await polling.wait("task-1", 100, nothing)
    assert 29.9 < moments[1] - moments[0] < 31


async def test_an_error_that_will_not_pass_ends_the_wait() -> None:
    """A task that does not exist is not waited for."""

    async def read(task_id: str) -> Task:
        raise NotFound("no such task")

    async with poller(read) as polling:
        with pytest.raises(NotFound):
            await polling.wait("task-1", 100, nothing)


async def test_a_fault_of_our_own_ends_the_wait_with_words() -> None:
    """After an unexpected exception, the caller gets an error."""

    async def read(task_id: str) -> Task:
        raise ZeroDivisionError

    async with poller(read) as polling:
        with pytest.raises(Exception, match="wan-mcp itself failed"):
            await polling.wait("task-1", 100, nothing)


async def test_a_wait_without_any_answer_raises_what_was_in_the_way() -> None:
    """Without any read there is no state, so this is an error."""

    async def read(task_id: str) -> Task:
        raise LostAnswer("gone")

    async with poller(read) as polling:
        with pytest.raises(LostAnswer, match="gone"):
            await polling.wait("task-1", 30, nothing)


async def test_a_wait_that_is_never_answered_ends_in_time() -> None:
    """A read that hangs does not make the wait longer."""

    async def read(task_id: str) -> Task:
        await anyio.sleep_forever()
        raise AssertionError

    start = anyio.current_time()
    async with poller(read) as polling:
        with pytest.raises(LostAnswer):
            await polling.wait("task-1", 30, nothing)
    assert anyio.current_time() - start < 31


async def test_completed_without_a_link_is_waited_for() -> None:
    """The link follows; until then the task is not over."""
    reads = 0

    async def read(task_id: str) -> Task:
        nonlocal reads
        reads += 1
        return task("completed") if reads > 2 else Task.read({"id": task_id, "status": "completed"})

    async with poller(read) as polling:
        waited = await polling.wait("task-1", 100, nothing)
    assert waited.task.results
    assert reads == 3
