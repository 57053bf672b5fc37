"""``generate_video_from_text``: what a client sees of a video that needs no picture."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError

from tests.calls import ARGUMENTS, ERAS, PROMPT, answer, call, text
from tests.server.test_text import DEAD, DONE, FAILED, entry, snapshot
from tests.world import World
from wan_mcp.evolink.prices import TEXT_GUESSED
from wan_mcp.generation import outcomes
from wan_mcp.generation.frames import Preview
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.owners import LOCAL
from wan_mcp.sandbox import Fault
from wan_mcp.server.films import preview_result
from wan_mcp.server.text import next_of_list, next_step
from wan_mcp.videos.frames import Sheet

TOOL = "generate_video_from_text"
MODELS = ("wan2.5-image-to-video", "wan2.5-text-to-video")


@pytest.mark.anyio
@ERAS
async def test_a_video_from_text_is_made_waited_for_saved_and_listed(world: World, mode: str) -> None:
    """With the same tools, and without any picture."""
    async with world.client(mode) as client:
        started = await answer(client, TOOL, prompt=PROMPT, aspect_ratio="9:16")
        for _ in range(3):
            done = await answer(client, "wait_for_task", task_id=started["id"])
        saved = await answer(client, "save_video", task_id=started["id"])
        again = await answer(client, TOOL, prompt=PROMPT, aspect_ratio="9:16")
        listed = await call(client, "list_tasks")
        with pytest.raises(MCPError, match="No poster of this task's picture is kept"):
            await client.read_resource(f"wan://tasks/{started['id']}/poster")
    assert (started["model"], done["status"], again["id"]) == (MODELS[1], "completed", started["id"])
    assert "image" not in started
    assert saved["saved_to"].endswith(".mp4")
    assert f'"{PROMPT}" from text' in text(listed)
    [line] = (listed.structured_content or {})["tasks"]
    assert line["from_text"] is True
    assert world.records.uploads == 0
    assert len(world.records.paid) == 1


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_chain_can_begin_with_words(tmp_path: Path) -> None:
    """The next part begins with the last frame of the video from text, and both are joined without loss."""
    world = World(tmp_path, render=None, seconds=5)
    async with world.client() as client:
        first = await answer(client, TOOL, prompt=PROMPT, aspect_ratio="9:16", quality="480p")
        for _ in range(3):
            await answer(client, "wait_for_task", task_id=first["id"])
        second = await answer(
            client, "generate_video", **ARGUMENTS | {"image_urls": [first["id"]]}, quality="480p"
        )
        for _ in range(3):
            await answer(client, "wait_for_task", task_id=second["id"])
        film = await answer(client, "join_videos", task_ids=[first["id"], second["id"]])
    assert (second["continues"], second["part"]) == (first["id"], 2)
    assert (film["lossless"], film["file"]["width"], film["file"]["height"]) == (True, 480, 854)
    assert [payment.task_id for payment in world.records.paid] == [first["id"], second["id"]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (TOOL, {}, "prompt is required"),
        (TOOL, {"prompt": ["A cat."]}, "prompt must be text"),
        (TOOL, {"prompt": "x" * 1001}, "prompt has 1,001 characters, but at most 1,000 are allowed"),
        (TOOL, ARGUMENTS, "image_urls is not an argument of generate_video_from_text"),
        (TOOL, ARGUMENTS, "A video from a picture is made by generate_video."),
        (TOOL, {"prompt": PROMPT, "image_url": "a.png"}, "A video from a picture is made by generate_video."),
        (
            TOOL,
            {"prompt": PROMPT, "aspect_ratio": "4:3", "quality": "480p"},
            "aspect_ratio 4:3 is not available at 480p: use 720p or 1080p, or 16:9, 9:16 or 1:1 at 480p.",
        ),
        (
            TOOL,
            {"prompt": PROMPT, "aspect_ratio": "16/9"},
            "aspect_ratio must be 16:9, 9:16, 1:1, 4:3 or 3:4",
        ),
        (
            TOOL,
            {"prompt": PROMPT, "model": MODELS[0]},
            "model must be wan2.5-text-to-video. generate_video takes wan2.5-image-to-video.",
        ),
        (
            "generate_video",
            ARGUMENTS | {"model": MODELS[1]},
            "model must be wan2.5-image-to-video. generate_video_from_text takes wan2.5-text-to-video.",
        ),
        (
            "generate_video",
            ARGUMENTS | {"aspect_ratio": "9:16"},
            "A video has the shape of its picture; only generate_video_from_text takes aspect_ratio.",
        ),
        ("generate_video", {"prompt": PROMPT}, "generate_video_from_text makes one from text alone."),
    ],
)
async def test_bad_arguments_are_refused_and_name_the_right_tool(
    world: World, tool: str, arguments: dict[str, Any], said: str
) -> None:
    """Nothing is sent."""
    async with world.client() as client:
        refused = await call(client, tool, **arguments)
    assert refused.is_error
    assert said in text(refused)
    assert text(refused).endswith("Nothing was sent or charged.")
    assert world.records.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize("empty", [None, [], "", [""], [None]], ids=repr)
async def test_an_empty_picture_is_none(world: World, empty: Any) -> None:
    """Some clients fill in each argument that they know."""
    async with world.client() as client:
        assert (await answer(client, TOOL, prompt=PROMPT, image_urls=empty))["status"] == "pending"


@pytest.mark.anyio
async def test_the_price_is_said_to_be_a_guess_before_anything_is_requested(world: World) -> None:
    """In the tool's description and the instructions; the other tool's price is not a guess."""
    async with world.client() as client:
        tools = {tool.name: tool.description or "" for tool in (await client.list_tools()).tools}
        instructions = client.instructions or ""
    assert f"about 25.5 credits ($0.38) for 5 s at 720p ({TEXT_GUESSED})" in tools[TOOL]
    assert f"for a video from text, {TEXT_GUESSED}" in instructions
    assert "guess" not in tools["generate_video"]


SITUATIONS = (
    snapshot("cancelled"),
    snapshot("failed", upstream=FAILED),
    snapshot("failed"),
    snapshot("pending", recovered=True),
    snapshot("completed", upstream={"results": []}),
    DONE,
    DEAD,
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("recorded", [False, True])
def test_every_next_step_names_the_tool_that_makes_such_a_video(model: str, recorded: bool) -> None:
    """Also where the ledger does not have the request, and only the task tells its model."""
    named = set()
    for known in SITUATIONS:
        task = known.task.model_copy(update={"model": None if recorded else model})
        row = replace(entry(take=1), body={"model": model}, task=task) if recorded else None
        said = next_step(replace(known, task=task, entry=row), LOCAL)
        named |= set(re.findall(r"generate_video\w*", said))
        assert "picture" not in said.replace(TEXT_GUESSED, "") or model == MODELS[0]
    expected = {outcomes.tool_for(from_text=model == MODELS[1])}
    # Where the ledger does not have a video that is gone, its request is not known.
    assert named == expected if recorded else expected <= named


def test_another_take_says_that_the_price_of_a_video_from_text_is_a_guess() -> None:
    """The guess itself is said, too."""
    row = replace(entry(take=1), body={"model": MODELS[1]})
    said = outcomes.another_take(row)
    assert said == (
        "generate_video_from_text with another take makes a new one, which costs about 25.5 credits ($0.38) "
        f"({TEXT_GUESSED}). Ask the user first."
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_preview_says_whether_the_price_of_another_one_is_a_guess(model: str) -> None:
    """The model must ask the user first, who decides by the price."""
    sheet = Sheet(b"", (0.0,), 5.0, 1280, 720, 24.0, has_sound=False)
    row = replace(entry(take=1), body={"model": model})
    said = text(preview_result("task-unified-1-a", Preview(sheet, row, path=None), 0.0))
    assert "Each try costs about 25.5 credits ($0.38)" in said
    assert (TEXT_GUESSED in said) is (model == MODELS[1])


@pytest.mark.parametrize(
    "models", [models for size in (1, 2) for models in itertools.combinations(MODELS, size)]
)
def test_a_list_says_by_which_tool_an_unanswered_request_is_made_again(models: tuple[str, ...]) -> None:
    """With each of the tools by which one was made."""
    rows = [replace(entry(take=1), body={"model": model}) for model in models]
    saving = replace(LOCAL, saves_to=Path("/videos"))
    said = next_of_list([TaskLine.of(row, 0.0) for row in rows], saving)
    tools = " or ".join(outcomes.tool_for(from_text=model == MODELS[1]) for model in models)
    assert f"Call {tools} with exactly the same arguments again in a minute" in said


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["lost", "capacity", "status"])
async def test_no_error_of_a_text_request_speaks_of_the_other_tool_or_a_picture(
    world: World, kind: str
) -> None:
    """The next step fits the call that was made."""
    details: dict[str, Any] = {"status": 402, "code": "insufficient_quota"} if kind == "status" else {}
    world.sandbox.faults.add(Fault("submit", kind, times=None, **details))
    world.sandbox.faults.add(Fault("tasks", "status", times=None, status=404))
    async with world.client() as client:
        refused = await call(client, TOOL, prompt=PROMPT)
    assert refused.is_error
    assert "generate_video" not in text(refused)
    assert "picture" not in text(refused).replace(TEXT_GUESSED, "")
