"""What commands print: words wrapped at the terminal's width, and a progress bar."""

import logging
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import click

USUAL_COLUMNS = 80
"""Of a terminal that does not know its width."""
BAR = 40
"""Characters of a progress bar at most."""
BESIDE_THE_BAR = 26
"""Characters of a line that are for the percentage and the words after it."""
PERCENTAGE = 8
"""Those of the percentage, the spaces around it, and the last one of the line."""


def columns(stream: TextIO) -> int | None:
    """Characters of a line of the terminal that a stream goes to; None where it goes elsewhere."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS) if stream.isatty() else None
    except (OSError, ValueError):  # a stream that has no file, or a closed one
        return None


def wrapped(text: str, width: int | None, hanging: str = "") -> str:
    """A text in lines of a width; nothing is broken inside a word, a path or an address.

    Args:
        text: each of its lines is wrapped by itself, under its own indentation.
        width: characters of a line; None: its lines stay as they are.
        hanging: the further indentation of the lines that come out of one.
    """
    if width is None:
        return text
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.lstrip(),
            max(width - 1, 1),
            initial_indent=indent,
            subsequent_indent=indent + hanging,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def tell(text: str, *, err: bool = False, hanging: str = "", bold: bool = False) -> None:
    """Print a text, wrapped where it goes to a terminal."""
    stream = sys.stderr if err else sys.stdout
    click.secho(wrapped(text, columns(stream), hanging), err=err, bold=bold)


@dataclass(frozen=True)
class Person:
    """Whoever runs a command.

    Args:
        is_there: whether questions can be asked.
        yes: whether the answer to all of them is known to be yes.
    """

    is_there: bool
    yes: bool = False

    def agrees(self, question: str, *, usually: bool = True) -> bool:
        """Ask a short question, whose usual answer is what Enter alone means.

        Raises:
            click.Abort: on Ctrl-C and at the end of the input.
        """
        return self.yes or (self.is_there and click.confirm(question, default=usually))


class Told(logging.Handler):
    """A log for a person: the messages alone, wrapped where they go to a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage(), err=True)


class Failure(click.ClickException):
    """An error in words, wrapped where it goes to a terminal."""

    def show(self, file: object = None) -> None:
        tell(f"Error: {self.format_message()}", err=True)


class Bar:
    """A progress bar that is drawn anew in its line."""

    def __init__(self, bar: "click._termui_impl.ProgressBar[str | None]", room: int) -> None:
        self._bar = bar
        self._room = room
        """Characters of the words that fit."""

    def show(self, percent: float, words: str = "") -> None:
        """Draw it. Words that do not fit beside it are left out."""
        percent = min(max(percent, 0), 100)
        self._bar.update(int(percent) - self._bar.pos, words if len(words) <= self._room else "")


@contextmanager
def progress(label: str, stream: TextIO | None = None) -> Iterator[Bar]:
    """A progress bar, by default on stderr. Where that is no terminal, only the label is printed."""
    stream = stream or sys.stderr
    width = columns(stream)
    if width is not None:
        click.echo(label, file=stream)
    drawn = max(min((width or 0) - BESIDE_THE_BAR, BAR), 4)
    full, empty = "█░" if _has("█░", stream) else "#-"
    with click.progressbar(
        length=100,
        label=label,
        file=stream,
        width=drawn,
        update_min_steps=0,
        show_eta=False,
        bar_template="%(bar)s %(info)s",
        fill_char=full,
        empty_char=empty,
        item_show_func=lambda words: words or "",
    ) as bar:
        yield Bar(bar, (width or 0) - drawn - PERCENTAGE)


def _has(text: str, stream: TextIO) -> bool:
    """Whether a stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
        return True
    except (LookupError, UnicodeEncodeError):
        return False


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a clock."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
