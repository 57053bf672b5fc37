"""What a wait says about the time left, and how soon it sees an end that nothing announced."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp import Client

from tests.calls import ARGUMENTS, answer, call
from tests.clock import now
from tests.generation.gateway import API
from tests.world import KEY, World
from wan_mcp.evolink import Task
from wan_mcp.generation.expectation import Expectation
from wan_mcp.generation.places import OutputFolder
from wan_mcp.generation.reading import TaskReader
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.task_source import TaskSource
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


def told(**fields: Any) -> Fault:
    """Replace these fields in every answer about a task."""
    return Fault("task", "patch", times=None, body=fields)


async def seconds_left(client: Client, task_id: str) -> list[tuple[float, float]]:
    """The moments at which a wait told the time left, and the seconds that it told."""
    shown: list[tuple[float, float]] = []

    async def notice(progress: float, total: float | None, message: str | None) -> None:
        if found := re.search(r"about (\d+) s left", message or ""):
            shown.append((now(), float(found[1])))

    arguments = {"task_id": task_id, "timeout_seconds": 50}
    await client.call_tool("wait_for_task", arguments, progress_callback=notice)
    return shown


@pytest.mark.parametrize("percent", [None, 1, 5, 20, 40, 60, 90])
@pytest.mark.parametrize("seconds", [30, 120, 400])
async def test_the_time_left_falls_unless_it_is_corrected(
    world: World, seconds: float, percent: int | None
) -> None:
    """Also where the percentage stands still: it rises only by a correction of more than a quarter."""
    world.sandbox.seconds = seconds
    if percent is not None:
        world.sandbox.faults.add(told(progress=percent, status="processing", results=[]))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        shown = [*await seconds_left(client, task_id), *await seconds_left(client, task_id)]
    assert shown
    for (_, before), (_, after) in pairwise(shown):
        assert after <= before or after > before * 1.25


async def test_a_percentage_that_jumps_back_moves_the_time_left_little(world: World) -> None:
    """Percentages are a hint: after 50, 48, 52 and 49 percent, the time left does not rise by seconds."""
    for percent in (50, 48, 52, 49, 51, 47, 53, 46):
        world.sandbox.faults.add(Fault("task", "patch", body={"progress": percent, "status": "processing"}))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await anyio.sleep(50)
        shown = await seconds_left(client, task_id)
    for (_, before), (_, after) in pairwise(shown):
        assert after <= before or after > before * 1.25


@pytest.mark.parametrize("estimate", [{}, None, {"estimated_time": None}, {"estimated_time": 0}])
async def test_the_estimate_of_the_submission_is_remembered(world: World, estimate: Any) -> None:
    """Where later answers leave it out, the time left still comes from it, also in another program."""
    world.sandbox.faults.add(told(task_info=estimate))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        assert await seconds_left(client, task_id)
    async with world.client() as other:
        found = await answer(other, "get_task", task_id=task_id)
    assert found["estimated_time"] == 120


async def test_what_a_later_answer_leaves_out_stays_known(world: World) -> None:
    """The reserved credits, the time of creation, and the model."""
    async with world.client() as client:
        begun = await answer(client, "generate_video", **ARGUMENTS)
        world.sandbox.faults.add(told(usage=None, created=None, model=None, task_info=None))
        found = await answer(client, "get_task", task_id=begun["id"])
    for name in ("credits", "created", "model", "estimated_time"):
        assert found[name] == begun[name], name


@pytest.mark.parametrize("percent", [None, 0, 40, 99])
@pytest.mark.parametrize("seconds", [8, 20, 33, 90])
async def test_an_end_of_which_nothing_is_told_is_seen_within_eight_seconds(
    world: World, seconds: float, percent: int | None
) -> None:
    """Without an estimate or a percentage that changes, no pause between two reads is longer."""
    world.sandbox.seconds = seconds
    world.sandbox.faults.add(Fault("submit", "patch", body={"task_info": None, "progress": percent}))
    world.sandbox.faults.add(told(task_info=None, progress=percent))
    async with world.client() as client:
        began = now()
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        view: dict[str, Any] = {}
        while view.get("status") != "completed":
            view = (await call(client, "wait_for_task", task_id=task_id)).structured_content or {}
    assert now() - began <= seconds + 8
    reads = [one.time for one in world.records.calls if one.at == "task"]
    assert max(after - before for before, after in pairwise(reads)) <= 8


async def test_a_task_at_one_hundred_percent_is_not_expected_to_take_as_long_as_estimated(
    world: World,
) -> None:
    """Only its link is missing: the time left does not go back to the estimate."""
    for percent in (70, 80, 90):
        world.sandbox.faults.add(Fault("task", "patch", body={"progress": percent, "status": "processing"}))
    world.sandbox.faults.add(told(progress=100, status="completed", results=[]))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        shown = await seconds_left(client, task_id)
    assert shown[-1][1] < 30


async def test_an_estimate_that_cannot_be_true_is_not_told(world: World) -> None:
    """A billion seconds."""
    world.sandbox.faults.add(Fault("submit", "patch", body={"task_info": {"estimated_time": 1e9}}))
    world.sandbox.faults.add(told(task_info={"estimated_time": 1e9}))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        assert all(left < 1000 for _, left in await seconds_left(client, task_id))


@example(4.1, 4.1, 5.4)
@given(st.floats(1, 300), st.floats(0, 60), st.floats(1, 300))
def test_a_correction_is_above_a_quarter_in_whole_seconds_too(
    first: float, later: float, then: float
) -> None:
    """As a person reads it, 4 s and then 5 s is no correction."""
    expectation, shown = Expectation(), []
    for at, seconds in ((0.0, first), (later, then)):
        expectation.learn(Task(id="a", status="processing", estimated_time=seconds), 0.0, at)
        shown.append(round(expectation.left(at) or 0.0))
    assert shown[1] <= shown[0] or shown[1] > shown[0] * 1.25


async def test_a_percentage_that_has_stopped_does_not_make_the_time_left_jump(world: World) -> None:
    """It stays at 60 for minutes: the time left falls to 0, and stays there."""
    world.sandbox.seconds = 600
    for percent in (20, 40):
        world.sandbox.faults.add(Fault("task", "patch", body={"progress": percent, "status": "processing"}))
    world.sandbox.faults.add(told(progress=60, status="processing", task_info=None))
    world.sandbox.faults.add(Fault("submit", "patch", body={"task_info": {"estimated_time": 60}}))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        shown = [one for _ in range(5) for one in await seconds_left(client, task_id)]
    times = [left for _, left in shown]
    assert len(times) > 2
    assert sum(after > before for before, after in pairwise(times)) <= 1


async def test_what_another_program_has_read_counts_from_when_it_read_it(world: World) -> None:
    """Its percentage is as old as that read: both programs tell the same time left."""
    world.sandbox.faults.add(Fault("submit", "patch", body={"task_info": None}), told(task_info=None))
    folder = Path(world.environ["WAN_MCP_DATA_DIR"])
    one, other = SqliteLedger(folder), SqliteLedger(folder)
    first, second = (
        TaskReader(
            TaskSource(world.evolink(), ledger, now),
            ledger,
            now,
            lambda task_id: None,
            OutputFolder(folder, ledger, folder),
        )
        for ledger in (one.for_owner(API, KEY), other.for_owner(API, KEY))
    )
    async with world.service() as service:
        task_id = (await service.generate(GenerationRequest.model_validate(ARGUMENTS))).task.id
    await anyio.sleep(30)
    await second.poll(task_id, 0)
    await anyio.sleep(30)
    await first.read(task_id)
    await anyio.sleep(15)
    reads = world.records.reads
    snapshot, _ = await second.poll(task_id, 20)
    await one.aclose()
    await other.aclose()
    assert world.records.reads == reads
    assert snapshot.time_left == pytest.approx(45, abs=2)
