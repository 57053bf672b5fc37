"""Previewing a task's video, and joining several: what a client sees, and what is left on the disk."""

import base64
import errno
import sys
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import av
import pytest
from mcp import Client
from mcp.types import ImageContent, ResourceLink, TextContent
from PIL import Image

from tests.calls import ADDRESS, ERAS, answer, call, made, text
from tests.world import World, render_one_second
from wan_mcp.errors import StillUnderWay
from wan_mcp.generation import joining
from wan_mcp.sandbox import Fault
from wan_mcp.videos import pyav
from wan_mcp.videos.join import Joined, Stopped, join

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
Progress = Callable[[float], None]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, seconds=60, render=render_one_second)


def left(world: World) -> list[str]:
    """The names of all files in the videos' folder."""
    folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def frames(path: Path | str) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@ERAS
async def test_a_model_sees_its_video_and_what_to_do_next(world: World, mode: str) -> None:
    """A picture, the times as text, and no structured content, which some clients would show instead."""
    async with world.client(mode) as client:
        task_id = await made(client)
        before = len(world.records.paid)
        result = await call(client, "preview_video", task_id=task_id, frames=3)
    image, words = result.content
    assert isinstance(image, ImageContent)
    assert isinstance(words, TextContent)
    assert (image.mime_type, result.structured_content) == ("image/jpeg", None)
    content = base64.b64decode(image.data)
    assert len(content) <= 100_000
    assert Image.open(BytesIO(content)).format == "JPEG"
    assert f"Frames of the video of {task_id}, at 0.0, 0.5, 1.0 s." in words.text
    assert '"The cat yawns."' in words.text
    assert "take: 2" in words.text
    assert "about 12.75 credits ($0.19): ask the user first. Nothing was charged." in words.text
    assert (len(world.records.paid), left(world)) == (before, [])


async def test_a_preview_names_the_saved_file(world: World, client: Client) -> None:
    """The file is read, also when the link has expired and the API has forgotten the task."""
    task_id = await made(client)
    saved = (await answer(client, "save_video", task_id=task_id))["saved_to"]
    await anyio.sleep(10 * DAY)
    result = await call(client, "preview_video", task_id=task_id)
    assert f"the video is saved at {saved}" in text(result)


async def test_a_preview_names_no_file_that_is_gone(world: World, client: Client) -> None:
    """The frames come through the link then."""
    task_id = await made(client)
    saved = (await answer(client, "save_video", task_id=task_id))["saved_to"]
    await anyio.Path(saved).unlink()
    result = await call(client, "preview_video", task_id=task_id)
    assert "tell the user: the video is ready." in text(result)
    assert saved not in text(result)


async def test_what_cannot_be_looked_at_is_said_in_words(world: World, client: Client) -> None:
    """A task that is running, and one whose video is gone."""
    running = (await answer(client, "generate_video", prompt="go", image_urls=[ADDRESS]))["id"]
    result = await call(client, "preview_video", task_id=running)
    assert result.is_error
    assert "There is no video yet: the task is pending." in text(result)
    await anyio.sleep(2 * DAY)
    result = await call(client, "preview_video", task_id=running)
    assert result.is_error
    assert "The video is gone" in text(result)


@ERAS
async def test_videos_become_one_film(world: World, mode: str) -> None:
    """In the order of the call, one of them twice; free, and named after the first prompt."""
    async with world.client(mode) as client:
        first, second = await made(client), await made(client, prompt="The cat sleeps.")
        paid = len(world.records.paid)
        result = await call(client, "join_videos", task_ids=[first, second, first])
    film = result.structured_content
    assert film is not None
    path = Path(world.environ["WAN_MCP_OUTPUT_DIR"]) / "the-cat-yawns-joined.mp4"
    assert film["saved_to"] == str(path)
    assert (film["parts"], film["lossless"]) == ([first, second, first], True)
    assert film["file"]["seconds"] == pytest.approx(3, abs=0.1)
    assert film["file"]["bytes"] == path.stat().st_size
    assert film["next"] == f"Tell the user: the film is saved at {path}. Nothing was charged."
    assert text(result).startswith("Joined 3 videos, without loss.\nFile: ")
    assert text(result).endswith(film["next"])
    assert [block.uri for block in result.content if isinstance(block, ResourceLink)] == [path.as_uri()]
    assert frames(path) == 72
    assert (len(world.records.paid), left(world)) == (paid, [path.name])


