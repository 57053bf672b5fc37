"""The prompts: the guide to one video, and the plan of a video of several parts."""

import re

import pytest
from mcp import Client, MCPError
from mcp.types import INVALID_PARAMS, TextContent

from tests.calls import ERAS
from tests.world import World
from wan_mcp.evolink.prices import TEXT_GUESSED, cost_text, estimate

pytestmark = pytest.mark.anyio

IDEA = "the cat {wakes} up"
IMAGE = "~/cat.png"
LENGTHS = {
    "10": "2 \u00d7 5 s",
    "15": "3 \u00d7 5 s",
    "30": "6 \u00d7 5 s",
    "35": "1 \u00d7 10 s and 5 \u00d7 5 s",
    "60": "6 \u00d7 10 s",
    "65": "6 \u00d7 10 s and 1 \u00d7 5 s",
    "120": "12 \u00d7 10 s",
}
"""The parts of a plan, for the seconds that were asked for."""


async def prompt(client: Client, name: str, **arguments: str) -> str:
    (message,) = (await client.get_prompt(name, arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


def advice(text: str) -> str:
    """How to write the prompt of a video, in any of the prompts."""
    return text[text.index("The picture is the first frame") : text.index("counts.")]


@ERAS
async def test_the_prompts_are_listed(world: World, mode: str) -> None:
    """With their required and their optional arguments."""
    async with world.client(mode) as client:
        listed = (await client.list_prompts()).prompts
    needed = {one.name: {each.name: each.required for each in one.arguments or ()} for one in listed}
    assert needed == {
        "animate_image": {"image": True, "idea": True},
        "storyboard": {"idea": True, "image": False, "seconds": False},
    }
    assert all(each.description for one in listed for each in (one, *(one.arguments or ())))


@ERAS
async def test_a_guide_helps_to_write_a_prompt(world: World, mode: str) -> None:
    """It names the picture and the idea, the limit, and the tools to call."""
    async with world.client(mode) as client:
        guide = await prompt(client, "animate_image", image=IMAGE, idea=IDEA)
    for part in (IMAGE, IDEA, "1,000 characters", "generate_video", "wait_for_task", "save_video"):
        assert part in guide


@ERAS
@pytest.mark.parametrize("seconds", LENGTHS)
async def test_a_storyboard_has_the_parts_and_the_price_of_its_seconds(
    world: World, mode: str, seconds: str
) -> None:
    """Parts of 5 seconds if there are six at most; the price of all parts is the estimate."""
    async with world.client(mode) as client:
        plan = await prompt(client, "storyboard", idea=IDEA, image=IMAGE, seconds=seconds)
    parts = [(int(number), int(each)) for number, each in re.findall(r"(\d+) \u00d7 (\d+) s", plan)]
    count = sum(number for number, _ in parts)
    assert f"a chain of {LENGTHS[seconds]}, in which" in plan
    assert sum(number * each for number, each in parts) == int(seconds)
    assert f"Make a video of {seconds} seconds in {count} parts.\n" in plan
    assert f"until there are {count} parts" in plan
    assert f"the ids of the {count} parts" in plan
    assert f"{cost_text(estimate(int(seconds), '720p'))} for {seconds} s at 720p" in plan
    assert "1080p costs 1.67 times as much, 480p half" in plan
    assert (f"This plan has {count}" in plan) == (count > 6)


async def test_a_storyboard_says_how_to_make_the_parts(world: World) -> None:
    """The price and the user's agreement first, then each tool in order, and how a part continues another."""
    async with world.client() as client:
        plan = await prompt(client, "storyboard", idea=IDEA, image=IMAGE)
        guide = await prompt(client, "animate_image", idea=IDEA, image=IMAGE)
        tools = {tool.name for tool in (await client.list_tools()).tools}
    steps = [
        IDEA,
        f"First picture: {IMAGE}",
        "its own main motion",
        "same words in every part",
        "76.5 credits ($1.12)",
        "before the user has agreed",
        "generate_video",
        "wait_for_task",
        "preview_video",
        "take: 2",
        'image_urls: ["<id of the part before>"]',
        "join_videos",
    ]
    assert sorted(steps, key=plan.index) == steps
    assert set(re.findall(r"(?i:call|with) ([a-z]+_[a-z_]+)", plan)) <= tools
    assert "generate_video_from_text" not in plan
    assert "guess" not in plan
    assert advice(plan) == advice(guide)
    assert not re.search(r"[{}]", plan.replace(IDEA, ""))


@pytest.mark.parametrize("image", [{}, {"image": ""}, {"image": "  "}], ids=str)
async def test_a_storyboard_without_a_picture_begins_with_words(world: World, image: dict[str, str]) -> None:
    """The first part is made from text, and what it costs is called a guess."""
    async with world.client() as client:
        plan = await prompt(client, "storyboard", idea=IDEA, **image)
    assert "First picture: none (the first part is made from text alone)\n" in plan
    assert "1. The first part: call generate_video_from_text" in plan
    assert f"480p half.\nFor the first part, it is {TEXT_GUESSED}.\n" in plan
    assert "The first part has no picture: describe what can be seen as well" in plan
    assert "4. The next part: call generate_video with" in plan


async def test_a_storyboard_can_go_on_from_a_task(world: World) -> None:
    """Its video comes first when the parts are joined."""
    task = "task-unified-1790000000-abcdefgh"
    async with world.client() as client:
        plan = await prompt(client, "storyboard", idea=IDEA, image=task)
    assert f"First picture: {task}\n" in plan
    assert "If that is a task's id, the part continues its video: in step 5, put that id first." in plan


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("", 15), (" ", 15), ("15 s", 15), ("20.0", 20), (" 30sec ", 30), ("45 Seconds", 45)],
)
async def test_seconds_are_read_as_people_write_them(world: World, asked: str, seconds: int) -> None:
    """With or without the unit; 15 where nothing is said."""
    async with world.client() as client:
        plan = await prompt(client, "storyboard", idea=IDEA, seconds=asked)
    assert plan.startswith(f"Make a video of {seconds} seconds")
    assert "The user asked for" not in plan


