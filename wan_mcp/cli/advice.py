"""Advice for a person in a terminal, who has commands and no tools."""

import re

from wan_mcp.cli.folders import ANOTHER_PLACE
from wan_mcp.errors import WanError
from wan_mcp.generation.outcomes import ASK_AGAIN
from wan_mcp.videos.files import ANOTHER_DISK, WRITABLE_FOLDER

SAME_AGAIN = "The same command, or your MCP client, continues the request without paying again."
TASKS_SHOW = "wan-mcp tasks shows what became of it."
FOR_A_PERSON = {
    ASK_AGAIN: f"Wait a minute, then try again. {SAME_AGAIN}",
    "list_tasks": "wan-mcp tasks",
    "get_task": "your MCP client",
    "take: ": "--take ",
    ANOTHER_DISK: f"name {ANOTHER_PLACE}",
    WRITABLE_FOLDER: f"Name {ANOTHER_PLACE}",
}
"""What a model is told, and what a person in a terminal is told instead."""
_TOOLS = re.compile(r"\b(generate_video|wait_for_task|get_task|list_tasks|save_video)")


def say_to_a_person(error: WanError, instead: str = "") -> None:
    """Change the text of an error to one for a person, who has commands and no tools with arguments.

    Args:
        error: the error.
        instead: the advice to give, if any, where the error has none or names a tool.
    """
    if instead and (not error.next_step or _TOOLS.search(error.next_step)):
        error.next_step = instead
    error.message = error.message.removeprefix("image_urls: ")
    for said, meant in FOR_A_PERSON.items():
        error.next_step = error.next_step.replace(said, meant)