async def test_different_videos_take_the_size_of_the_first(world: World, client: Client) -> None:
    """And the answer says that they were re-encoded."""
    small, large = await made(client), await made(client, quality="720p")
    result = await call(client, "join_videos", task_ids=[small, large], filename="film")
    film = result.structured_content
    assert film is not None
    assert (film["lossless"], film["file"]["width"], film["file"]["height"]) == (False, 740, 554)
    assert "re-encoded because they differ" in text(result)
    assert left(world) == ["film.mp4"]


async def test_a_part_without_a_video_is_named(world: World, client: Client) -> None:
    """All of them in one error, with what to do; nothing is joined, and nothing is left behind."""
    first = await made(client)
    running = (await answer(client, "generate_video", prompt="run", image_urls=[ADDRESS]))["id"]
    world.sandbox.faults.add(Fault("submit", "fail", code="service_error"))
    failed = (await answer(client, "generate_video", prompt="fail", image_urls=[ADDRESS]))["id"]
    await anyio.sleep(20)
    result = await call(client, "join_videos", task_ids=[first, running, failed])
    assert result.is_error
    assert text(result).startswith("Nothing was joined. ")
    assert f"{running}: There is no video yet: the task is processing." in text(result)
    assert f"Call wait_for_task with task_id {running} first." in text(result)
    assert text(result).endswith("Nothing was charged.")
    assert left(world) == []


