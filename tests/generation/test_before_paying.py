"""A caller that is asked before a new request is paid."""

from contextlib import suppress

import pytest

from tests.calls import ARGUMENTS
from tests.world import World
from wan_mcp.errors import NotSent
from wan_mcp.evolink import Task
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.images import Picture
from wan_mcp.ledger import Intent
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest.model_validate(ARGUMENTS)


class Asked:
    """Remembers what it was asked, and refuses or agrees."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.estimates: list[float] = []

    async def __call__(self, picture: Picture, intent: Intent) -> None:
        self.estimates.append(intent.estimate)
        if not self.answer:
            raise NotSent("No.")


async def ask(world: World, answer: bool) -> tuple[Asked, Task | None]:
    """One request by a process of its own; what was asked, and its task."""
    asked, task = Asked(answer), None
    async with world.service() as service:
        with suppress(NotSent):
            task = (await service.generate(REQUEST, before_paying=asked)).task
    return asked, task


async def test_a_no_keeps_a_request_from_being_sent_and_recorded(world: World) -> None:
    """Not even the picture is uploaded; the same request is a new one later, and asked about again."""
    refused, none = await ask(world, False)
    assert (refused.estimates, none) == ([25.5], None)
    assert world.records.calls == []
    agreed, task = await ask(world, True)
    assert agreed.estimates == [25.5]
    assert task is not None
    assert len(world.records.paid) == 1


async def test_nobody_is_asked_about_a_request_that_has_its_task(world: World) -> None:
    """It costs nothing more."""
    _, first = await ask(world, True)
    asked, again = await ask(world, False)
    assert asked.estimates == []
    assert again is not None
    assert first is not None
    assert again.id == first.id


async def test_nobody_is_asked_again_while_an_answer_is_missing(world: World) -> None:
    """That request was agreed to; it goes on."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    asked, task = await ask(world, True)
    assert asked.estimates == [25.5]
    assert task is not None
    assert len(world.records.paid) == 1
