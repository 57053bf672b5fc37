"""A submission whose answer was lost is not paid twice."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS, PROMPT, answer
from tests.generation.gateway import EVERY_FORM, gateway, generate, listed, paid_for, refusal
from tests.world import World
from wan_mcp.errors import OutcomeUnknown
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


LOST = {
    "lost": Fault("submit", "lost"),
    "cut": Fault("submit", "cut"),
    "slow": Fault("submit", "slow", seconds=31),
    "garbage": Fault("submit", "garbage"),
    "html": Fault("submit", "html"),
    "empty": Fault("submit", "empty"),
    "huge": Fault("submit", "huge", size=3_000_000),
    "no task": Fault("submit", "body", body={"ok": True}),
    "no id": Fault("submit", "patch", body={"id": None}),
    "502": Fault("submit", "status", status=502, carried_out=True),
    "503": Fault("submit", "status", status=503, carried_out=True),
    "504": Fault("submit", "html", status=504),
    "still open": Fault("submit", "status", status=409, code="paid_outcome_unknown", carried_out=True),
}
"""The task is made and paid, and nobody hears of it; it is looked for at once."""
UNCLEAR = {
    "500": Fault("submit", "status", status=500, carried_out=True),
    "520": Fault("submit", "html", status=520),
    "redirect": Fault("submit", "redirect", carried_out=True),
    "conflict": Fault("submit", "status", status=409, carried_out=True),
    "a page for 400": Fault("submit", "html", status=400),
}
"""An answer that says nothing for sure; the caller has to decide to ask again."""


def times(fault: Fault, count: int | None) -> Fault:
    details: dict[str, Any] = fault.details
    return Fault(fault.at, fault.kind, count, **details)


@EVERY_FORM
@pytest.mark.parametrize("kind", LOST)
async def test_an_answer_that_is_lost_once_costs_nobody_a_thing(tmp_path: Path, form: str, kind: str) -> None:
    """The call itself finds the task in the list, or gets it by the same key; with neither, it pays again."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(LOST[kind])
    async with world.service() as service:
        found = await generate(service)
        again = await generate(service)
        rows = await world.rows()
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert [entry.task and entry.task.id for entry in rows] == [found.task.id]
    assert found.task.id in paid_for(world, PROMPT)
    assert len(world.records.paid) == (2 if form == "neither" else 1)
    assert world.records.posts == (1 if form in ("both", "list") else 2)
    assert found.recovered is (form in ("both", "list"))


async def test_a_task_that_was_found_in_the_list_is_said_to_be(world: World) -> None:
    """The user learns that it was taken for theirs."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.client() as client:
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert "The answer to the request was lost" in found["next"]
    assert "found in the account's list" in found["next"]


@pytest.mark.parametrize("form", ["key", "neither"])
@pytest.mark.parametrize("kind", LOST)
async def test_an_answer_that_is_lost_twice_is_said_to_be_unknown(
    tmp_path: Path, form: str, kind: str
) -> None:
    """What is not known, that it is listed, and that asking again goes on; and it does."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(times(LOST[kind], 2))
    async with world.client() as client:
        said = await refusal(client)
        [row] = await listed(client)
        assert (row["status"], "id" in row, row["credits"]) == ("unknown", False, 25.5)
        found = await answer(client, "generate_video", **ARGUMENTS)
        rows = await listed(client)
    assert "It is not known whether" in said
    assert "Make exactly the same request again" in said
    assert "Nothing was" not in said
    assert [row["id"] for row in rows] == [found["id"]]
    assert world.records.posts == 3
    assert len(paid_for(world, PROMPT)) == (1 if form == "key" else 3)


@EVERY_FORM
@pytest.mark.parametrize("kind", UNCLEAR)
async def test_an_answer_that_is_unclear_is_not_acted_on_before_one_asks(
    tmp_path: Path, form: str, kind: str
) -> None:
    """One request, a snapshot that it is unknown, and the next equal call finds the task."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(UNCLEAR[kind])
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(service)
        await anyio.sleep(3600)
        assert world.records.posts == 1
        assert [entry.status for entry in await world.rows()] == ["unknown"]
        found = await generate(service)
        again = await generate(service)
    assert "Make exactly the same request again" in raised.value.next_step
    assert raised.value.charged == "unknown"
    assert found.task.id in paid_for(world, PROMPT)
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert world.records.posts == (1 if form in ("both", "list") else 2)
    assert len(world.records.paid) == (2 if form == "neither" else 1)


@EVERY_FORM
async def test_a_request_that_never_arrived_is_sent_again(tmp_path: Path, form: str) -> None:
    """The search finds nothing, so that nothing is paid twice in any form."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "dropped"))
    async with world.service() as service:
        snapshot = await generate(service)
    assert (snapshot.recovered, world.records.posts) == (False, 2)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


@EVERY_FORM
async def test_a_request_that_never_arrived_is_sent_again_by_the_next_call(tmp_path: Path, form: str) -> None:
    """Hours later, by a server that was started anew, under the same key."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "dropped", times=2))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
    await anyio.sleep(5 * 3600)
    async with world.service() as service:
        snapshot = await generate(service)
    assert len({call.idempotency_key for call in world.records.calls if call.at == "submit"}) == 1
    assert len({str(call.body) for call in world.records.calls if call.at == "submit"}) == 1
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_request_gone_on_with_hours_later_is_repeated_from_then_on(world: World) -> None:
    """The answer to that call may be lost as well: asking once more must not pay again."""
    world.sandbox.faults.add(Fault("submit", "dropped", times=2))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        await anyio.sleep(5 * 3600)
        found = await generate(service)
        again = await generate(service)
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert len(world.records.paid) == 1


async def test_a_refusal_of_the_second_sending_says_nothing_of_the_first(tmp_path: Path) -> None:
    """The first one may have been paid: it stays unknown, whatever came now."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost"), Fault("submit", "status", times=2, status=402))
    async with world.client() as client:
        assert "It is not known whether credits were charged." in await refusal(client)
        assert "It is not known whether credits were charged." in await refusal(client)
        assert [row["status"] for row in await listed(client)] == ["unknown"]
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert paid_for(world, PROMPT) == {found["id"]}
