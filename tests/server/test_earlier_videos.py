"""The video from yesterday: how it is found, where it is, and whether its link still works."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.calls import ADDRESS, ARGUMENTS, answer, call, text
from tests.clock import EPOCH, now
from tests.world import World, picture
from wan_mcp.cli import tasks as command
from wan_mcp.evolink import values
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.sandbox import Fault
from wan_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("in_utc")]

DAY = 86_400.0
DEAD = (Fault("result", "status", times=None, status=404), Fault("file", "status", times=None, status=404))


async def completed(client: Client, **arguments: Any) -> str:
    """The id of a task whose completion the server has seen."""
    task_id: str = (await answer(client, "generate_video", **ARGUMENTS | arguments))["id"]
    for _ in range(3):
        await call(client, "wait_for_task", task_id=task_id)
    return task_id


async def printed(world: World) -> tuple[str, dict[str, Any]]:
    """The newest row, as ``wan-mcp tasks`` prints it for people and as JSON."""
    settings = Settings.load(world.environ)
    [line] = await command.lines(settings, 1, as_json=False, clock=now)
    [facts] = await command.lines(settings, 1, as_json=True, clock=now)
    return line, json.loads(facts)


async def test_a_saved_video_is_found_the_next_day(world: World, tmp_path: Path) -> None:
    """The list, the resource and both forms of the command show the path, and that the link has expired."""
    path = tmp_path / "IMG_4711.png"
    path.write_bytes(picture())
    async with world.client(WAN_MCP_AUTOSAVE="0") as client:
        task_id = await completed(client, image_urls=[str(path)], prompt="The dog wags its tail.", take=2)
        saved = (await answer(client, "save_video", task_id=task_id))["saved_to"]
        await anyio.sleep(DAY)
        result = await call(client, "list_tasks")
        read = await client.read_resource("wan://tasks")
    row = {
        "id": task_id,
        "status": "completed",
        "asked": "yesterday 14:13 UTC",
        "asked_at": "2026-09-21T14:13:20Z",
        "prompt": "The dog wags its tail.",
        "take": 2,
        "duration": 5,
        "quality": "720p",
        "picture": "IMG_4711.png",
        "saved_to": saved,
        "link": "expired today 14:15 UTC",
        "expires_at": "2026-09-22T14:15:25Z",
        "credits": 25.5,
        "dollars": "$0.38",
    }
    assert result.structured_content is not None
    [found] = result.structured_content["tasks"]
    assert found | {"expires_at": row["expires_at"]} == row
    assert json.loads(read.contents[0].text)["tasks"] == [found]  # type: ignore[union-attr]
    shown = (
        f"{task_id} completed, yesterday 14:13 UTC\n"
        '  "The dog wags its tail." from IMG_4711.png\n'
        "  5 s, 720p, take 2, 25.5 credits ($0.38)\n"
        f"  saved: {saved}\n"
        "  link: expired today 14:15 UTC"
    )
    assert text(result) == f"{shown}\nTell the user the path of a video, or its link."
    line, facts = await printed(world)
    assert line == f"#1 {shown}"
    assert facts == found | {
        "number": 1,
        "missing": None,
        "from_text": None,
        "continues": None,
        "part": None,
        "progress": None,
        "results": [],
        "kept": None,
        "error": None,
        "recovered": False,
        "made_elsewhere": False,
    }


async def test_a_link_is_shown_as_long_as_it_works_and_never_after(world: World) -> None:
    """To the second, by the ledger's times; after that, no advice names the link or save_video."""
    async with world.client(WAN_MCP_AUTOSAVE="0") as client:
        task_id = await completed(client)
        [entry] = await world.rows()
        await anyio.sleep(until(entry) - 1)
        for tool in ("get_task", "wait_for_task"):
            alive = await answer(client, tool, task_id=task_id)
            assert alive["results"]
            assert "works until" in alive["next"]
            assert f"Call save_video with task_id {task_id}" in alive["next"]
        [row] = (await answer(client, "list_tasks"))["tasks"]
        assert row["results"] == alive["results"]
        for fault in DEAD:
            world.sandbox.faults.add(fault)
        early = text(await call(client, "save_video", task_id=task_id))
        assert "The link should still work: try again in a few minutes." in early
        await anyio.sleep(until(entry) + 0.5)
        for tool in ("get_task", "wait_for_task"):
            dead = await call(client, tool, task_id=task_id)
            assert dead.structured_content is not None
            assert "results" not in dead.structured_content
            assert len(dead.content) == 1
            assert dead.structured_content["next"] == (
                "Tell the user: the video is gone: its link expired today 14:15 UTC, and it is not saved "
                "here. generate_video with another take makes a new one, which costs about 25.5 credits "
                "($0.38). Ask the user first."
            )
        late = text(await call(client, "save_video", task_id=task_id))
        listed = await call(client, "list_tasks")
    assert "The video is gone; generate_video with another take makes a new one" in late
    assert "save_video" not in late + text(listed)
    assert "results" not in listed.structured_content["tasks"][0]


