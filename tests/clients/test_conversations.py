"""What users say, through real agents with a scripted model: what they read at the end, and what they paid.

The model knows what the user said and what the agent shows it, and does what the answers say. Run with
``-rP`` to read the conversations.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.clients.agents import AGENTS
from tests.clients.chat import Chat, chat, until
from tests.clients.model import Script, advice, facts, following, requesting, step

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PRICE = "25.5 credits ($0.38)"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=AGENTS)
async def talk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Chat]:
    async with chat(tmp_path, AGENTS[request.param]) as opened:
        yield opened


def assert_plays(file: Path, seconds: int) -> tuple[int, int]:
    """Check that a file is a video of this many seconds, and return its width and height."""
    with av.open(file) as video:
        assert video.duration is not None
        assert round(video.duration / av.time_base, 1) == seconds
        return video.streams.video[0].width, video.streams.video[0].height


def looking_up() -> Script:
    """List the tasks, take the step that the list names, and tell the user of the newest video."""
    (listed,) = yield [("list_tasks", {})]
    if step(listed):
        return (yield from following(listed))
    newest = facts(listed)["tasks"][0]
    if "saved_to" in newest:
        return f"Your video of {newest['asked']} is at {newest['saved_to']}."
    cost = f"{newest['credits']:g} credits ({newest['dollars']})"
    return f"No longer at {newest['missing']}, link {newest['link']}, {cost}. {advice(listed)}"


async def test_a_dog_photo_from_an_iphone(talk: Chat) -> None:
    """Pasted, the user is asked for its path; given that, the video is upright, as the photo was shown."""
    photo = iphone_photo(talk.at.folder / "IMG_4711.HEIC")
    wanted = {"prompt": "The dog wags its tail.", "image_urls": ["image.png"]}
    asked = await talk.say("(a photo is pasted) Make my dog wag its tail!", requesting(wanted))
    assert asked == "Please give me the file's path or a link."
    wanted["image_urls"] = [str(photo)]
    read = await talk.say(f"It is {photo}.", requesting(wanted), goes_on=True)
    file = talk.video("the-dog-wags-its-tail.mp4")
    assert str(file) in read
    assert PRICE in read
    assert "metadata removed, including the location" in talk.model.seen[1]
    width, height = assert_plays(file, 5)
    assert width < height
    assert (talk.calls, talk.paid) == (["generate_video", "generate_video", "wait_for_task"], 1)


async def test_ten_seconds(talk: Chat) -> None:
    """A text of digits is understood, one with a unit is refused, free; the price is that of 10 s."""
    lake = talk.at.request
    script = requesting(lake | {"duration": "10s"}, lake | {"duration": "10"})
    read = await talk.say("Let the mist drift for 10 seconds.", script)
    assert str(talk.video("mist-drifts.mp4")) in read
    assert "51 credits ($0.75)" in read
    assert_plays(talk.video("mist-drifts.mp4"), 10)
    assert (talk.calls, talk.paid) == (["generate_video", "generate_video", "wait_for_task"], 1)


async def test_another_take(talk: Chat) -> None:
    """The same request gives the same video, free, and says how to get another, whose name has its take."""
    await talk.say("Let the mist drift.", requesting(talk.at.request))
    before = len(talk.calls)
    again = await talk.say("Again, please.", requesting(talk.at.request), goes_on=True)
    assert str(talk.video("mist-drifts.mp4")) in again
    assert "nothing was charged again. For another version, set take to 2." in again
    assert (talk.calls[before:], talk.paid) == (["generate_video"], 1)
    read = await talk.say("Another take!", requesting(talk.at.request | {"take": 2}), goes_on=True)
    assert str(talk.video("mist-drifts-take-2.mp4")) in read
    assert PRICE in read
    assert_plays(talk.video("mist-drifts-take-2.mp4"), 5)
    assert (talk.calls[before + 1 :], talk.paid) == (["generate_video", "wait_for_task"], 2)


async def test_my_video_from_yesterday(talk: Chat) -> None:
    """Its path is told before and after its link expires; once the file is deleted, what a new one costs."""
    file = talk.video("mist-drifts.mp4")
    await talk.say("Let the mist drift.", requesting(talk.at.request))
    before = len(talk.calls)
    talk.let_pass(hours=20)
    assert str(file) in await talk.say("Where is my video from yesterday?", looking_up())
    talk.let_pass(hours=10)
    assert str(file) in await talk.say("Where is my video from yesterday?", looking_up())
    assert_plays(file, 5)
    file.unlink()
    read = await talk.say("Where is my video from yesterday?", looking_up())
    assert f"No longer at {file}, link expired" in read
    assert PRICE in read
    assert "is gone. Another take costs as much again: ask the user first." in read
    assert (talk.calls[before:], talk.paid) == (["list_tasks"] * 3, 1)


async def test_three_variations(talk: Chat) -> None:
    """Asked for and waited for at once, they are three videos, each paid once."""
    takes = [talk.at.request | {"take": take} for take in (1, 2, 3)]
    read = await talk.say("Let the mist drift, in three variations.", at_once(takes))
    for name in ("mist-drifts.mp4", "mist-drifts-take-2.mp4", "mist-drifts-take-3.mp4"):
        assert str(talk.video(name)) in read
        assert_plays(talk.video(name), 5)
    assert read.count(PRICE) == 3
    assert (talk.calls, talk.paid) == (["generate_video"] * 3 + ["wait_for_task"] * 3, 3)


def at_once(requests: list[dict[str, Any]]) -> Script:
    answers = yield [("generate_video", request) for request in requests]
    return (yield from following(*answers))


@pytest.fixture
async def crashed(talk: Chat) -> Chat:
    """A chat whose agent and server were killed while the model waited for a video."""
    talk.at.sandbox.seconds = 600

    def is_waiting() -> bool:
        return talk.calls[-1:] == ["wait_for_task"] and talk.at.sandbox.records.reads > 0

    await talk.crash("Let the mist drift.", requesting(talk.at.request), is_waiting)
    return talk


async def test_the_client_crashed_go_on(crashed: Chat) -> None:
    """A new agent finds the task in the list and waits for it; it was paid once."""

    def going_on() -> Script:
        (listed,) = yield [("list_tasks", {})]
        crashed.let_pass(hours=0.2)
        return (yield from following(listed))

    file = crashed.video("mist-drifts.mp4")
    read = await crashed.say("The client crashed, go on.", going_on())
    assert str(file) in read
    assert PRICE in read
    assert_plays(file, 5)
    assert (crashed.calls[2:], crashed.paid) == (["list_tasks", "wait_for_task"], 1)


async def test_the_client_crashed_and_nobody_asks(crashed: Chat) -> None:
    """The next server saves the video, even if the user talks about something else."""
    file = crashed.video("mist-drifts.mp4")
    crashed.let_pass(hours=0.2)

    def small_talk() -> Script:
        until(file.exists)
        return "Good morning!"
        yield []  # which makes it a script

    assert await crashed.say("Good morning.", small_talk()) == "Good morning!"
    assert_plays(file, 5)
    assert (crashed.calls[2:], crashed.paid) == ([], 1)


def iphone_photo(path: Path) -> Path:
    """A photo that was taken upright, stored as iPhones do: lying, with how to turn it and where it was."""
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif has no wheel for this system")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    image = Image.linear_gradient("L").resize((1200, 900)).convert("RGB")
    heif.from_pillow(image).save(path, exif=exif.tobytes())
    return path
