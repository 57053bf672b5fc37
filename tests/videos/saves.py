"""A program that saves a task's video and prints its path: ``python -m tests.videos.saves TASK [NAME]``."""

# ruff: noqa: T201  the test reads it

import sys

import anyio

from tests.videos.host import silent
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.settings import Settings


async def save(task_id: str, *names: str) -> None:
    async with Runtime(Settings.load()) as runtime:
        snapshot = await Services(runtime).current().save(task_id, next(iter(names), None), silent)
    assert snapshot.saved is not None
    print(snapshot.saved.path)


if __name__ == "__main__":
    anyio.run(save, sys.argv[1], *sys.argv[2:])
