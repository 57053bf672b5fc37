"""Equal requests are one request: one after the other, and at the same time."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.calls import ARGUMENTS, answer, call, text
from tests.generation.gateway import EVERY_FORM, gateway, generate
from tests.world import World, picture
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


async def test_the_same_request_has_its_task_and_says_so(world: World) -> None:
    """The second answer has the first one's task in its present state, as object and as text."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        await anyio.sleep(60)
        again = await call(client, "generate_video", **ARGUMENTS)
    assert again.structured_content is not None
    assert "repeated" not in first
    assert again.structured_content["repeated"] is True
    assert again.structured_content["id"] == first["id"]
    assert again.structured_content["status"] == "processing"
    assert "An equal request was made before" in text(again)
    assert "nothing was charged again" in text(again)
    assert "For another version, set take to 2." in text(again)
    assert world.records.posts == len(world.records.paid) == 1


async def test_a_default_that_is_said_makes_no_other_request(world: World) -> None:
    """The order of the arguments makes no other request, either; another duration does."""
    async with world.service() as service:
        first = await generate(service)
        again = await generate(service, duration=5, quality="720p", prompt_extend=True)
        other = await generate(service, duration=10)
    assert (again.task.id, again.repeated) == (first.task.id, True)
    assert (other.repeated, world.records.posts) == (False, 2)


async def test_the_same_picture_at_another_place_is_the_same_request(world: World, tmp_path: Path) -> None:
    """Its bytes count."""
    for name in ("cat.png", "copy of cat.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "dog.png").write_bytes(picture(900, 700))
    async with world.service() as service:
        first = await generate(service, image_urls=[str(tmp_path / "cat.png")])
        again = await generate(service, image_urls=[(tmp_path / "copy of cat.png").as_uri()])
        other = await generate(service, image_urls=[str(tmp_path / "dog.png")])
    assert (again.task.id, again.repeated) == (first.task.id, True)
    assert other.repeated is False
    assert world.records.posts == 2


@pytest.mark.parametrize(
    ("minutes", "after", "repeated"), [("60", 3590, True), ("60", 3610, False), ("0", 1, False)]
)
async def test_after_the_window_the_same_request_is_a_new_one(
    world: World, minutes: str, after: float, repeated: bool
) -> None:
    """The setting says for how long; 0 turns it off."""
    async with world.service(WAN_MCP_REPEAT_MINUTES=minutes) as service:
        first = await generate(service)
        await anyio.sleep(after)
        second = await generate(service)
    assert second.repeated is repeated
    assert (second.task.id == first.task.id) is repeated
    assert world.records.posts == (1 if repeated else 2)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_may_be_requested_again(world: World, status: str) -> None:
    """It cost nothing, and the next call makes another task."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        world.sandbox.faults.add(Fault("task", "patch", body={"status": status}))
        seen = await call(client, "get_task", task_id=first["id"])
        assert "not charged" in text(seen)
        second = await answer(client, "generate_video", **ARGUMENTS)
    assert second["id"] != first["id"]
    assert "repeated" not in second


@pytest.mark.slow
@EVERY_FORM
async def test_fifty_equal_calls_at_once_are_one_request(tmp_path: Path, form: str) -> None:
    """All of them get the task, and one of them made it."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "slow", seconds=3))
    snapshots: list[TaskSnapshot] = []

    async def ask(service: VideoService) -> None:
        snapshots.append(await generate(service))

    async with world.service() as service, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask, service)
    assert len({snapshot.task.id for snapshot in snapshots}) == 1
    assert [snapshot.repeated for snapshot in snapshots].count(False) == 1
    assert len(snapshots) == 50
    assert world.records.posts == len(world.records.paid) == 1


async def test_fifty_equal_calls_of_a_client_are_one_request(world: World) -> None:
    """The same over the protocol."""
    answers: list[dict[str, Any]] = []

    async def ask(client: Client) -> None:
        answers.append(await answer(client, "generate_video", **ARGUMENTS))

    async with world.client() as client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask, client)
    assert len(answers) == 50
    assert len({found["id"] for found in answers}) == world.records.posts == 1


async def test_two_servers_on_one_ledger_make_one_request(world: World) -> None:
    """Two clients have the same request at the same time."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=3))
    snapshots: list[TaskSnapshot] = []

    async def ask(service: VideoService) -> None:
        snapshots.append(await generate(service))

    async with world.service() as one, world.service() as two, anyio.create_task_group() as group:
        group.start_soon(ask, one)
        group.start_soon(ask, two)
    assert len({snapshot.task.id for snapshot in snapshots}) == world.records.posts == 1


@pytest.mark.slow
async def test_fifty_different_requests_are_fifty_requests(tmp_path: Path) -> None:
    """Each has its own task and its own row."""
    world = gateway(tmp_path, credits=10_000.0)
    found: dict[str, str] = {}

    async def ask(service: VideoService, prompt: str) -> None:
        found[prompt] = (await generate(service, prompt)).task.id

    async with world.service() as service:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, service, f"Cat {number} yawns.")
        rows = {entry.prompt: entry.task.id for entry in await world.rows() if entry.task}
    assert world.records.posts == 50
    assert rows == found == {payment.prompt: payment.task_id for payment in world.records.paid}
