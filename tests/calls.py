"""Calls of tools, as a client makes them and a model reads the answers."""

from typing import Any

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
