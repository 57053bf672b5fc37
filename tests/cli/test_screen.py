"""What commands print: wrapped at words, and a bar that stays inside of its line."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.cli.screen import clock, columns, wrapped


@given(st.text("ab -—/.\n", max_size=200), st.integers(1, 90))
def test_no_word_is_broken_or_lost(text: str, width: int) -> None:
    """Whatever the text and the terminal: a line is only too long where a single word is."""
    made = wrapped(text, width)
    assert made.split() == text.split()
    assert all(len(line) < max(width, 2) or len(line.split()) == 1 for line in made.split("\n"))


def test_indentation_is_kept_and_lines_hang() -> None:
    """Each line under its own beginning."""
    text = "server: a list\n  one two three\n\nlast"
    assert wrapped(text, 12, "  ") == "server: a\n  list\n  one two\n    three\n\nlast"


def test_a_text_that_goes_nowhere_in_particular_is_left_as_it_is() -> None:
    """In a file and in a pipe, lines are the reader's matter."""
    assert columns(io.StringIO()) is None
    assert wrapped("a " * 200, None) == "a " * 200


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3700, "61:40")])
def test_time_is_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    """Minutes and seconds."""
    assert clock(seconds) == shown
