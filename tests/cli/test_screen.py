"""What commands print: text that is wrapped between words, and a bar that stays in its line."""

import io

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.cli import screen
from wan_mcp.cli.screen import clock, columns, progress, waiting, wrapped


@given(st.text("ab -—/.\n", max_size=200), st.integers(1, 90))
def test_no_word_is_broken_or_lost(text: str, width: int) -> None:
    """For any text and terminal, a line is too long only where a single word is."""
    made = wrapped(text, width)
    assert made.split() == text.split()
    assert all(len(line) < max(width, 2) or len(line.split()) == 1 for line in made.split("\n"))


def test_indentation_is_kept_and_lines_hang() -> None:
    """Each line under its own beginning."""
    text = "server: a list\n  one two three\n\nlast"
    assert wrapped(text, 12, "  ") == "server: a\n  list\n  one two\n    three\n\nlast"


def test_a_text_that_goes_nowhere_in_particular_is_left_as_it_is() -> None:
    """In a file or a pipe, lines are not wrapped."""
    assert columns(io.StringIO()) is None
    assert wrapped("a " * 200, None) == "a " * 200


class Terminal(io.TextIOWrapper):
    """A terminal of an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")

    def isatty(self) -> bool:
        return True

    def shown(self, width: int) -> list[str]:
        """The lines of a terminal of this width that shows what was written."""
        screen = pyte.Screen(width, 50)
        self.flush()
        self.seek(0)
        pyte.Stream(screen).feed(self.read().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


@pytest.mark.parametrize("width", [20, 27, 30, 40, 80, 120])
def test_a_bar_never_fills_its_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal would continue in the next line, and each drawing would add a line."""
    monkeypatch.setattr(screen, "columns", lambda stream: width)
    terminal = Terminal("utf-8")
    with progress("Making a video", terminal) as bar:
        for percent in range(0, 60, 10):
            bar.show(percent, "about 12:34 left")
    label, drawn = terminal.shown(width)
    assert label == "Making a video"
    assert len(drawn) < width
    assert "50%" in drawn
    assert ("about 12:34 left" in drawn) == (width >= 30)


@pytest.mark.parametrize(("encoding", "bar_of"), [("utf-8", "━"), ("cp437", "-"), ("latin-1", "-")])
def test_a_bar_is_made_of_what_the_terminal_has(
    encoding: str, bar_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each drawing is several lines of numbers."""
    monkeypatch.setattr(screen, "columns", lambda stream: 40)
    terminal = Terminal(encoding)
    with progress("Making a video", terminal) as bar:
        bar.show(100)
    assert terminal.shown(40)[1].strip() == f"{bar_of * 12} 100%"


def test_outside_of_a_terminal_only_the_label_is_printed() -> None:
    """Nothing moves in a file or a pipe."""
    stream = io.StringIO()
    with progress("Making a video", stream) as bar:
        bar.show(50, "about 12:34 left")
    assert stream.getvalue() == "Making a video\n"


def test_a_sign_under_the_label_is_gone_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn at least once, in a line of its own."""
    monkeypatch.setattr(screen, "columns", lambda stream: 40)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal("utf-8")
    monkeypatch.setattr("sys.stdout", terminal)
    with waiting("Starting ..."):
        pass
    assert terminal.shown(40) == ["Starting ..."]
    terminal.seek(0)
    drawn = terminal.read().partition("\n")[2]
    assert any(sign in drawn for sign in ("|", "/", "-", "\\"))


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3700, "61:40")])
def test_time_is_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    """Minutes and seconds."""
    assert clock(seconds) == shown
