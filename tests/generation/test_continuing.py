"""Continuing a task's video from its last frame: the picture, the request, the ledger and the texts."""
# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from PIL import Image

from tests.calls import ADDRESS, answer, call, made, text
from tests.world import World, picture, render_one_second
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
SIZE = (740, 554)
"""Of a video at 480p that the sandbox makes from a picture of 800 by 600 pixels."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, seconds=60, render=render_one_second)


def sent(world: World) -> list[Any]:
    """The bodies of all requests that were sent."""
    return [call.body for call in world.records.calls if call.at == "submit"]


def uploaded(world: World, number: int) -> Image.Image:
    """The picture of a request that was sent."""
    upload = world.sandbox.uploads.at(sent(world)[number]["image_urls"][0])
    assert upload is not None
    return Image.open(BytesIO(upload.content))


async def refused(client: Client, world: World, task_id: str) -> str:
    """The error of a request that is refused before anything is sent."""
    before = world.records.posts
    result = await call(client, "generate_video", prompt="on", image_urls=[task_id])
    assert result.is_error, text(result)
    assert world.records.posts == before
    assert text(result).endswith("Nothing was sent or charged.")
    return text(result)


async def test_a_video_goes_on_where_another_ended(world: World, client: Client) -> None:
    """The last frame is uploaded at its own size, and the answer and the ledger name the parent."""
    first = await made(client)
    second = await call(client, "generate_video", prompt="on", image_urls=[first])
    assert second.structured_content is not None
    assert second.structured_content["continues"] == first
    assert second.structured_content["part"] == 2
    assert f"continues {first}" in text(second)
    assert second.structured_content["image"]["name"] == "last frame"
    frame = uploaded(world, 1)
    assert (frame.format, frame.size) == ("PNG", SIZE)
    [row, _] = await world.rows()
    assert (row.parent, row.part, row.take) == (first, 2, 1)
    assert world.records.posts == len(world.records.paid) == 2


async def test_equal_requests_are_equal_by_the_parents_id(world: World, client: Client) -> None:
    """The frame may come from the link or the saved file, or be lost; other takes are other requests."""
    first = await made(client)
    on = {"prompt": "on", "image_urls": [first]}
    asked = await answer(client, "generate_video", **on)
    await call(client, "save_video", task_id=first)
    saved = await answer(client, "generate_video", **on | {"image_urls": [f' "{first}" ']})
    other = await answer(client, "generate_video", **on, take=2)
    for video in Path(world.environ["WAN_MCP_OUTPUT_DIR"]).iterdir():
        video.unlink()
    world.sandbox.faults.add(Fault("result", "status", status=404, times=None))
    gone = await answer(client, "generate_video", **on)
    assert saved["id"] == gone["id"] == asked["id"] != other["id"]
    assert gone["repeated"] is True
    assert world.records.posts == len(world.records.paid) == 3
    assert world.records.uploads == 1


async def test_the_saved_file_is_enough(world: World, client: Client) -> None:
    """Also when the link has expired and the API has forgotten the task."""
    first = await made(client)
    await call(client, "save_video", task_id=first)
    await anyio.sleep(10 * DAY)
    second = await answer(client, "generate_video", prompt="on", image_urls=[first])
    assert second["continues"] == first


async def test_a_video_in_the_place_of_its_tasks_id_is_refused_with_what_to_give(
    world: World, client: Client
) -> None:
    """An answer shows the path and the link of a video, so a model may give those."""
    saved = await answer(client, "save_video", task_id=await made(client))
    for shown in (saved["saved_to"], saved["results"][0]):
        said = await refused(client, world, shown)
        assert "is an MP4 or QuickTime video" in said
        assert "To continue a video of a task, give that task's id" in said


async def test_a_file_that_is_another_one_by_now_does_not_count(world: World, client: Client) -> None:
    """The video is fetched again while its link works; later it is gone."""
    first = await made(client)
    saved = await answer(client, "save_video", task_id=first)
    Path(saved["saved_to"]).write_bytes(b"something else")
    assert (await answer(client, "generate_video", prompt="on", image_urls=[first]))["part"] == 2
    assert uploaded(world, 1).size == SIZE
    await anyio.sleep(DAY)
    assert "The video is gone" in await refused(client, world, first)


async def test_what_cannot_be_continued_is_refused_in_words(world: World, client: Client) -> None:
    """A task that is running, failed, unknown, without a video, or whose video is gone; nothing is sent."""
    running = (await answer(client, "generate_video", prompt="run", image_urls=[ADDRESS]))["id"]
    said = await refused(client, world, running)
    assert f"task {running} cannot be continued. There is no video yet: the task is pending." in said
    assert f"Call wait_for_task with task_id {running} first." in said
    world.sandbox.faults.add(Fault("submit", "fail", code="service_error"))
    failed = (await answer(client, "generate_video", prompt="fail", image_urls=[ADDRESS]))["id"]
    await anyio.sleep(100)
    said = await refused(client, world, failed)
    assert f"task {failed} cannot be continued. The task failed, so there is no video." in said
    assert f"Call get_task with task_id {failed}: it says why, and what to do next." in said
    unknown = "task-unified-1600000000-unknown1"
    assert f"task {unknown} cannot be continued." in await refused(client, world, unknown)
    link = world.sandbox.uploads.add("cat.png", picture()).body("https://files.evolink.ai")["file_url"]
    world.sandbox.faults.add(Fault("task", "patch", body={"results": [link]}, times=None))
    image = await made(client, prompt="show")
    assert "a PNG picture" in await refused(client, world, image)
    await anyio.sleep(DAY)
    world.sandbox.faults.clear()
    said = await refused(client, world, image)
    assert "The video is gone; generate_video with another take makes a new one, which costs" in said
    assert "Ask the user first." in said


async def test_a_video_that_cannot_be_fetched_just_now_is_no_matter_of_another_tool(
    world: World, client: Client
) -> None:
    """Its host may only be down: the advice is to try the same call again, whichever it was."""
    first = await made(client)
    world.sandbox.faults.add(Fault("result", "status", status=503, times=None))
    said = [
        await refused(client, world, first),
        text(await call(client, "preview_video", task_id=first)),
        text(await call(client, "join_videos", task_ids=[first, first])),
    ]
    assert all("Try again later; nothing is lost while the link works." in one for one in said)
    assert not any("save_video" in one for one in said)


async def test_a_long_chain_is_worth_a_hint(world: World, client: Client) -> None:
    """There is a hint from the seventh part on, and none before."""
    task_id = await made(client)
    for part in range(2, 9):
        result = await call(client, "generate_video", prompt="on", image_urls=[task_id], quality="480p")
        assert result.structured_content is not None
        assert result.structured_content["part"] == part
        assert ("contrast and colours drift" in text(result)) is (part > 6)
        task_id = result.structured_content["id"]
        await anyio.sleep(100)


async def test_the_list_shows_what_continues_what(world: World, client: Client) -> None:
    """In the data and in the text."""
    first = await made(client)
    await answer(client, "generate_video", prompt="on", image_urls=[first])
    listed = await call(client, "list_tasks")
    assert listed.structured_content is not None
    second, beginning = listed.structured_content["tasks"]
    assert (second["continues"], second["part"], second["picture"]) == (first, 2, "last frame")
    assert "continues" not in beginning
    assert f"part 2, continues {first}" in text(listed)


async def test_a_task_of_another_program_can_be_continued(world: World, client: Client) -> None:
    """The account has the task, and this ledger does not: its place in a chain is not known."""
    first = world.sandbox.add_foreign()
    await anyio.sleep(100)
    second = await answer(client, "generate_video", prompt="on", image_urls=[first])
    assert (second["continues"], second["part"]) == (first, 2)
