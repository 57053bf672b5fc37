"""A caller is asked before a new request is paid."""

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS
from tests.world import World
from wan_mcp.errors import CapReached, NotSent
from wan_mcp.evolink import Task
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.images import Picture
from wan_mcp.ledger import Intent
from wan_mcp.ledger.lease import SIGN_OF_LIFE
from wan_mcp.ledger.sqlite.store import LOCKS
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

REQUEST = GenerationRequest.model_validate(ARGUMENTS)


class Asked:
    """Remembers what it was asked, and refuses or agrees."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.estimates: list[float] = []

    async def __call__(self, picture: Picture | None, intent: Intent) -> None:
        self.estimates.append(intent.estimate)
        if not self.answer:
            raise NotSent("No.")


async def ask(world: World, answer: bool) -> tuple[Asked, Task | None]:
    """Make one request in another process; return what was asked, and the task."""
    asked, task = Asked(answer), None
    async with world.service() as service:
        with suppress(NotSent):
            task = (await service.generate(REQUEST, before_paying=asked)).task
    return asked, task


async def test_a_no_keeps_a_request_from_being_sent_and_recorded(world: World) -> None:
    """Not even the picture is uploaded; later, the same request is new, and its caller is asked again."""
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
    """The caller agreed to that request; it goes on."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    asked, task = await ask(world, True)
    assert asked.estimates == [25.5]
    assert task is not None
    assert len(world.records.paid) == 1


async def test_a_cap_counts_what_was_paid_while_a_question_was_open(world: World) -> None:
    """Another request used the rest of the cap; a yes does not exceed it."""
    cap: Any = {"WAN_MCP_DAILY_CREDITS": "30"}

    async def late_yes(picture: Picture | None, intent: Intent) -> None:
        then = time.monotonic() - SIGN_OF_LIFE - 1  # long ago: nobody waits for this process
        for lock in (Path(world.environ["WAN_MCP_DATA_DIR"]) / LOCKS).iterdir():
            os.utime(lock, (then, then))
        async with world.service(**cap) as other:
            await other.generate(REQUEST.model_copy(update={"prompt": "Another one."}))

    async with world.service(**cap) as service:
        with pytest.raises(CapReached):
            await service.generate(REQUEST, before_paying=late_yes)
    assert len(world.records.paid) == 1


async def test_a_yes_after_an_equal_request_was_paid_pays_nothing(world: World) -> None:
    """A question may stay open for any time, and blocks nobody."""
    async with world.service() as service, world.service() as other:

        async def late_yes(picture: Picture | None, intent: Intent) -> None:
            await other.generate(REQUEST)

        snapshot = await service.generate(REQUEST, before_paying=late_yes)
    assert snapshot.repeated
    assert len(world.records.paid) == 1


async def test_two_who_both_say_yes_pay_once(world: World) -> None:
    """Each is asked once."""
    asked: list[str] = []

    async def slow_yes(picture: Picture | None, intent: Intent) -> None:
        asked.append(intent.prompt)
        await anyio.sleep(1200)

    async with world.service() as first, world.service() as second, anyio.create_task_group() as group:
        for service in (first, second):
            group.start_soon(partial(service.generate, REQUEST, before_paying=slow_yes))
    assert len(asked) == 2
    assert len(world.records.paid) == 1


async def test_a_request_is_as_old_as_the_answer_to_the_question(world: World) -> None:
    """Otherwise its links would seem to expire too early, and videos to take longer than they do."""

    async def late_yes(picture: Picture | None, intent: Intent) -> None:
        await anyio.sleep(20 * 3600)

    async with world.service() as service:
        snapshot = await service.generate(REQUEST, before_paying=late_yes)
    [row] = await world.rows()
    assert row.asked_at == pytest.approx(snapshot.now, abs=30)