@pytest.mark.parametrize(
    ("asked", "said", "seconds"),
    [
        ("0", "0", 10),
        ("5", "5", 10),
        ("12", "12", 15),
        ("10.5 s", "10.5", 15),
        ("119.9", "119.9", 120),
        ("121", "121", 120),
        ("9999", "9999", 120),
    ],
)
async def test_other_numbers_become_the_next_possible_one_and_that_is_said(
    world: World, asked: str, said: str, seconds: int
) -> None:
    """So that a plan is made, and the user knows why it is not as long as they asked for."""
    async with world.client() as client:
        plan = await prompt(client, "storyboard", idea=IDEA, seconds=asked)
    assert plan.startswith(f"Make a video of {seconds} seconds")
    assert f"The user asked for {said} seconds: say that 10 to 120 are possible here, in steps of 5." in plan


@ERAS
@pytest.mark.parametrize(
    "asked", ["soon", "-15", "nan", "inf", "1e1", "15 20", "1 min", "12,5", "\u0661\u0665", "99999"]
)
async def test_what_is_no_number_of_seconds_is_refused(world: World, mode: str, asked: str) -> None:
    """The error says what is possible."""
    async with world.client(mode) as client:
        with pytest.raises(MCPError, match="seconds must be a number from 10 to 120, such as 15") as caught:
            await prompt(client, "storyboard", idea=IDEA, seconds=asked)
    assert caught.value.code == INVALID_PARAMS


@ERAS
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("animate", {}, "There is no such prompt. There are: animate_image, storyboard."),
        (
            "animate_image",
            {"image": IDEA},
            "The arguments of animate_image are: idea (required), image (required).",
        ),
        (
            "storyboard",
            {"idea": IDEA, "length": "20"},
            "The arguments of storyboard are: idea (required), image, seconds.",
        ),
    ],
)
async def test_a_wrong_call_of_a_prompt_is_refused_and_not_logged(
    world: World,
    mode: str,
    name: str,
    arguments: dict[str, str],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the caller's mistake, and what the caller wrote is nobody else's business."""
    async with world.client(mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert (caught.value.code, caught.value.message) == (INVALID_PARAMS, said)
    assert caplog.records == []
