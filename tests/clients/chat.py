"""A user who talks to an agent that has the scripted model and a real server."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from anyio import to_thread

from tests.clients.agents import Start
from tests.clients.model import Model, Script, scripted
from tests.clients.programs import run, started
from tests.clients.scene import Scene, scene
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.sandbox.results import render_video


class Chat:
    """Conversations on one machine with one account.

    Args:
        at: the imitated API and the folders.
        model: plays what each conversation says.
        start: how the agent is started.
    """

    def __init__(self, at: Scene, model: Model, start: Callable[..., Start]) -> None:
        self.at = at
        self.model = model
        self._start = start

    async def say(self, words: str, script: Script, *, goes_on: bool = False) -> str:
        """Say something in a new conversation, or in the last one, and return what the user reads."""
        self.model.begin(words, script)
        start = self._start(self.at, self.model, words, goes_on=goes_on)
        ended = await run(*start.command, folder=self.at.folder, environ=start.environ)
        assert ended.code == 0, ended.said
        return ended.out.strip()

    async def crash(self, words: str, script: Script, when: Callable[[], object]) -> None:
        """Say something, and kill the agent and all its children as soon as a condition is true."""
        self.model.begin(words, script)
        start = self._start(self.at, self.model, words)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        async with started(*start.command, folder=self.at.folder, environ=start.environ, **quiet) as process:
            await to_thread.run_sync(until, when)
            for number in (*_children(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        self.model.transcript.append("(the agent and the server are killed)")

    def let_pass(self, hours: float) -> None:
        """Make everything that happened so far older by this time, for the API and in the ledger."""
        seconds = hours * 3600
        clock = self.at.sandbox.clock
        self.at.sandbox.clock = lambda: clock() + seconds
        with closing(sqlite3.connect(self.at.folder / "data" / FILE_NAME)) as database, database:
            times = ("asked_at", "posted_at", "reposted_at", "known_at", "completed_at", "answered_at")
            older = ", ".join(f"{name} = {name} - {seconds}" for name in times)
            database.execute(f"UPDATE entries SET {older}")
            for number, posts in database.execute("SELECT number, posts FROM entries").fetchall():
                moved = json.dumps([[at - seconds, skew] for at, skew in json.loads(posts)])
                database.execute("UPDATE entries SET posts = ? WHERE number = ?", (moved, number))
        self.model.transcript.append(f"({hours:g} h pass)")

    @property
    def calls(self) -> list[str]:
        """The tools that the model called so far."""
        return [name for name, _ in self.model.calls]

    @property
    def paid(self) -> int:
        """Tasks that were paid, each with one request."""
        records = self.at.sandbox.records
        assert records.posts == len(records.paid)
        return len(records.paid)

    def video(self, name: str) -> Path:
        return self.at.folder / "videos" / name


@asynccontextmanager
async def chat(folder: Path, start: Callable[..., Start]) -> AsyncIterator[Chat]:
    """A chat about videos that can be played; what was said is printed at the end."""
    async with scene(folder, render=_render) as at:
        with scripted() as model:
            try:
                yield Chat(at, model, start)
            finally:
                sys.stdout.write("\n".join(model.transcript) + "\n")


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _render(picture: bytes, seconds: int, quality: str) -> bytes:
    """A small video, which is made faster."""
    return render_video(picture, seconds, "480p")


def _children(process: int) -> list[int]:
    """All descendants of a process: an agent may start its servers in other process groups."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    below = [child for child, parent in pairs if parent == process]
    return [number for child in below for number in (*_children(child), child)]
