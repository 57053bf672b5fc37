"""``wan-mcp join``: the videos of several tasks as one file."""

import math
from collections.abc import Sequence
from pathlib import Path

from wan_mcp.cli.generate import place
from wan_mcp.cli.screen import progress, tell
from wan_mcp.errors import VideoError
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.server.arguments import JoinArguments
from wan_mcp.settings import Settings
from wan_mcp.validation import parse, plain_schema


async def join(settings: Settings, task_ids: Sequence[str], output: str | None) -> Path:
    """Join the videos of tasks, in this order. Free.

    Raises:
        WanError: when a task has no video, or the film cannot be made or written.
    """
    key = settings.require_key()
    arguments = parse("join", JoinArguments, plain_schema(JoinArguments), {"task_ids": list(task_ids)})
    folder, name = place(output)
    settings = settings.model_copy(update={"output_dir": folder, "autosave": False})
    async with Runtime(settings) as runtime:
        joiner = VideoService(runtime, key).joiner
        with progress("Joining the videos") as bar:

            async def show(share: float) -> None:
                bar.show(100 * share)

            try:
                film = await joiner.join(arguments.task_ids, name, math.inf, show)
            except VideoError as error:
                is_disk = isinstance(error.__cause__, OSError)
                advice = "Free some room, or name another place with --output."
                error.next_step = advice if is_disk else "wan-mcp tasks shows what became of each."
                raise
            bar.show(100)
    for remark in film.remarks:
        tell(remark, err=True)
    return Path(film.saved.path)
