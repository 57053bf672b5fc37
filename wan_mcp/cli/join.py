"""``wan-mcp join``: join the videos of several tasks into one file."""

import math
from collections.abc import Sequence
from pathlib import Path

from wan_mcp.cli.advice import TASKS_SHOW, say_to_a_person
from wan_mcp.cli.folders import place
from wan_mcp.cli.screen import progress, tell
from wan_mcp.errors import VideoError
from wan_mcp.generation.owners import Owner
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
        joiner = VideoService(runtime, Owner(key)).joiner
        with progress("Joining the videos") as bar:

            async def show(share: float) -> None:
                bar.show(100 * share)

            try:
                film = await joiner.join(arguments.task_ids, name, math.inf, show)
            except VideoError as error:
                say_to_a_person(error, TASKS_SHOW)
                raise
            bar.show(100)
    for remark in film.remarks:
        tell(remark, err=True)
    assert film.found.saved is not None
    return Path(film.found.saved.path)
