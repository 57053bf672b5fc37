"""``wan-mcp join``: what a person at a terminal is told when there is no film."""

import errno
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import made
from tests.world import World, render_one_second
from wan_mcp.cli import join as command
from wan_mcp.errors import InvalidRequest, VideoError
from wan_mcp.generation import joining
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, seconds=60, render=render_one_second)
    monkeypatch.setattr(command, "Runtime", world.runtime)
    return world


async def test_a_full_disk_is_said_with_what_helps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is about the disk, not about the tasks; nothing is left behind."""

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with world.client() as client:
        tasks = [await made(client), await made(client, "The cat sleeps.")]
    monkeypatch.setattr(joining, "join_files", full)
    folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])
    with pytest.raises(VideoError, match="the disk is full") as refused:
        await command.join(Settings.load(world.environ), tasks, f"{folder}/")
    assert refused.value.next_step == "Free some space on the disk, or name another place with --output."
    assert [path async for path in anyio.Path(folder).iterdir()] == []


async def test_one_task_is_no_film(world: World) -> None:
    """It is refused with the text of the tool, before anything is read."""
    with pytest.raises(InvalidRequest, match=r"task_ids must have 2 to 20 entries, not 1\."):
        await command.join(Settings.load(world.environ), ["task-unified-1"], None)
    assert world.records.calls == []
