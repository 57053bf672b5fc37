"""What commands print: words wrapped at the terminal's width, and what moves while they wait."""

import logging
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

USUAL_COLUMNS = 80
"""Columns of a terminal that does not report its width."""
BAR = 40
"""Characters of a progress bar at most."""
BESIDE_THE_BAR = 28
"""Characters of a line for the turning sign, the percentage and the words after it."""
PERCENTAGE = 9
"""Characters for the sign, the percentage, the spaces around them, and the end of the line."""


def columns(stream: TextIO) -> int | None:
    """The width of the terminal that a stream goes to, in characters; None where it goes elsewhere."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS) if stream.isatty() else None
    except (OSError, ValueError):  # the stream has no file, or is closed
        return None


def wrapped(text: str, width: int | None, hanging: str = "") -> str:
    """Wrap a text; no word, path or address is broken.

    Args:
        text: lines, each of which is wrapped separately and keeps its indentation.
        width: characters of a line; None: the lines stay as they are.
        hanging: the further indentation of the lines after the first that one line becomes.
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
    """A log for a person: only the messages, wrapped where they go to a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage(), err=True)


class Failure(click.ClickException):
    """An error with a text for a person, wrapped where it goes to a terminal."""

    def show(self, file: object = None) -> None:
        tell(f"Error: {self.format_message()}", err=True)


class Bar:
    """A progress bar. In a terminal, a sign beside it turns while the work goes on."""

    def __init__(self, drawn: "tuple[Progress, TaskID] | None", room: int) -> None:
        self._drawn = drawn
        self._room = room
        """Characters of the words that fit."""

    def show(self, percent: float, words: str = "") -> None:
        """Draw the bar. Words that do not fit beside it are left out."""
        if self._drawn is not None:
            progress, task = self._drawn
            fitting = words if len(words) <= self._room else ""
            progress.update(task, completed=min(max(percent, 0), 100), words=fitting)


@contextmanager
def progress(label: str, stream: TextIO | None = None) -> Iterator[Bar]:
    """A progress bar, by default on stderr. Where that is no terminal, only the label is printed."""
    stream = stream or sys.stderr
    click.echo(label, file=stream)
    width = columns(stream)
    if width is None:
        yield Bar(None, 0)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    drawn = max(min(width - BESIDE_THE_BAR, BAR), 4)
    with Progress(
        SpinnerColumn("line", finished_text=" "),
        BarColumn(drawn),
        TextColumn("{task.percentage:>3.0f}% {task.fields[words]}"),
        console=_console(stream, width),
    ) as bar:
        yield Bar((bar, bar.add_task("", total=100, words="")), width - drawn - PERCENTAGE)


@contextmanager
def waiting(label: str, *, hanging: str = "", bold: bool = False) -> Iterator[None]:
    """A label on stdout; in a terminal, a sign under it turns until the block ends."""
    tell(label, hanging=hanging, bold=bold)
    width = columns(sys.stdout)
    if width is None:
        yield
        return
    with _console(sys.stdout, width).status("", spinner="line"):
        yield


def _console(stream: TextIO, width: int) -> "Console":
    from rich.console import Console

    return Console(file=stream, width=width - 1, force_terminal=True, force_jupyter=False)


def clock(seconds: float) -> str:
    """Minutes and seconds, as on a clock."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
