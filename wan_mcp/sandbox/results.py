"""The results: each video is made once, when it is first requested, and kept until the end."""

import shutil
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.tasks import Task

Render = Callable[[bytes, int, str], bytes]


class Results:
    def __init__(self, render: Render) -> None:
        self._render = render
        self._folder: Path | None = None
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def of(self, task: Task) -> Path:
        async with self._locks[task.id]:
            path = self._make_folder() / f"{task.id}.mp4"
            if not path.exists():
                await to_thread.run_sync(self._make, task, path, abandon_on_cancel=True)
            return path

    def close(self) -> None:
        """Remove the videos; they are made again when they are requested again."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _make(self, task: Task, path: Path) -> None:
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(self._render(task.picture, task.order.duration, task.order.quality))
        unfinished.replace(path)

    def _make_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="wan-mcp-sandbox-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder


def render_video(picture: bytes, seconds: int, quality: str) -> bytes:
    """The default renderer."""
    try:
        from wan_mcp.sandbox.render import render
    except ModuleNotFoundError as missing:
        if missing.name != "av":
            raise
        raise Problem(500, "Making videos needs PyAV: pip install av") from missing
    return render(picture, seconds, quality)
