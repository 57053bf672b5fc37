"""Even if many callers follow a task, it is read only as often as the schedule says."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS, ERAS, call
from tests.clock import now
from tests.generation.gateway import generate
from tests.world import World
from wan_mcp.errors import LedgerError, NotFound
from wan_mcp.generation import polling
from wan_mcp.generation.reading import MARGIN
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger.sql.owner_ledger import SqlOwnerLedger
from wan_mcp.sandbox import Fault
from wan_mcp.server.results import NEXT_READ, TIME_LEFT

Follower = Callable[[VideoService, str], Coroutine[Any, Any, None]]

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the jitter, so that the reads of two runs can be compared."""
    monkeypatch.setattr(polling, "jittered", lambda pause: pause)


async def as_a_card(service: VideoService, task_id: str) -> None:
    """Call ``get_task`` whenever the last answer says that there may be news."""
    snapshot = await service.current(task_id)
    while snapshot.next_read is not None:
        await anyio.sleep(snapshot.next_read)
        snapshot = await service.get_task(task_id)


async def as_a_model(service: VideoService, task_id: str) -> None:
    """Wait, and think for a second whenever a wait is over."""
    while (await service.wait(task_id, 45, ignored)).next_read is not None:  # noqa: ASYNC110
        await anyio.sleep(1)


async def as_a_tasks_client(service: VideoService, task_id: str) -> None:
    """Ask for the current state whenever the last one says that there may be news."""
    while (snapshot := await service.current(task_id)).next_read is not None:  # noqa: ASYNC110
        await anyio.sleep(snapshot.next_read)


async def in_haste(service: VideoService, task_id: str) -> None:
    """Ask all the time, four times as often as a task is read at most; also after the end."""
    while True:
        await service.current(task_id)
        await anyio.sleep(0.5)


async def ignored(snapshot: TaskSnapshot | None) -> None:
    """Tell nobody of the progress."""


async def reads(
    world: World, *followers: Follower, autosave: str = "1", others: tuple[Follower, ...] = ()
) -> int:
    """How often a task is read until all callers have seen its end."""
    async with world.service(WAN_MCP_AUTOSAVE=autosave) as service, world.service() as other:
        task_id = (await generate(service)).task.id
        before = world.records.reads
        async with anyio.create_task_group() as group:
            for follow in followers:
                group.start_soon(follow, service, task_id)
            for follow in others:
                group.start_soon(follow, other, task_id)
            await anyio.sleep(300)
            group.cancel_scope.cancel()
        assert (await other.current(task_id)).task.status == "completed"
        return world.records.reads - before


SECONDS = pytest.mark.parametrize("seconds", [20, 60, 120, 240])


@SECONDS
async def test_a_card_a_wait_and_a_tasks_client_cost_one_read_more_than_the_schedule(
    tmp_path: Path, seconds: int
) -> None:
    """One more than if only the server follows the task: the card reads fresh links at the end."""
    alone = await reads(World(tmp_path / "1", seconds=seconds))
    together = await reads(World(tmp_path / "2", seconds=seconds), as_a_card, as_a_model, as_a_tasks_client)
    assert together <= alone + 1


@SECONDS
async def test_followers_in_another_process_share_the_reads_of_the_first(
    tmp_path: Path, seconds: int
) -> None:
    """A card and a tasks client of another process cause at most one more read each."""
    alone = await reads(World(tmp_path / "1", seconds=seconds))
    world = World(tmp_path / "2", seconds=seconds)
    assert await reads(world, others=(as_a_card, as_a_tasks_client)) <= alone + 2


@SECONDS
@pytest.mark.parametrize("autosave", ["0", "1"])
async def test_a_client_that_asks_all_the_time_causes_no_more_reads_than_the_schedule(
    tmp_path: Path, seconds: int, autosave: str
) -> None:
    """With and without following by the server, and also after the end of the task."""
    alone = await reads(World(tmp_path / "1", seconds=seconds))
    world = World(tmp_path / "2", seconds=seconds)
    assert await reads(world, in_haste, in_haste, autosave=autosave) <= alone + 1


@pytest.mark.parametrize("kind", ["garbage", "lost"])
async def test_a_client_that_asks_all_the_time_causes_few_reads_that_fail(world: World, kind: str) -> None:
    """One in ten seconds; between them, answers have the last known state, and why it could not be read."""
    async with world.service() as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(60)
        world.sandbox.faults.add(Fault("task", kind, times=1000))
        before = world.records.reads
        with anyio.move_on_after(60):
            await in_haste(service, task_id)
        snapshot = await service.current(task_id)
    assert snapshot.task.status == "pending"
    assert snapshot.read_error is not None
    assert world.records.reads - before <= 7 * 3  # a read that fails is tried again at once, twice


async def test_an_unknown_task_is_read_once_in_ten_seconds(world: World) -> None:
    """Even if callers ask for it more often."""
    async with world.service() as service:
        for _ in range(1000):
            with pytest.raises(NotFound):
                await service.current("task-unified-1700000000-nothing0")
            await anyio.sleep(0.01)
    assert world.records.reads <= 2


