"""What a real server says while it makes a video on the sandbox, for a card that is shown later."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp.types import CallToolResult
from pydantic import BaseModel

from tests.calls import call
from tests.clock import JumpingLoop
from tests.world import World
from wan_mcp.cli.demo import draw
from wan_mcp.sandbox.render import render

PROMPT = "Drift slowly towards the sun."
SECONDS = 75
"""How long the imitated generation takes."""
SHOWN_FOLDER = "~/Videos/wan-mcp"
"""Stands for the folder of the recording."""
SHOWN_PICTURE = "~/Pictures/lake.png"
"""Stands for the picture: a path, since most clients do not pass on one that is pasted into the chat."""


@dataclass(frozen=True)
class Recording:
    begun: dict[str, Any]
    """The answer of ``generate_video``."""
    reads: list[dict[str, Any]]
    """The answers to the card's reads; the last one tells where the video is saved."""
    poster: dict[str, Any]
    video: bytes


def record(folder: Path) -> Recording:
    """Ask for a video and read its task as the card does; the waiting takes no time.

    Args:
        folder: an empty one; the video and the server's data are left there.
    """
    random.seed(1)  # The pace of the reads has jitter, and each recording shall be the same.
    picture = draw(folder / "lake.png")
    said = anyio.run(_converse, folder, picture, backend_options={"loop_factory": JumpingLoop})
    videos = folder / "videos"
    begun, *reads, poster = (
        json.loads(
            answer.model_dump_json(by_alias=True, exclude_none=True).replace(str(videos), SHOWN_FOLDER)
        )
        for answer in said
    )
    (video,) = videos.glob("*.mp4")
    return Recording(begun, reads, poster, video.read_bytes())


async def _converse(folder: Path, picture: Path) -> list[BaseModel]:
    """The answers to the request and to the card's reads, and then the poster."""
    world = World(folder, seconds=SECONDS, render=render)
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        answers = [await call(client, "generate_video", prompt=PROMPT, image_urls=[str(picture)])]
        task_id = _facts(answers[0])["id"]
        while _facts(answers[-1])["status"] != "completed":
            await anyio.sleep((answers[-1].meta or {})["wan-mcp/next_read_seconds"] + 0.5)
            answers.append(await call(client, "get_task", task_id=task_id))
        answers.append(await call(client, "wait_for_task", task_id=task_id))
        return [*answers, await client.read_resource(f"wan://tasks/{task_id}/poster")]


def _facts(answer: CallToolResult) -> dict[str, Any]:
    assert answer.structured_content, answer
    return dict(answer.structured_content)
