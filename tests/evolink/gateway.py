"""A gateway that answers what a test says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import HealthCheck, settings
from pydantic import SecretStr

from tests.clock import now
from tests.world import KEY, World, picture
from wan_mcp.errors import EvolinkError, LostAnswer
from wan_mcp.evolink import Connections, Evolink, ImageToVideoRequest

ARGUMENTS: dict[str, Any] = {
    "prompt": "The cat yawns.",
    "image_urls": ["https://pictures.example.com/cat.png"],
}
REQUEST = ImageToVideoRequest.model_validate(ARGUMENTS)
ONCE = "request-0123456789abcdef"
PICTURE = picture(360, 360)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""However busy the machine is."""


async def show(url: str) -> bytes:
    return PICTURE


def account(**options: Any) -> World:
    return World(Path(), **({"seconds": 120, "fetch": show} | options))


def answering(answer: Callable[[httpx2.Request], httpx2.Response]) -> Evolink:
    return Evolink(SecretStr(KEY), Connections(httpx2.MockTransport(answer)))


def reply(payload: object, status: int = 200, **headers: str) -> httpx2.Response:
    """An answer that still has to be read, as one from a network."""
    body = httpx2.ByteStream(json.dumps(payload).encode())
    return httpx2.Response(status, headers=headers, stream=body)


def saying(payload: object, status: int = 200, **headers: str) -> Evolink:
    return answering(lambda _: reply(payload, status, **headers))


def clocked(world: World, clock: Callable[[], float] = now) -> Evolink:
    """A client whose clock is the test's own."""
    return Evolink(SecretStr(KEY), Connections(world.transport), clock=clock)


def moments(world: World, at: str) -> list[float]:
    return [call.time for call in world.records.calls if call.at == at]


ID = "task-unified-1757169743-7cvnl5zw"


async def read(world: World, at: str) -> object:
    evolink = world.evolink()
    if at == "upload":
        return await evolink.upload("a.png", PICTURE, "image/png")
    if at == "task":
        return await evolink.task(world.records.paid[0].task_id)
    return await (evolink.tasks() if at == "tasks" else evolink.credits())


Outcome = str | tuple[type[EvolinkError], str]
LOST = (LostAnswer, "unknown")


async def submit(evolink: Evolink, **options: Any) -> Outcome:
    try:
        return (await evolink.submit(REQUEST, idempotency_key=ONCE, **options)).task.status
    except EvolinkError as error:
        return type(error), error.charged
