"""A terminal of some width, with a command in it: what a person sees there and types."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pexpect
import pyte

from wan_mcp.cli.sandbox import environment

SECONDS = 60
LINES = 200
"""More than any command prints, so that nothing scrolls away."""


class Screen:
    """A running program and its screen.

    Args:
        columns: the width.
        command: the program and its arguments.
        folder: where it runs.
        environ: its whole environment.
    """

    def __init__(
        self, columns: int, command: Sequence[str], *, folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.columns = columns
        self.transcript = b""
        """All that was sent to the terminal."""
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._process: pexpect.spawn[bytes] = pexpect.spawn(
            command[0],
            list(command[1:]),
            cwd=str(folder),
            env={"TERM": "xterm", **environ},
            encoding=None,
            dimensions=(LINES, columns),
            timeout=SECONDS,
        )

    @property
    def lines(self) -> list[str]:
        """The screen, without the empty lines."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The screen's words."""
        return " ".join(" ".join(self.lines).split())

    def until(self, text: str) -> None:
        """Read on until the screen shows these words."""
        deadline = monotonic() + SECONDS
        while text not in self.text:
            assert monotonic() < deadline, self.lines
            self._read()

    def type(self, text: str) -> None:
        """Type it."""
        self._process.send(text)

    def close(self) -> None:
        """End the program, in any way."""
        self._process.close(force=True)

    def _read(self) -> None:
        sent = self._process.read_nonblocking(10_000, timeout=SECONDS)
        self.transcript += sent
        self._stream.feed(sent)


class Terminal(Screen):
    """A terminal with ``wan-mcp`` in it.

    Args:
        columns: the width.
        arguments: of ``wan-mcp``.
        folder: where it runs.
        environ: its settings.
    """

    def __init__(self, columns: int, *arguments: str, folder: Path, **environ: str) -> None:
        foreign = ("EVOLINK_", "WAN_MCP_", "COLUMNS", "LINES")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        settings = {"WAN_MCP_DATA_DIR": str(folder / "data"), "TERM": "xterm", **environ}
        command = (sys.executable, "-m", "wan_mcp", *arguments)
        super().__init__(columns, command, folder=folder, environ=inherited | settings)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.sendintr()

    def end(self) -> int:
        """Read on until the command ends; its exit code, or the negative number of the signal that ended it.

        Checks the screen, too.
        """
        try:
            while True:
                self._read()
        except pexpect.EOF:
            self._process.close()
        assert "Traceback" not in self.text, self.lines
        # A line that fills the terminal was broken there, unless it is one word that fits nowhere.
        broken = [line for line in self.lines if len(line) == self.columns and " " in line.strip()]
        assert broken == [], broken
        status: int | None = self._process.exitstatus
        return -(self._process.signalstatus or 0) if status is None else status


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """A sandbox in another process, and the settings with which it is used."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "sandbox", "--port", "0", "--quiet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        yield environment(process.stdout.readline().split()[-1])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
