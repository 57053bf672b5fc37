"""Takes: versions of the same request, each paid once."""

from pathlib import Path

import anyio
import pytest

from tests.calls import ARGUMENTS, answer, call, text
from tests.generation.gateway import EVERY_FORM, gateway, generate, listed
from tests.world import World
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


@EVERY_FORM
async def test_takes_in_parallel_are_as_many_videos_each_paid_once(tmp_path: Path, form: str) -> None:
    """Three variations, requested by nine calls at once, and once more afterwards."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "slow", None, seconds=3))
    found: list[tuple[int, str]] = []

    async with world.client() as client:

        async def ask(take: int) -> None:
            made = await answer(client, "generate_video", **ARGUMENTS, take=take)
            assert made["take"] == take
            found.append((take, made["id"]))

        async with anyio.create_task_group() as group:
            for take in (1, 2, 3) * 3:
                group.start_soon(ask, take)
        for take in (1, 2, 3):
            await ask(take)
        rows = await listed(client)
    assert len(found) == 12
    assert len(set(found)) == len(world.records.paid) == world.records.posts == 3
    assert {(row["take"], row["id"]) for row in rows} == set(found)


async def test_the_first_take_is_the_one_that_is_meant_without_a_number(world: World) -> None:
    """The answer names the next one, and the text shows which it is."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        assert (await answer(client, "generate_video", **ARGUMENTS, take=1))["id"] == first["id"]
        second = await call(client, "generate_video", **ARGUMENTS, take=2)
        again = await call(client, "generate_video", **ARGUMENTS, take=2)
        shown = text(await call(client, "list_tasks"))
    assert "take 2" in text(second)
    assert "For another version, set take to 3." in text(again)
    assert "take 2" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"new_take": True}, "new_take is not an argument of generate_video; did you mean take: 2?"),
        ({"take": 0}, "take must be at least 1 and at most 99, not 0."),
        ({"take": 100}, "take must be at least 1 and at most 99, not 100."),
        ({"take": "two"}, "take must be a whole number."),
    ],
)
async def test_what_is_no_take_is_refused_in_words(
    world: World, arguments: dict[str, object], said: str
) -> None:
    """Nothing is sent."""
    async with world.client() as client:
        result = await call(client, "generate_video", **ARGUMENTS, **arguments)
    assert result.is_error
    assert said in text(result)
    assert world.records.posts == 0


async def test_a_take_shows_in_the_name_of_its_file(tmp_path: Path) -> None:
    """So that the versions can be told apart on the disk."""
    world = gateway(tmp_path, seconds=10)
    world.environ["WAN_MCP_ALLOW_PRIVATE_NETWORK"] = "1"
    async with world.service() as service:
        snapshot = await generate(service, take=2)
        await anyio.sleep(20)
        saved = (await service.save(snapshot.task.id, None)).saved
    assert saved is not None
    assert Path(saved.path).name == "the-cat-yawns-take-2.mp4"