async def test_reads_at_the_same_time_are_one(world: World) -> None:
    """Fifty callers, one read, and one answer for all; also where it fails, with its two retries."""
    async with world.service() as service:
        task_id = (await generate(service)).task.id
        found: list[str] = []

        async def ask() -> None:
            found.append((await service.get_task(task_id)).task.status)

        for expected in (1, 3):
            if expected == 3:
                world.sandbox.faults.add(Fault("task", "garbage", times=3))
            await anyio.sleep(10)
            before = world.records.reads
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(ask)
            assert world.records.reads - before == expected
    assert found == ["pending"] * 100


@pytest.mark.parametrize("methods", [["observe"], ["find", "observe"]], ids=["read-only", "unreadable"])
async def test_reads_are_shared_and_paced_without_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch, methods: list[str]
) -> None:
    """Callers at the same time share one slow read; callers that ask more often cause no more reads."""

    async def fail(*args: object) -> None:
        raise LedgerError("The disk is full.")

    async with world.service() as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(110)
        for method in methods:
            monkeypatch.setattr(SqlOwnerLedger, method, fail)
        world.sandbox.faults.add(Fault("task", "slow", seconds=17))
        found: list[tuple[str, float]] = []

        async def ask() -> None:
            snapshot = await service.get_task(task_id)
            found.append((snapshot.task.status, anyio.current_time()))

        begun, before = anyio.current_time(), world.records.reads
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)
        assert {status for status, _ in found} == {found[0][0]}
        assert max(at for _, at in found) - begun <= 18
        with anyio.move_on_after(5):
            await in_haste(service, task_id)
    assert world.records.reads - before <= 2


@pytest.mark.parametrize("jump", [-86400, -3600, -30, 3600, 86400])
async def test_a_clock_that_is_set_does_not_change_the_pace(world: World, jump: int) -> None:
    """Neither in this process, nor in the next one, which has only the ledger."""
    changed = 0.0

    def clock() -> float:
        return now() + changed

    async with world.service({"clock": clock}) as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(30)
        await service.current(task_id)
        changed, before = jump, world.records.reads
        with anyio.move_on_after(20):
            await in_haste(service, task_id)
        assert world.records.reads - before <= 4
    async with world.service({"clock": clock}) as service:
        await service.current(task_id)
        before = world.records.reads
        with anyio.move_on_after(20):
            await in_haste(service, task_id)
        assert world.records.reads - before <= 4


@pytest.mark.parametrize(("asked", "seconds"), [(2, 10), (31, 31), (120, 120), (5_000_000, 120)])
async def test_nothing_is_read_before_the_time_that_the_api_asked_for(
    world: World, asked: float, seconds: float
) -> None:
    """For up to two minutes; callers that follow the task are told when to ask again."""
    async with world.service() as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(30)
        world.sandbox.faults.add(Fault("task", "status", times=3, status=429, retry_after=asked))
        snapshot = await service.current(task_id)
        assert snapshot.next_read == pytest.approx(seconds + MARGIN, abs=0.1)
        before = world.records.reads
        with anyio.move_on_after(seconds - 0.5):
            await in_haste(service, task_id)
        assert world.records.reads == before


async def test_a_hanging_read_is_not_waited_for(world: World) -> None:
    """Many clients end a call after a minute: it is answered with the last known state, and read again."""
    async with world.service() as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(30)
        world.sandbox.faults.add(Fault("task", "slow", times=None, seconds=600))
        for patience in (2.0, 30.0):
            begun = anyio.current_time()
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(service.current, task_id, patience)
                snapshot = await service.current(task_id, patience)
            assert anyio.current_time() - begun == pytest.approx(patience, abs=0.1)
            assert (snapshot.task.status, str(snapshot.read_error)) == (
                "pending",
                f"Evolink did not answer within {patience:g} seconds.",
            )


async def test_a_tasks_client_has_the_schedule_of_a_wait(world: World) -> None:
    """It knows how long the last tasks took, even if the server does not follow tasks."""
    async with world.service() as service:
        for take in range(1, 4):
            await as_a_model(service, (await generate(service, take=take)).task.id)

        async def wait(task_id: str) -> TaskSnapshot:
            return await service.wait(task_id, 1, ignored)

        next_reads: list[float] = []
        for begin in (service.current, wait):
            task_id = (await generate(service, take=len(next_reads) + 4)).task.id
            await anyio.sleep(100)
            begun = anyio.current_time()
            next_reads.append(((await begin(task_id)).next_read or 0.0) + anyio.current_time() - begun)
    assert next_reads[0] == pytest.approx(next_reads[1])


@ERAS
async def test_each_answer_about_a_running_task_says_when_there_may_be_news(world: World, mode: str) -> None:
    """And how long the task will take: in ``_meta``, so that a model need not read it."""
    async with world.client(mode) as client:
        made = await call(client, "generate_video", **ARGUMENTS)
        assert made.structured_content is not None
        assert made.meta is not None
        assert {NEXT_READ: 20.5, TIME_LEFT: 120.0}.items() <= made.meta.items()
        task_id = made.structured_content["id"]
        await anyio.sleep(30)
        seen = await call(client, "get_task", task_id=task_id)
        assert seen.meta is not None
        assert (seen.meta[NEXT_READ], seen.meta[TIME_LEFT]) == (20.5, 90.0)
        await anyio.sleep(100)
        ended = await call(client, "get_task", task_id=task_id)
    assert not {NEXT_READ, TIME_LEFT} & (ended.meta or {}).keys()
    assert not {NEXT_READ, TIME_LEFT} & made.structured_content.keys()
