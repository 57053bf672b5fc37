"""Calls of tools, as a client makes them and a model reads the answers."""

from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

ADDRESS = "https://pictures.example.com/cat.png"
PROMPT = "The cat yawns."
ARGUMENTS: dict[str, Any] = {"prompt": PROMPT, "image_urls": [ADDRESS]}
"""Arguments of generate_video in which nothing is wrong."""
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await call(client, tool, **arguments)
    assert not result.is_error, text(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def made(client: Client, prompt: str = PROMPT, **arguments: Any) -> str:
    """The id of a task that is completed, in a sandbox that takes less than 100 seconds for it."""
    given = {"prompt": prompt, "image_urls": [ADDRESS], "quality": "480p", **arguments}
    asked = await answer(client, "generate_video", **given)
    await anyio.sleep(100)
    assert (await answer(client, "get_task", task_id=asked["id"]))["status"] == "completed"
    return str(asked["id"])