async def test_a_file_that_is_not_there_any_more_is_said_to_be(world: World) -> None:
    """Its old path is shown, so that a moved file is found; while the link works, a wait saves it again."""
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        task_id = await completed(client)
        path = anyio.Path((await answer(client, "wait_for_task", task_id=task_id))["saved_to"])
        await path.unlink()
        moved = await call(client, "list_tasks")
        assert f"\n  no longer at {path}\n" in text(moved)
        assert text(moved).endswith(f"Call wait_for_task with task_id {task_id} for the path of that video.")
        assert (await answer(client, "wait_for_task", task_id=task_id))["saved_to"] == str(path)
        await path.unlink()
        await anyio.sleep(DAY)
        gone = await call(client, "list_tasks")
    assert gone.structured_content is not None
    [row] = gone.structured_content["tasks"]
    assert (row["missing"], row["link"]) == (str(path), "expired today 14:15 UTC")
    assert row.keys().isdisjoint({"saved_to", "results"})
    assert text(gone).endswith("Another take costs as much again: ask the user first.")


def until(entry: Entry) -> float:
    """Seconds until the links of a completed task expire."""
    assert entry.completed_at is not None
    return entry.completed_at + DAY - now()


async def test_a_completion_that_was_seen_late_promises_no_day_from_then(world: World) -> None:
    """The 24 hours began when the video was expected to be made, not when the completion was seen."""
    async with world.client(WAN_MCP_AUTOSAVE="0") as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await anyio.sleep(20 * 3600)
        seen = await answer(client, "get_task", task_id=task_id)
        [row] = (await answer(client, "list_tasks"))["tasks"]
    ends = values.spoken(EPOCH + 120 + DAY, EPOCH + 20 * 3600)
    assert f"(the link works until {ends})" in seen["next"]
    assert row["link"] == f"works until {ends}"


async def test_a_file_that_was_deleted_is_not_shown(world: World) -> None:
    """While the link works it can be saved again; afterwards the video is gone."""
    async with world.client(WAN_MCP_AUTOSAVE="0") as client:
        task_id = await completed(client)
        await anyio.Path((await answer(client, "save_video", task_id=task_id))["saved_to"]).unlink()
        again = await answer(client, "generate_video", **ARGUMENTS)
        seen = await answer(client, "get_task", task_id=task_id)
        [row] = (await answer(client, "list_tasks"))["tasks"]
        for facts in (again, seen, row):
            assert "saved_to" not in facts
            assert "file" not in facts
            assert facts["results"]
        assert "Call save_video" in seen["next"]
        _, told = await printed(world)
        assert told["saved_to"] is None
        await anyio.sleep(DAY)
        assert "the video is gone" in (await answer(client, "get_task", task_id=task_id))["next"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("my cat.png", "my cat.png"),
        ("evil\n\x1b[31mname\u202e.png", "evil??[31mname?.png"),
        ("n" * 200 + ".png", "n" * 99 + "…"),
        ("k\u00e4tzchen #1?x=y.png", "k\u00e4tzchen #1?x=y.png"),
    ],
)
async def test_a_local_picture_is_known_by_its_name(
    world: World, tmp_path: Path, name: str, shown: str
) -> None:
    """Without its folder, on one line and within bounds."""
    (tmp_path / name).write_bytes(picture())
    async with world.client() as client:
        asked = await answer(client, "generate_video", prompt="go", image_urls=[str(tmp_path / name)])
        [row] = (await answer(client, "list_tasks"))["tasks"]
    assert (asked["image"]["name"], row["picture"]) == (shown, shown)


@pytest.mark.parametrize("check", ["1", "0"])
async def test_other_pictures_are_known_by_their_host_or_as_data(world: World, check: str) -> None:
    """Neither a user, a path, a query nor the content of a data: URI is kept."""
    data = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    async with world.client(WAN_MCP_IMAGE_CHECK=check) as client:
        await answer(client, "generate_video", prompt="a", image_urls=[f"{ADDRESS}?X-Amz-Signature=secret"])
        await answer(client, "generate_video", prompt="b", image_urls=[data])
        result = await call(client, "list_tasks")
    rows = (result.structured_content or {})["tasks"]
    assert [row["picture"] for row in rows] == ["data", "pictures.example.com"]
    assert "secret" not in str(result)
    assert "base64" not in str(result)


async def test_rows_from_before_names_were_kept_have_none(world: World) -> None:
    """They are listed like all others."""
    async with world.client() as client:
        await answer(client, "generate_video", **ARGUMENTS)
        folder = Path(world.environ["WAN_MCP_DATA_DIR"])
        with closing(sqlite3.connect(folder / FILE_NAME)) as file, file:
            file.execute("UPDATE entries SET image = json_remove(image, '$.name')")
        again = await answer(client, "generate_video", **ARGUMENTS)
        [row] = (await answer(client, "list_tasks"))["tasks"]
    assert again["image"] == {"width": 800, "height": 600, "format": "png"}
    assert "picture" not in row


async def test_a_completed_task_without_a_link_is_one_to_wait_for(tmp_path: Path) -> None:
    """As the task's own answer says."""
    world = World(tmp_path, faults=[Fault("task", "patch", times=None, body={"results": []})])
    async with world.client() as client:
        task_id = await completed(client)
        listed = await answer(client, "list_tasks")
    assert listed["next"] == f"Call wait_for_task with task_id {task_id} to wait for that one."


async def test_a_made_video_has_no_remark_on_fetching_its_picture(world: World) -> None:
    """Evolink has fetched the picture by then; before, a signed address may expire."""
    signed = ARGUMENTS | {"image_urls": [f"{ADDRESS}?sig=1"]}
    async with world.client() as client:
        assert "looks signed" in (await answer(client, "generate_video", **signed))["next"]
        await completed(client, **signed)
        again = await answer(client, "generate_video", **signed)
    assert again["repeated"]
    assert "looks signed" not in again["next"]
