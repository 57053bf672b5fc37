"""The commands in a real terminal, wide and narrow: what a person sees, answers and interrupts."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest

from tests.world import picture

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.cli.terminal import Terminal, serving

pytestmark = pytest.mark.slow
IN_BOTH_WIDTHS = pytest.mark.parametrize("columns", [40, 80])
PROMPT = "Mist drifts over the water"
PRICE = "5 seconds at 720p: about 25.5 credits ($0.38)"
FITTED = "The picture was made to fit: scaled from 3000×2000 to 2000×1333."  # noqa: RUF001


@pytest.fixture
def columns() -> int:
    """Narrow, where more can go wrong. Tests of what is printed are ``IN_BOTH_WIDTHS``."""
    return 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake.jpg").write_bytes(picture(3000, 2000, "JPEG"))
    return tmp_path


@pytest.fixture
def api(folder: Path) -> Iterator[dict[str, str]]:
    """A sandbox that the command treats as the real API, because it runs without --sandbox."""
    with serving(folder, "--seconds", "8") as environ:
        yield environ


def generate(columns: int, folder: Path, *arguments: str, **environ: str) -> Terminal:
    return Terminal(columns, "generate", "lake.jpg", PROMPT, *arguments, folder=folder, **environ)


def posts(api: dict[str, str]) -> list[Any]:
    """What reached the API."""
    records = httpx2.get(f"{api['EVOLINK_BASE_URL']}/sandbox/records", trust_env=False).json()
    return [call["path"] for call in records["calls"] if call["method"] == "POST"]


@IN_BOTH_WIDTHS
def test_the_demo_can_be_read_and_leaves_a_video(columns: int, tmp_path: Path) -> None:
    """Each call and answer, and where the video is."""
    terminal = Terminal(columns, "demo", "--seconds", "1", folder=tmp_path)
    assert terminal.end() == 0
    assert "agent → generate_video" in terminal.text
    assert terminal.text.endswith("No key was used, nothing was charged.")
    assert (tmp_path / "wan-mcp-demo.mp4").stat().st_size > 100_000


def test_an_interrupted_demo_ends_quietly(columns: int, tmp_path: Path) -> None:
    """While it waits, which it shows by a sign that turns."""
    terminal = Terminal(columns, "demo", "--seconds", "600", folder=tmp_path)
    terminal.until("Waiting for the video")
    terminal.until("0%")
    for sign in ("| ━", "\\ ━", "| ━"):
        terminal.until(sign)
    terminal.interrupt()
    assert terminal.end() == 130


@IN_BOTH_WIDTHS
def test_the_sandbox_makes_a_video_without_a_question(columns: int, folder: Path) -> None:
    """The price, what was changed on the picture, progress with the time left, and the path at the end."""
    terminal = generate(columns, folder, "--sandbox", "--output", "a.mp4")
    terminal.until("left")
    assert f"{FITTED} {PRICE} at Evolink, nothing in the sandbox. Task " in terminal.text
    assert "ends with this program. Making the video" in terminal.text
    assert terminal.end() == 0
    assert "Make the video?" not in terminal.text
    assert "100% Saving the video" in terminal.text
    assert "".join(terminal.lines).endswith(str(folder / "a.mp4"))
    assert (folder / "a.mp4").exists()


def test_a_video_from_text_needs_no_picture(columns: int, folder: Path, api: dict[str, str]) -> None:
    """The price is said to be a guess before it is paid, and the list says where the video is from."""
    arguments = ("--text", PROMPT, "--aspect-ratio", "9:16", "--output", "a.mp4")
    terminal = Terminal(columns, "generate", *arguments, folder=folder, **api)
    terminal.until("Make the video? [y/N]:")
    guess = "(a guess: only the price of videos from pictures is known)"
    assert f"{PRICE} {guess}. Make the video?" in terminal.text
    terminal.type("y\r")
    assert terminal.end() == 0
    assert posts(api) == ["/v1/videos/generations"]
    with av.open(str(folder / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height) == (720, 1280)
    listed = Terminal(columns, "tasks", folder=folder, **api)
    assert listed.end() == 0
    assert f'"{PROMPT}" from text' in listed.text


def test_the_sandbox_ends_with_the_program(columns: int, folder: Path) -> None:
    """After Ctrl-C, the program does not claim that anything goes on."""
    terminal = generate(columns, folder, "--sandbox")
    terminal.until("left")
    terminal.interrupt()
    assert terminal.end() == 130
    assert terminal.text.endswith("Stopped, and the sandbox with it. Nothing was charged.")


@IN_BOTH_WIDTHS
def test_without_a_yes_nothing_is_sent(columns: int, folder: Path, api: dict[str, str]) -> None:
    """A no, nothing, Ctrl-C and the end of the input: no picture, no request, and the program says so."""
    for answer in ("n\r", "\r", "N\r", "\x03", "\x04"):
        terminal = generate(columns, folder, **api)
        terminal.until("Make the video? [y/N]:")
        assert f"{FITTED} {PRICE}. Make the video?" in terminal.text
        terminal.type(answer)
        assert terminal.end() == 1
        assert terminal.text.endswith("Nothing was sent, and nothing was paid.")
        assert posts(api) == []


def test_an_interrupted_wait_is_continued_by_the_same_command(
    columns: int, folder: Path, api: dict[str, str]
) -> None:
    """Without a second question, and without paying again."""
    first = generate(columns, folder, **api)
    first.until("Make the video? [y/N]:")
    first.type("y\r")
    first.until("left")
    first.interrupt()
    assert first.end() == 130
    assert "goes on even if this program stops." in first.text
    assert "is not lost: it goes on at Evolink. The same command" in first.text
    second = generate(columns, folder, **api)
    assert second.end() == 0
    assert "Make the video?" not in second.text
    assert "this is its task, and nothing was charged again." in second.text
    assert posts(api) == ["/api/v1/files/upload/stream", "/v1/videos/generations"]
    assert len(list(folder.glob("*.mp4"))) == 1


def test_an_interrupted_upload_promises_no_more_than_one_payment(columns: int, folder: Path) -> None:
    """Nothing was paid yet, so that the same command still pays."""
    with serving(folder, "--fault", "upload:slow=600") as api:
        terminal = generate(columns, folder, "--yes", **api)
        terminal.until("Still uploading the picture")
        terminal.interrupt()
        assert terminal.end() == 130
    assert terminal.text.endswith("The same command continues it; it is paid once.")


def test_an_interrupted_download_says_that_the_video_is_made(columns: int, folder: Path) -> None:
    """Nothing goes on at Evolink then; the same command saves it."""
    with serving(folder, "--seconds", "1", "--fault", "result:slow=600") as api:
        terminal = generate(columns, folder, "--yes", **api)
        terminal.until("Saving the video")
        terminal.interrupt()
        assert terminal.end() == 130
    assert "is not lost: its video is made. The same command" in terminal.text


@IN_BOTH_WIDTHS
def test_a_warning_is_wrapped_and_has_no_log_format(columns: int, folder: Path) -> None:
    """It is for a person: neither a date nor the name of a module."""
    with serving(folder, "--seconds", "1", "--fault", "submit:lost") as api:
        terminal = generate(columns, folder, "--yes", **api)
        assert terminal.end() == 0
    assert "the answer of a submission was lost" in terminal.text
    assert "WARNING" not in terminal.text
    assert "wan_mcp." not in terminal.text


def test_nobody_is_asked_with_yes(columns: int, folder: Path, api: dict[str, str]) -> None:
    """The price is still shown."""
    terminal = generate(columns, folder, "--yes", "--take", "2", **api)
    terminal.until("Making the video")
    assert PRICE in terminal.text
    assert "Make the video?" not in terminal.text
    terminal.interrupt()
    assert terminal.end() == 130


def test_what_was_made_of_the_path_is_said_before_the_question(
    columns: int, folder: Path, api: dict[str, str]
) -> None:
    """The person who pays should know which picture it is."""
    terminal = Terminal(columns, "generate", "LAKE.JPG", PROMPT, folder=folder, **api)
    terminal.until("Make the video? [y/N]:")
    assert "lake.jpg" in "".join(terminal.lines)
    terminal.type("n\r")
    assert terminal.end() == 1


@IN_BOTH_WIDTHS
def test_an_error_is_wrapped_at_words(columns: int, tmp_path: Path) -> None:
    """Like everything else."""
    terminal = Terminal(columns, "generate", "none.jpg", PROMPT, folder=tmp_path, EVOLINK_API_KEY="sk-a")
    assert terminal.end() == 1
    assert terminal.lines[0].startswith("Error:")
    assert terminal.text.endswith(" does not exist. Check the spelling of the path.")


@IN_BOTH_WIDTHS
def test_the_doctor_can_be_read(columns: int, folder: Path, api: dict[str, str]) -> None:
    """Paths and addresses alone are longer than a line."""
    terminal = Terminal(columns, "doctor", folder=folder, **api)
    assert terminal.end() == 0
    assert terminal.lines[-1] == "A generation could work."
    assert "WRONG" not in terminal.text
    assert "answers and knows the key; 1000 credits ($14.71) are left" in terminal.text


@IN_BOTH_WIDTHS
def test_the_help_of_the_sandbox_can_be_read(columns: int, tmp_path: Path) -> None:
    """No example is broken."""
    terminal = Terminal(columns, "sandbox", "--help", folder=tmp_path)
    assert terminal.end() == 0
    assert any(line.endswith("submit:fail,at_once=true") for line in terminal.lines)


def test_the_sandbox_stops_on_ctrl_c(columns: int, tmp_path: Path) -> None:
    """Quietly."""
    terminal = Terminal(columns, "sandbox", "--port", "0", folder=tmp_path)
    terminal.until("Ctrl-C ends it.")
    terminal.interrupt()
    assert terminal.end() == 0
    assert terminal.text.endswith("Stopped.")


@pytest.mark.parametrize(("typed", "arguments"), [("", ()), ("something", ("serve",))])
def test_ctrl_c_ends_the_server_at_once(
    columns: int, tmp_path: Path, typed: str, arguments: tuple[str, ...]
) -> None:
    """Without an Enter before it, and without a traceback."""
    terminal = Terminal(columns, *arguments, folder=tmp_path)
    terminal.until("For people: wan-mcp --help")
    terminal.type(typed)
    terminal.interrupt()
    assert terminal.end() == -signal.SIGINT


@IN_BOTH_WIDTHS
def test_the_list_of_tasks_breaks_no_words(columns: int, folder: Path, api: dict[str, str]) -> None:
    """What was made, where it is, and until when its link works."""
    assert generate(columns, folder, "--yes", "--output", "a.mp4", **api).end() == 0
    terminal = Terminal(columns, "tasks", folder=folder, **api)
    assert terminal.end() == 0
    for words in ("completed, today", '"Mist drifts over the water" from lake.jpg', "25.5 credits ($0.38)"):
        assert words in terminal.text
