"""The commands for people: what they print, leave behind and exit with."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import av
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageChops, ImageStat

from tests.world import KEY, World, picture, render, render_one_second
from wan_mcp import __version__
from wan_mcp.cli.advice import SAME_AGAIN, say_to_a_person
from wan_mcp.cli.commands import commands
from wan_mcp.cli.folders import place
from wan_mcp.cli.generate import generate
from wan_mcp.cli.join import join
from wan_mcp.cli.request import absolute, request_of
from wan_mcp.errors import EvolinkError, PictureUnavailable, VideoError
from wan_mcp.evolink import Task
from wan_mcp.generation import outcomes
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.settings import Settings


async def entries(folder: Path) -> list[Entry]:
    """The rows of a ledger, newest first."""
    ledger = SqliteLedger(folder)
    try:
        return await ledger.entries()
    finally:
        await ledger.aclose()


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env={"EVOLINK_API_KEY": "", **environ}).invoke(commands, list(arguments))


def test_the_version_is_the_packages() -> None:
    """One number everywhere."""
    assert run("--version").output == f"wan-mcp, version {__version__}\n"


@pytest.mark.slow
def test_a_terminal_without_our_characters_is_no_error(tmp_path: Path) -> None:
    """They are written by their numbers."""
    made = subprocess.run(
        [sys.executable, "-m", "wan_mcp", "doctor"],
        env=os.environ
        | {"PYTHONIOENCODING": "cp1252", "EVOLINK_API_KEY": "", "WAN_MCP_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (1, "")
    assert "\\u2192 Get a key" in made.stdout


INTERRUPTED_IMPORTS = """
import os, signal, sys
class Interrupter:
    def find_spec(self, name, path, target=None):
        if name == "wan_mcp.settings":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
sys.argv = ["wan-mcp", "tasks"]
from wan_mcp.__main__ import main
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a signal to itself ends the process there anyway")
def test_ctrl_c_in_the_first_moment_ends_a_command_quietly() -> None:
    """During the imports, which take half a second on a slow machine."""
    made = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORTS], capture_output=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (-signal.SIGINT, b"", b"")


def test_the_help_names_every_command() -> None:
    """A person finds everything from --help, and each command's line is whole."""
    text = run("--help").output
    for name in commands.commands:
        assert f"  {name} " in text
    assert not re.search(r"\w\.\.\.$", text, re.M)


@pytest.mark.parametrize(
    ("image", "read"),
    [
        ("cat.png", "{here}/cat.png"),
        ("./cat.png", "{here}/cat.png"),
        ("file:/home/a.png", "file:/home/a.png"),
        ("file:///home/a.png", "file:///home/a.png"),
        ("https://pictures.example.com/a.png", "https://pictures.example.com/a.png"),
        ("~/a.png", "~/a.png"),
        ("$HOME/a.png", "$HOME/a.png"),
        ("~nobody-of-this-name/a.png", "~nobody-of-this-name/a.png"),
        ("'cat.png'", "{here}/cat.png"),
        ("'/home/a.png'", "'/home/a.png'"),
        ("@cat.png", "{here}/cat.png"),
        ("@/home/a.png", "@/home/a.png"),
        ("FILE:/home/a.png", "FILE:/home/a.png"),
        ("DATA:image/png;base64,AAAA", "DATA:image/png;base64,AAAA"),
        ("https://pictures.example.com/a.png ", "https://pictures.example.com/a.png "),
        ("sandbox:/mnt/data/a.png", "sandbox:/mnt/data/a.png"),
        ("attachment:1", "attachment:1"),
        ("README.md", "{here}/README.md"),
        (" ", " "),
    ],
)
def test_an_image_on_the_command_line_is_an_address_or_a_file_here(image: str, read: str) -> None:
    """A relative path becomes an absolute one; anything else stays unchanged."""
    assert absolute(image) == read.format(here=Path.cwd())


