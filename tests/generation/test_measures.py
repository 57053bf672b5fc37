"""What is counted: each paid request once, each read, and how each wait ends."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import PROMPT
from tests.generation.gateway import EVERY_FORM, gateway, generate, paid_for
from tests.world import World
from wan_mcp.errors import NotFound, WanError
from wan_mcp.generation.measures import WaitOutcome
from wan_mcp.generation.service import VideoService
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


@dataclass
class Told:
    """Measures that remember all they are told."""

    credits: list[float] = field(default_factory=list)
    reads: int = 0
    open: int = 0
    outcomes: list[WaitOutcome] = field(default_factory=list)

    def submitted(self, credits: float) -> None:
        self.credits.append(credits)

    def read(self) -> None:
        self.reads += 1

    def wait_began(self) -> None:
        self.open += 1

    def wait_ended(self, outcome: WaitOutcome) -> None:
        self.open -= 1
        self.outcomes.append(outcome)


@pytest.fixture
def told() -> Told:
    return Told()


async def wait(service: VideoService, task_id: str, seconds: float) -> None:
    async def ignore(*progress: object) -> None: ...

    await service.wait(task_id, seconds, ignore)


async def test_a_request_is_counted_once_however_often_it_is_made(world: World, told: Told) -> None:
    """Also by callers at the same time; another take is another request."""
    async with world.service({"measures": told}) as service:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(generate, service)
        await generate(service)
        await generate(service, take=2)
    assert len(told.credits) == len(world.records.paid) == 2


@EVERY_FORM
async def test_a_request_whose_answer_was_lost_is_counted_once(tmp_path: Path, told: Told, form: str) -> None:
    """Whether its task is found in the list, or a repeat is answered with it, or makes another one."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service({"measures": told}) as service:
        await generate(service)
    assert paid_for(world, PROMPT)
    assert len(told.credits) == 1
    assert told.reads == sum(call.at == "task" for call in world.records.calls)


async def test_another_process_that_finds_the_task_counts_the_request(tmp_path: Path, told: Told) -> None:
    """The one that sent it ended before there was an answer, and counted nothing."""
    world, before = gateway(tmp_path, "list"), Told()
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service({"measures": before}) as service:
        with pytest.raises(WanError):
            await generate(service, patience=1)
    async with world.service({"measures": told}) as service:
        await generate(service)
    assert (before.credits, len(told.credits)) == ([], 1)


async def test_a_request_that_gets_another_ones_task_is_not_counted(world: World, told: Told) -> None:
    """As of a gateway that makes no second task where nothing differs for it."""
    async with world.service({"measures": told}) as service:
        task_id = (await generate(service)).task.id
        world.sandbox.faults.add(Fault("submit", "patch", body={"id": task_id}))
        assert (await generate(service, take=2)).task.id == task_id
    assert len(told.credits) == 1


async def test_a_refused_request_is_not_counted(world: World, told: Told) -> None:
    """Nothing was reserved for it."""
    world.sandbox.faults.add(Fault("submit", "status", status=402))
    async with world.service({"measures": told}) as service:
        with pytest.raises(WanError):
            await generate(service)
    assert told.credits == []


@pytest.mark.parametrize(("said", "counted"), [({"credits_reserved": 7}, 7), ({}, 25.5)])
async def test_the_credits_are_those_reserved_or_else_the_estimate(
    world: World, told: Told, said: dict[str, Any], counted: float
) -> None:
    """As Evolink says them in its answer."""
    world.sandbox.faults.add(Fault("submit", "patch", body={"usage": said}))
    async with world.service({"measures": told}) as service:
        await generate(service)
    assert told.credits == [counted]


async def test_only_reads_that_go_to_evolink_are_counted(world: World, told: Told) -> None:
    """Two callers at once share one; so does one who asks again at once."""
    async with world.service({"measures": told}) as service:
        task_id = (await generate(service)).task.id
        await anyio.sleep(30)
        async with anyio.create_task_group() as group:
            group.start_soon(service.get_task, task_id)
            group.start_soon(service.get_task, task_id)
        await service.get_task(task_id)
        assert told.reads == 1
        await wait(service, task_id, 200)
    assert told.reads == sum(call.at == "task" for call in world.records.calls) > 1


async def test_a_wait_is_counted_by_how_it_ends(world: World, told: Told) -> None:
    """The time is up, the caller is gone, the task does not exist, the task is over."""
    async with world.service({"measures": told}) as service:
        task_id = (await generate(service)).task.id
        await wait(service, task_id, 10)
        with anyio.move_on_after(5):
            await wait(service, task_id, 100)
        with pytest.raises(NotFound):
            await wait(service, "task-unified-1700000000-unknown", 10)
        await wait(service, task_id, 200)
    assert told.outcomes == ["time_up", "cancelled", "failed", "over"]
    assert told.open == 0


async def test_a_wait_that_the_end_of_the_server_cuts_short_is_one_whose_time_is_up(
    world: World, told: Told
) -> None:
    """Until then it is open."""
    async with world.service({"measures": told}) as service:
        task_id = (await generate(service)).task.id
        async with anyio.create_task_group() as group:
            group.start_soon(wait, service, task_id, 100)
            await anyio.sleep(10)
            assert told.open == 1
            service.end_waits()
    assert (told.open, told.outcomes) == (0, ["time_up"])
