"""Gateways of every form, and callers that pay there."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.calls import ADDRESS, ARGUMENTS, PROMPT, answer, call, text
from tests.world import KEY, World, picture
from wan_mcp.evolink import ImageToVideoRequest
from wan_mcp.generation.request import GenerationRequest, TextGenerationRequest
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import KeyUse
from wan_mcp.ledger.sqlite.store import SqliteLedger

FORMS = {"both": (True, True), "key": (True, False), "list": (False, True), "neither": (False, False)}
"""Whether the gateway honours the idempotency key, and whether it offers the list of tasks."""
EVERY_FORM = pytest.mark.parametrize("form", FORMS)
API = "https://api.evolink.ai"

SHOWN = picture(400, 400)
"""The picture, made once: what it shows does not matter here."""


async def show(url: str) -> bytes:
    return SHOWN


def gateway(folder: Path, form: str = "both", **options: Any) -> World:
    honoured, offered = FORMS[form]
    defaults = {"seconds": 120, "honours_idempotency_key": honoured, "offers_list": offered, "fetch": show}
    world = World(folder, **(defaults | options))
    world.environ["WAN_MCP_IMAGE_CHECK"] = "off"
    return world


async def generate(
    service: VideoService, prompt: str = PROMPT, *, patience: float = float("inf"), **arguments: Any
) -> TaskSnapshot:
    request = GenerationRequest(prompt=prompt, **({"image_urls": [ADDRESS]} | arguments))
    return await service.generate(request, patience)


async def generate_from_text(
    service: VideoService, prompt: str = PROMPT, *, patience: float = float("inf"), **arguments: Any
) -> TaskSnapshot:
    return await service.generate(TextGenerationRequest(prompt=prompt, **arguments), patience)


async def refusal(client: Client, **arguments: Any) -> str:
    result = await call(client, "generate_video", **(ARGUMENTS | arguments))
    assert result.is_error
    return text(result)


async def listed(client: Client) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (await answer(client, "list_tasks"))["tasks"]
    return tasks


async def make_elsewhere(world: World, prompt: str = "A dog.") -> str:
    """Make a task of the same account, as another program does."""
    key = f"another-program-{len(world.records.calls)}"
    request = ImageToVideoRequest(prompt=prompt, image_urls=[ADDRESS])
    return (await world.evolink().submit(request, idempotency_key=key)).task.id


def paid_for(world: World, prompt: str) -> set[str]:
    return {payment.task_id for payment in world.records.paid if payment.prompt == prompt}


def owned(ledger: SqliteLedger) -> Any:
    """The ledger of the key that all callers here have."""
    return ledger.for_owner(API, KEY)


async def key_use(world: World, learned: KeyUse | None = None) -> KeyUse:
    """What the ledger knows of the gateway, after it has learned this."""
    ledger = SqliteLedger(Path(world.environ["WAN_MCP_DATA_DIR"]))
    try:
        if learned is not None:
            await owned(ledger).learn_key_use(learned)
        use: KeyUse = await owned(ledger).key_use()
        return use
    finally:
        await ledger.aclose()
