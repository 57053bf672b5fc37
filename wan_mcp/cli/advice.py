"""Advice for a person in a terminal, who has commands and no tools."""

import re

from wan_mcp.errors import WanError
from wan_mcp.generation.outcomes import ASK_AGAIN

SAME_AGAIN = "The same command, or your MCP client, goes on with it without paying again."
FOR_A_PERSON = {
    ASK_AGAIN: f"Run it again in a minute. {SAME_AGAIN}",
    "list_tasks": "wan-mcp tasks",
    "get_task": "your MCP client",
    "take: ": "--take ",
    "set WAN_MCP_OUTPUT_DIR to another disk": "name another place with --output",
    "Set WAN_MCP_OUTPUT_DIR to a folder that can be written": "Name another place with --output",
}
"""What is said to a model, and what a person in a terminal is told instead."""
_TOOLS = re.compile(r"\b(generate_video|wait_for_task|get_task|list_tasks|save_video)")


def say_to_a_person(error: WanError, instead: str = "") -> None:
    """Change the words of an error to those for a person, who has commands and no tools with arguments.

    Args:
        error: the error.
        instead: what to say, if anything, where there is no advice or it names a tool.
    """
    if instead and (not error.next_step or _TOOLS.search(error.next_step)):
        error.next_step = instead
    error.message = error.message.removeprefix("image_urls: ")
    for said, meant in FOR_A_PERSON.items():
        error.next_step = error.next_step.replace(said, meant)