def test_a_folder_as_the_output_is_where_the_video_goes(tmp_path: Path) -> None:
    """The name is then chosen as without --output; anything else is the video's name."""
    assert place(tmp_path) == (tmp_path, None)
    assert place(tmp_path / "a" / "cat.mp4") == (tmp_path / "a", "cat.mp4")
    assert place(f"{tmp_path}/new/") == (tmp_path / "new", None)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_saved_nothing_is_requested(tmp_path: Path) -> None:
    """A paid video must have a place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoError, match=r"could not be saved .*, so nothing was begun") as refused:
        place(tmp_path / "file" / "cat.mp4")
    assert refused.value.next_step == "Name another place with --output."


def test_a_bad_request_is_refused_on_the_command_line(tmp_path: Path) -> None:
    """All problems at once, exit code 1, nothing sent."""
    result = run("generate", str(tmp_path / "cat.png"), "x" * 1001, EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert "prompt has 1,001 characters, but at most 1,000 are allowed" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["A cat yawns."],
            "Give IMAGE and PROMPT, or PROMPT alone with --text or --from-task ID, each in quotation marks.",
        ),
        ([], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["cat.png", "A", "cat"], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["--text", "cat.png", "A cat yawns."], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["--text"], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["--text", ""], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["", "A cat yawns."], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (["--from-task", "task-unified-1"], "Give IMAGE and PROMPT, or PROMPT alone with --text"),
        (
            ["--text", "--from-task", "task-unified-1", "It goes on."],
            "--text makes a video without a picture, --from-task continues another video: give only one.",
        ),
        (["--from-task", "cat.mp4", "It goes on."], "--from-task takes the id of a task"),
        (
            ["--from-task", "task-unified-1", "It goes on.", "--sandbox"],
            "--from-task does not go with --sandbox: the sandbox begins without tasks.",
        ),
        (
            ["cat.png", "A cat yawns.", "--aspect-ratio", "1:1"],
            "--aspect-ratio goes only with --text: otherwise the picture decides the shape.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], said: str) -> None:
    """Before anything else is checked."""
    result = run("generate", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--aspect-ratio", "16/9"], "aspect_ratio must be 16:9, 9:16, 1:1, 4:3 or 3:4."),
        (["--aspect-ratio", "3:4", "--quality", "480p"], "aspect_ratio 3:4 is not available at 480p: use"),
    ],
)
def test_a_shape_that_there_is_not_is_refused(options: list[str], said: str) -> None:
    """As the tool refuses it, and nothing is sent."""
    result = run("generate", "--text", "A cat yawns.", *options, EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("instead", ["", "wan-mcp tasks shows it."])
def test_no_error_tells_a_person_to_call_a_tool(instead: str) -> None:
    """Also where a model would be told to call one, about a request that may be paid."""
    some = Task(id="task-unified-1", status="pending")
    for error in (
        outcomes.unknown("The connection broke."),
        outcomes.undecided("The connection broke.", [some], take=2, old=False),
        outcomes.under_way("", sent=True),
    ):
        say_to_a_person(error, instead)
        assert error.next_step
        assert not re.search(r"tool|_task|take: ", error.next_step)


@pytest.mark.parametrize("seconds", ["-1", "0", "1e9", "soon"])
def test_a_duration_that_is_none_is_refused(seconds: str) -> None:
    """An imitated generation takes a time above zero."""
    assert run("demo", "--seconds", seconds).exit_code == 2


def test_an_empty_word_is_no_picture() -> None:
    """For example, a variable of a script is not set: the prompt alone counts."""
    result = run("generate", "--text", "", "A cat " * 200, EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert "prompt has 1,199 characters, but at most 1,000 are allowed." in result.output
    assert "image_urls" not in result.output


def test_an_empty_ledger_is_said_to_be_empty(tmp_path: Path) -> None:
    """No table without rows."""
    result = run("tasks", WAN_MCP_DATA_DIR=str(tmp_path))
    assert (result.exit_code, result.output) == (0, "Nothing was requested yet.\n")


@pytest.mark.anyio
async def test_the_ledger_is_printed_and_rows_are_forgotten(world: World) -> None:
    """A table for people, JSON for programs, and --forget for what should not be remembered."""
    async with world.client() as client:
        request = {"prompt": "The cat\nyawns.", "image_urls": ["https://pictures.example.com/cat.png"]}
        result = await client.call_tool("generate_video", request)
    task_id = (result.structured_content or {})["id"]
    folder = {"WAN_MCP_DATA_DIR": world.environ["WAN_MCP_DATA_DIR"]}

    def outside(*arguments: str) -> Result:
        return run(*arguments, **folder)

    table = await anyio.to_thread.run_sync(outside, "tasks")
    assert f"{task_id}" in table.output
    assert "pending" in table.output
    assert "The cat yawns." in table.output
    facts = json.loads((await anyio.to_thread.run_sync(outside, "tasks", "--json")).output)
    assert (facts["id"], facts["status"], facts["credits"]) == (task_id, "pending", 25.5)
    assert (await anyio.to_thread.run_sync(outside, "tasks", "--forget", task_id)).exit_code == 0
    again = await anyio.to_thread.run_sync(outside, "tasks", "--forget", task_id)
    assert again.exit_code == 1
    assert "The ledger has no row" in again.output


def image(frame: av.VideoFrame) -> Image.Image:
    grey = frame.reformat(format="gray8")
    plane = grey.planes[0]
    return Image.frombuffer("L", (grey.width, grey.height), bytes(plane), "raw", "L", plane.line_size, 1)


@pytest.mark.anyio
@pytest.mark.slow
class TestOverRealSockets:
    """The whole job from a terminal, against a sandbox on this machine."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    def settings(self, url: str, folder: Path) -> Settings:
        return Settings.load(
            {
                "EVOLINK_API_KEY": KEY,
                "EVOLINK_BASE_URL": url,
                "EVOLINK_FILES_URL": url,
                "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
                "WAN_MCP_DATA_DIR": str(folder / "data"),
                "WAN_MCP_IMAGE_DIRS": str(folder),
            }
        )

    async def test_a_picture_becomes_a_video_file(self, tmp_path: Path) -> None:
        """Asked for, waited for, and saved under the name that was given."""
        (tmp_path / "cat.png").write_bytes(picture())
        request = request_of(str(tmp_path / "cat.png"), "The cat yawns.", duration="10", quality="480p")
        with anyio.fail_after(30):
            async with running(Sandbox(seconds=0.2, key=KEY, render=render)) as url:
                saved = await generate(self.settings(url, tmp_path), request, tmp_path / "cat.mp4")
        assert saved == tmp_path / "cat.mp4"
        assert saved.read_bytes()[4:8] == b"ftyp"

    async def test_a_person_may_read_what_the_person_typed(self, tmp_path: Path) -> None:
        """In any folder; WAN_MCP_IMAGE_DIRS only limits what a model may ask for."""
        (tmp_path / "else").mkdir()
        (tmp_path / "else" / "Cat.png").write_bytes(picture())
        request = request_of(f"file:{tmp_path}/else/cat.png", "The cat yawns.")
        with anyio.fail_after(30):
            async with running(Sandbox(seconds=0.2, key=KEY, render=render)) as url:
                settings = self.settings(url, tmp_path).model_copy(
                    update={"image_dirs": (tmp_path / "none",)}
                )
                assert (await generate(settings, request, tmp_path / "cat.mp4")).exists()

    async def test_a_film_is_made_of_a_video_and_the_one_that_goes_on_from_it(self, tmp_path: Path) -> None:
        """Each is known by its task's id, which the ledger has; what cannot be joined is named."""

        (tmp_path / "cat.png").write_bytes(picture())
        begun = request_of(str(tmp_path / "cat.png"), "The cat yawns.")
        with anyio.fail_after(60):
            async with running(Sandbox(seconds=0.2, key=KEY, render=render_one_second)) as url:
                settings = self.settings(url, tmp_path)
                await generate(settings, begun, f"{tmp_path}/a.mp4")
                [first] = [entry.task for entry in await entries(tmp_path / "data") if entry.task]
                on = request_of(None, "It goes on.", from_task=first.id)
                await generate(settings, on, f"{tmp_path}/b.mp4")
                second, _ = await entries(tmp_path / "data")
                assert second.task is not None
                assert (second.parent, second.part) == (first.id, 2)
                film = await join(settings, [first.id, second.task.id], f"{tmp_path}/film.mp4")
                with pytest.raises(VideoError) as refused:
                    await join(settings, [first.id, "task-unified-1600000000-none"], f"{tmp_path}/no.mp4")
        with av.open(film) as video:
            assert sum(1 for _ in video.decode(video=0)) == 48
        assert "task-unified-1600000000-none" in refused.value.message
        assert refused.value.next_step == "wan-mcp tasks shows what became of it."
        left = [path.name async for path in anyio.Path(tmp_path).glob("*.mp4")]
        assert sorted(left) == ["a.mp4", "b.mp4", "film.mp4"]

    async def test_advice_that_a_person_can_follow_stays(self, tmp_path: Path) -> None:
        """A wrong key has nothing to do with the task to continue."""
        request = request_of(None, "It goes on.", from_task="task-unified-1600000000-none")
        faults = [Fault("task", "status", status=401, code="unauthorized")]
        with anyio.fail_after(30):
            async with running(Sandbox(key=KEY, faults=faults)) as url:
                with pytest.raises(PictureUnavailable) as refused:
                    await generate(self.settings(url, tmp_path), request, None)
        assert refused.value.message.startswith("task task-unified-1600000000-none cannot be continued.")
        assert refused.value.next_step.startswith("Check EVOLINK_API_KEY")

    async def test_a_failed_generation_is_an_error_here(self, tmp_path: Path) -> None:
        """The reason is said, and that it was not charged."""
        (tmp_path / "cat.png").write_bytes(picture())
        request = request_of(str(tmp_path / "cat.png"), "The cat yawns.")
        faults = [Fault("submit", "fail", code="content_policy_violation")]
        with anyio.fail_after(30):
            async with running(Sandbox(seconds=0.2, key=KEY, render=render, faults=faults)) as url:
                with pytest.raises(EvolinkError) as failed:
                    await generate(self.settings(url, tmp_path), request, None)
        said = "The generation failed (The generation failed: content_policy_violation). It was not charged."
        assert failed.value.message == said
        advice = "The same request would probably fail again: change the prompt or the picture first."
        assert failed.value.next_step == advice

    async def test_a_video_that_cannot_be_fetched_now_is_got_by_the_same_command(
        self, tmp_path: Path
    ) -> None:
        """The advice is for a person at a terminal, not for a model with tools."""
        (tmp_path / "cat.png").write_bytes(picture())
        request = request_of(str(tmp_path / "cat.png"), "The cat yawns.")
        faults = [Fault("result", "html", None)]
        with anyio.fail_after(60):
            async with running(Sandbox(seconds=0.2, key=KEY, render=render, faults=faults)) as url:
                with pytest.raises(VideoError) as failed:
                    await generate(self.settings(url, tmp_path), request, tmp_path / "cat.mp4")
        assert failed.value.next_step == SAME_AGAIN

    async def test_the_demo_leaves_a_video_that_plays(self, tmp_path: Path, capsys: Any) -> None:
        """A real client, a real server process, and an MP4 of five seconds in which something moves."""
        from wan_mcp.cli.demo import run as demo

        with anyio.fail_after(60):
            await demo(None, None, 0.5, tmp_path / "demo.mp4")
        told = capsys.readouterr().out
        for tool in ("generate_video", "wait_for_task", "get_task", "save_video"):
            assert f"agent  → {tool}" in told
        with av.open(str(tmp_path / "demo.mp4")) as container:
            stream = container.streams.video[0]
            frames = [image(frame) for frame in container.decode(stream)]
        assert (stream.codec_context.name, len(frames)) == ("h264", 120)
        moved = ImageStat.Stat(ImageChops.difference(frames[0], frames[-1]))
        assert moved.mean[0] > 2

    def test_the_demo_of_a_story_leaves_one_film_of_three_parts(self, tmp_path: Path) -> None:
        """Each part goes on from the last frame of the one before, and the model looked at the first."""
        (tmp_path / "home").mkdir()
        (tmp_path / "here").mkdir()
        ended = subprocess.run(
            [sys.executable, "-m", "wan_mcp", "demo", "--story", "--seconds", "0.5", "--prompt", "On."],
            env=os.environ | {"HOME": str(tmp_path / "home")},
            cwd=tmp_path / "here",
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        said = re.findall("^agent  → (\\w+) (.+)$", ended.stdout, re.M)
        calls = [(tool, json.loads(given)) for tool, given in said if tool != "wait_for_task"]
        tools = ["generate_video", "preview_video", "generate_video", "generate_video", "join_videos"]
        assert [tool for tool, _ in calls] == tools
        first, looked, second, third, joined = (given for _, given in calls)
        one, two, three = joined["task_ids"]
        assert looked == {"task_id": one}
        assert second == {"prompt": "On.", "image_urls": [one]}
        assert third == {"prompt": "On.", "image_urls": [two]}
        assert first["prompt"] == "On."
        assert f"continues {one}" in ended.stdout
        assert f"Task {three}: completed" in ended.stdout
        assert re.search(r"\(a picture, \d+ KB: the model sees the frames\)", ended.stdout)
        film = tmp_path / "here" / "wan-mcp-story.mp4"
        assert ended.stdout.endswith(f"The video: {film}\nNo key was used, nothing was charged.\n")
        assert [*film.parent.iterdir()] == [film]
        with av.open(film) as container:
            assert (container.duration or 0) / av.time_base == pytest.approx(15, abs=0.1)
            assert sum(1 for _ in container.decode(video=0)) == 360
