"""A task that the API does not know yet: in its first two minutes that is no error."""

import re
from pathlib import Path

import anyio
import pytest

from tests.calls import ADDRESS, ARGUMENTS, answer, call, text
from tests.clock import EPOCH, now
from tests.generation.gateway import generate, make_elsewhere
from tests.world import World
from wan_mcp.cli import generate as command
from wan_mcp.cli.request import request_of
from wan_mcp.errors import NotFound, NotKnownYet
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Fault
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio
ALWAYS = Fault("task", "status", times=None, status=404)


async def nothing(snapshot: TaskSnapshot | None) -> None:
    """Tell nobody."""


async def wait(service: VideoService, task_id: str, seconds: float = 45) -> tuple[TaskSnapshot, float]:
    """A wait, and how long it took."""
    start = anyio.current_time()
    snapshot = await service.wait(task_id, seconds, nothing)
    return snapshot, anyio.current_time() - start


def reads(world: World) -> int:
    return len([call for call in world.records.calls if call.at == "task"])


async def test_a_wait_goes_on_until_the_task_is_known(world: World) -> None:
    """The first reads find nothing; the wait sees the end."""
    world.sandbox.faults.add(Fault("task", "status", times=4, status=404))
    async with world.service() as service:
        asked = await generate(service)
        done, _ = await wait(service, asked.task.id, 200)
    assert done.task.status == "completed"
    assert done.read_error is None


async def test_a_wait_for_a_task_that_stays_unknown_ends_in_time(world: World) -> None:
    """It answers with the id and the last known state, after a few reads."""
    world.sandbox.faults.add(ALWAYS)
    async with world.service() as service:
        asked = await generate(service)
        for number in (1, 2):
            waited, took = await wait(service, asked.task.id)
            assert 44 < took < 46
            assert (waited.task.id, waited.task.status, waited.waited) == (asked.task.id, "pending", 45)
            assert isinstance(waited.read_error, NotKnownYet)
            assert reads(world) <= 6 * number
        seen = await service.get_task(asked.task.id)
    assert seen.task == asked.task


async def test_after_two_minutes_an_unknown_task_is_not_waited_for(world: World) -> None:
    """The answer comes at once, with the last known state, and says that waiting does not help."""
    world.sandbox.faults.add(ALWAYS)
    async with world.client() as client:
        asked = await answer(client, "generate_video", **ARGUMENTS)
        await anyio.sleep(121)
        start = anyio.current_time()
        waited = await answer(client, "wait_for_task", task_id=asked["id"])
    assert anyio.current_time() - start < 1
    assert waited["status"] == "pending"
    assert "does not know this task any more" in waited["next"]
    assert "wait_for_task" not in waited["next"]


@pytest.mark.parametrize("age", [0, 60, -30])
async def test_the_number_in_an_id_tells_how_new_a_task_of_others_is(world: World, age: int) -> None:
    """It is not in the ledger; the wait still has a normal answer."""
    task_id = f"task-unified-{EPOCH - age:.0f}-abcdefgh"
    async with world.client() as client:
        start = anyio.current_time()
        waited = await answer(client, "wait_for_task", task_id=task_id, timeout_seconds=20)
        assert 19 < anyio.current_time() - start < 21
        assert (waited["id"], waited["status"]) == (task_id, "pending")
        assert "wait_for_task" in waited["next"]
        at_once = await answer(client, "wait_for_task", task_id=task_id, timeout_seconds=0)
        assert at_once["status"] == "pending"
        read = await call(client, "get_task", task_id=task_id)
        assert read.is_error
        assert "for two minutes after it was made" in text(read)


async def test_a_task_of_others_that_becomes_known_is_waited_for(world: World) -> None:
    """Like a task that was requested here."""
    task_id = await make_elsewhere(world)
    world.sandbox.faults.add(Fault("task", "status", times=3, status=404))
    async with world.service() as service:
        done, _ = await wait(service, task_id, 200)
    assert done.task.status == "completed"


async def test_an_old_id_that_nobody_knows_is_an_error_at_once(world: World) -> None:
    """Waiting would not help."""
    async with world.service() as service:
        start = now()
        for task_id in ("task-unified-1757169743-7cvnl5zw", f"task-unified-{EPOCH - 121:.0f}-a"):
            with pytest.raises(NotFound) as caught:
                await wait(service, task_id)
            assert not isinstance(caught.value, NotKnownYet)
        assert now() - start < 1


@pytest.mark.parametrize("number", ["1", "9999999999", "1757169743000000", "x"])
async def test_an_id_without_a_time_is_new_for_the_first_two_minutes_of_its_waits(
    world: World, number: str
) -> None:
    """Over all its waits together; a single read is an error."""
    task_id = f"task-unified-{number}-abcdefgh"
    async with world.service() as service:
        with pytest.raises(NotFound):
            await service.get_task(task_id)
        start = anyio.current_time()
        for _ in range(2):
            assert (await wait(service, task_id))[0].task.status == "pending"
        with pytest.raises(NotFound):
            await wait(service, task_id, 100)
        assert 119 < anyio.current_time() - start < 160


async def test_a_finished_task_that_is_unknown_is_answered_from_the_ledger(world: World) -> None:
    """Its end was seen: nothing more will change."""
    async with world.service() as service:
        asked = await generate(service)
        await anyio.sleep(60)
        world.sandbox.faults.add(Fault("task", "patch", body={"status": "failed"}))
        await service.get_task(asked.task.id)
        world.sandbox.faults.add(ALWAYS)
        waited, took = await wait(service, asked.task.id)
    assert waited.task.status == "failed"
    assert took < 1


@pytest.mark.parametrize("times", [3, None])
async def test_the_command_waits_for_a_new_task_and_gives_up_an_unknown_one(
    world: World, tmp_path: Path, times: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and stops reading."""
    monkeypatch.setattr(command, "Runtime", world.runtime)
    world.sandbox.faults.add(Fault("task", "status", times=times, status=404))
    request = request_of(ADDRESS, "The cat yawns.")
    settings = Settings.load(world.environ)
    if times is None:
        with pytest.raises(NotFound, match="404"):
            await command.generate(settings, request, tmp_path / "cat.mp4")
        assert re.fullmatch("1[0-9]", str(reads(world)))
        assert anyio.current_time() > 119
    else:
        assert (await command.generate(settings, request, tmp_path / "cat.mp4")).exists()
