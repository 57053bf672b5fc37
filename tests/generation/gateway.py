"""Gateways of every form, and callers that pay there."""

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

from tests.conftest import World, now, picture, resolve
from wan_mcp.evolink import VideoRequest
from wan_mcp.generation.request import Wish
from wan_mcp.generation.service import Studio
from wan_mcp.generation.snapshot import Report
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.settings import Settings

ADDRESS = "https://pictures.example.com/cat.png"
PROMPT = "The cat yawns."
WISH: dict[str, Any] = {"prompt": PROMPT, "image_urls": [ADDRESS]}
FORMS = {"both": (True, True), "key": (True, False), "list": (False, True), "neither": (False, False)}
"""Whether the gateway honours the idempotency key, and whether it offers the list of tasks."""
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


SHOWN = picture(400, 400)
"""The picture, made once: nothing here is about what it shows."""


async def show(url: str) -> bytes:
    return SHOWN


def gateway(folder: Path, form: str = "both", **options: Any) -> World:
    honoured, offered = FORMS[form]
    defaults = {"seconds": 120, "honours_idempotency_key": honoured, "offers_list": offered, "fetch": show}
    world = World(folder, **(defaults | options))
    world.environ["WAN_MCP_IMAGE_CHECK"] = "off"
    return world


async def generate(studio: Studio, prompt: str = PROMPT, **arguments: Any) -> Report:
    return await studio.generate(Wish(prompt=prompt, **({"image_urls": [ADDRESS]} | arguments)))


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await call(client, tool, **arguments)
    assert not result.is_error, text(result)
    content: dict[str, Any] | None = result.structured_content
    assert content is not None
    return content


async def refusal(client: Client, **arguments: Any) -> str:
    result = await call(client, "generate_video", **(WISH | arguments))
    assert result.is_error
    return text(result)


async def listed(client: Client) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (await answer(client, "list_tasks"))["tasks"]
    return tasks


async def make_elsewhere(world: World, prompt: str = "A dog.") -> str:
    """A task of the same account that another program asked for."""
    key = f"another-program-{len(world.books.calls)}"
    async with world.evolink() as evolink:
        request = VideoRequest(prompt=prompt, image_urls=[ADDRESS])
        return (await evolink.submit(request, idempotency_key=key)).id


def paid_for(world: World, prompt: str) -> set[str]:
    return {payment.task_id for payment in world.books.paid if payment.prompt == prompt}


async def entries(studio: Studio) -> list[Entry]:
    return await studio.ledger.entries(None)


@asynccontextmanager
async def served(world: World, ledger: SqliteLedger | None = None, clock: Callable[[], float] = now) -> Any:
    """A studio with another ledger, or another clock."""
    settings = Settings.load(world.environ)
    studio = Studio(settings, transport=world.transport, resolve=resolve, clock=clock)
    if ledger is not None:
        studio.__dict__["ledger"] = ledger
    async with studio:
        yield studio