async def test_pyav_is_loaded_in_a_thread(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first import takes some tenths of a second; other calls go on during that time."""
    threads: list[int] = []
    monkeypatch.setattr(pyav, "check_installed", lambda purpose: threads.append(threading.get_ident()))
    task_id = await made(client)
    await call(client, "preview_video", task_id=task_id)
    await call(client, "join_videos", task_ids=[task_id, task_id])
    await call(client, "generate_video", prompt="on", image_urls=[task_id])
    assert len(threads) == 3
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["task-unified-1"], "task_ids must have 2 to 20 entries, not 1."),
        ([f"task-unified-{number}" for number in range(21)], "2 to 20 entries, not 21."),
        (["task-unified-1", "film.mp4"], "entry 2 of task_ids takes ids of Evolink tasks"),
        (["task-unified-1", ""], "entry 2 of task_ids must not be empty."),
        (["task-unified-1", "task-" + "x" * 124], "entry 2 of task_ids has 129 characters, but at most 128"),
        (["task-unified-1", 7], "entry 2 of task_ids must be text."),
        ([], "task_ids must have 2 to 20 entries, not 0."),
    ],
)
async def test_wrong_lists_are_refused_in_words(client: Client, given: list[object], said: str) -> None:
    """Before anything is read."""
    result = await call(client, "join_videos", task_ids=given)
    assert result.is_error
    assert said in text(result)
    assert text(result).endswith("Nothing was sent or charged.")


async def test_the_same_join_twice_at_once_makes_one_file(world: World, client: Client) -> None:
    """Also in another process: the same parts make the same bytes, which are one file under one name."""
    tasks = [await made(client), await made(client, prompt="b")]
    paths: list[str] = []

    async def once(client: Client) -> None:
        paths.append((await answer(client, "join_videos", task_ids=tasks))["saved_to"])

    async with world.client() as other, anyio.create_task_group() as group:
        for asked in (client, client, other):
            group.start_soon(once, asked)
    assert len(paths) == 3
    assert len(set(paths)) == 1
    assert left(world) == [Path(paths[0]).name]


class Held:
    """A join that begins, and goes on when the test says so, or ends when it is told to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun, self.may_go_on, self.has_ended = (threading.Event() for _ in range(3))
        self.times = 0
        self.heeds_stop = True
        monkeypatch.setattr(joining, "join_files", self.join)
        make = joining.VideoJoiner._make

        def make_and_tell(*arguments: Any) -> Any:
            try:
                return make(*arguments)
            finally:
                self.has_ended.set()

        monkeypatch.setattr(joining.VideoJoiner, "_make", make_and_tell)
        monkeypatch.setattr(joining, "HEARTBEAT", 0.01)

    def join(
        self, paths: Sequence[Path], target: Path, on_progress: Progress, is_stopped: Callable[[], bool]
    ) -> Joined:
        self.times += 1
        target.write_bytes(b"the beginning of a film")
        on_progress(0.4)
        self.has_begun.set()
        while not self.may_go_on.wait(0.01):
            if self.heeds_stop and is_stopped():
                raise Stopped
        return join(paths, target, on_progress, is_stopped)


async def test_a_long_join_goes_on_and_is_told_to_an_equal_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun once, and a call that is cancelled does not end it."""
    held = Held(monkeypatch)
    shares: list[float] = []

    async def on_share(share: float) -> None:
        shares.append(share)

    async with world.client() as client:
        tasks = [await made(client), await made(client, prompt="b")]
    async with world.service() as service:
        with anyio.move_on_after(0.05):
            await service.joiner.join(tasks, None, 60, on_share)
        await anyio.to_thread.run_sync(held.has_begun.wait, 10)
        with pytest.raises(StillUnderWay) as caught:
            await service.joiner.join(tasks, None, 0.05, on_share)
        assert caught.value.message == "The videos are still being joined: 40 % is done."
        assert caught.value.next_step.startswith("Call join_videos with exactly the same arguments again")
        held.may_go_on.set()
        film = await service.joiner.join(tasks, None, 60, on_share)
    assert film.found.saved is not None
    assert (held.times, frames(film.found.saved.path)) == (1, 48)
    assert shares[0] == 0
    assert 0.4 in shares
    assert left(world) == ["the-cat-yawns-joined.mp4"]


async def test_a_caller_cannot_ask_for_any_number_of_joins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than may be under way is told to come again; nothing is begun for it."""
    held = Held(monkeypatch)

    async def on_share(share: float) -> None: ...

    async with world.client() as client:
        tasks = [await made(client), await made(client, prompt="b")]
    async with world.service() as service:
        for name in "abcde":
            with pytest.raises(StillUnderWay, match="still being joined"):
                await service.joiner.join(tasks, name, 0.05, on_share)
        with pytest.raises(StillUnderWay, match="5 other joins are under way"):
            await service.joiner.join(tasks, "f", 0.05, on_share)
        held.may_go_on.set()
        await service.joiner.join(tasks, "e", 60, on_share)
        await service.joiner.join(tasks, "f", 60, on_share)
    assert left(world) == [f"{name}.mp4" for name in "abcdef"]


async def stop_while_joining(world: World, held: Held) -> None:
    """A server ends while it writes a film."""

    async def on_share(share: float) -> None:
        """Nobody looks."""

    async with world.client() as client:
        tasks = [await made(client), await made(client, prompt="b")]
    async with world.service() as service:
        with pytest.raises(StillUnderWay):
            await service.joiner.join(tasks, None, 0.05, on_share)
        await anyio.to_thread.run_sync(held.has_begun.wait, 10)
        assert len(left(world)) == 1


async def test_a_server_that_stops_leaves_no_half_film(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that works on it is told to stop, and removes what it has written."""
    held = Held(monkeypatch)
    await stop_while_joining(world, held)
    assert await anyio.to_thread.run_sync(held.has_ended.wait, 10)
    assert left(world) == []


async def test_a_server_that_stops_does_not_leave_it_to_the_thread(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a signal the process ends at once, and the thread with it, at any point of its work."""
    held = Held(monkeypatch)
    held.heeds_stop = False
    await stop_while_joining(world, held)
    assert (held.has_ended.is_set(), left(world)) == (False, [])
    held.may_go_on.set()
    assert await anyio.to_thread.run_sync(held.has_ended.wait, 10)
    assert left(world) == []


async def test_a_full_disk_is_said_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt works."""

    def full(paths: Sequence[Path], target: Path, *others: Any) -> Joined:
        join(paths, target, *others)
        raise OSError(errno.ENOSPC, "No space left on device")

    async with world.client() as client:
        tasks = [await made(client), await made(client, prompt="b")]
        with monkeypatch.context() as patched:
            patched.setattr(joining, "join_files", full)
            result = await call(client, "join_videos", task_ids=tasks)
        assert result.is_error
        assert "(the disk is full). Free some space" in text(result)
        assert left(world) == []
        assert (await answer(client, "join_videos", task_ids=tasks))["lossless"]


@pytest.mark.parametrize(
    ("tool", "arguments", "purpose"),
    [
        ("preview_video", {}, "A preview"),
        ("join_videos", {"task_ids": ["task-unified-1", "task-unified-2"]}, "Joining videos"),
        ("generate_video", {"prompt": "on", "image_urls": ["task-unified-1"]}, "Continuing a video"),
    ],
)
async def test_where_pyav_is_missing_each_says_the_command(
    world: World, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], purpose: str
) -> None:
    """Nothing is read, sent or charged."""
    monkeypatch.setitem(sys.modules, "av", None)
    async with world.client() as client:
        result = await call(client, tool, **arguments or {"task_id": "task-unified-1"})
    assert result.is_error
    assert f"{purpose} needs PyAV" in text(result)
    assert "-m pip install av" in text(result)
    assert text(result).endswith("Nothing was sent or charged.")
    assert world.records.calls == []
