"""A submission whose answer was lost: when its task is searched for, when it is sent again, what it shows."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS, PROMPT, answer
from tests.generation.gateway import (
    EVERY_FORM,
    gateway,
    generate,
    key_use,
    listed,
    make_elsewhere,
    paid_for,
    refusal,
)
from tests.world import World
from wan_mcp.errors import OutcomeUnknown, OutOfCredits, WanError
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

LOST = {
    "lost": Fault("submit", "lost"),
    "cut": Fault("submit", "cut"),
    "slow": Fault("submit", "slow", seconds=80),
    "garbage": Fault("submit", "garbage"),
    "html": Fault("submit", "html"),
    "empty": Fault("submit", "empty"),
    "huge": Fault("submit", "huge", size=3_000_000),
    "no task": Fault("submit", "body", body={"ok": True}),
    "no id": Fault("submit", "patch", body={"id": None}),
    "500": Fault("submit", "status", status=500, carried_out=True),
    "503": Fault("submit", "status", status=503, carried_out=True),
    "504": Fault("submit", "html", status=504),
    "408": Fault("submit", "status", status=408, carried_out=True),
    "425": Fault("submit", "status", status=425, carried_out=True),
    "still open": Fault("submit", "status", status=409, code="paid_outcome_unknown", carried_out=True),
    "conflict": Fault("submit", "status", status=409, carried_out=True),
    "redirect": Fault("submit", "redirect", carried_out=True),
    "a page for 400": Fault("submit", "html", status=400),
}
"""The task is made and paid, and the answer is lost."""


def moments(world: World, at: str = "submit") -> list[int]:
    """When calls arrived, in seconds after the first POST."""
    first = next(call.time for call in world.records.calls if call.at == "submit")
    return [round(call.time - first) for call in world.records.calls if call.at == at and call.time >= first]


@EVERY_FORM
@pytest.mark.parametrize("kind", LOST)
async def test_an_answer_that_is_lost_once_costs_nobody_a_thing(tmp_path: Path, form: str, kind: str) -> None:
    """The call itself finds the task in the list, or gets it by the same key; else it pays again."""
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
    """The user is told that it was found there, and when to check it."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.client() as client:
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert "found in the account's list" in found["next"]
    assert "If other programs use the account, check that the video is the right one." in found["next"]


async def test_the_list_is_searched_for_a_hundred_seconds_before_the_request_is_sent_again(
    tmp_path: Path,
) -> None:
    """Until then its task may still appear."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "dropped")])
    async with world.service() as service:
        snapshot = await generate(service)
    assert moments(world) == [0, 100]
    # The first one asks for the gateway's time, the last one for what the repeat shows.
    assert moments(world, "tasks") == [0, 5, 15, 40, 100, 100]
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_under_a_key_that_is_honoured_the_request_is_repeated_for_ten_minutes(tmp_path: Path) -> None:
    """No search is needed; after that, the callers are told, and the next call goes on."""
    world = gateway(tmp_path, "both", faults=[Fault("submit", "lost", None)])
    await key_use(world, "honoured")
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown, match="did not arrive"):
            await generate(service)
        assert moments(world)[:6] == [0, 2, 7, 17, 32, 47]
        assert 585 < moments(world)[-1] <= 600
        assert moments(world, "tasks") == [0]  # which asks for the gateway's time
        world.sandbox.faults.clear()
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}
    assert len({call.idempotency_key for call in world.records.calls if call.at == "submit"}) == 1
    assert len({str(call.body) for call in world.records.calls if call.at == "submit"}) == 1


@pytest.mark.parametrize(
    ("fault", "use"),
    [
        (Fault("submit", "status", status=409, code="paid_outcome_unknown"), "honoured"),
        (Fault("submit", "status", status=409, code="idempotency_conflict"), "honoured"),
        (Fault("submit", "status", status=409, code="conflict"), "unknown"),
        (Fault("submit", "lost"), "unknown"),
    ],
    ids=lambda value: str(value.details.get("code", value.kind)) if isinstance(value, Fault) else value,
)
async def test_a_gateway_shows_by_its_refusals_that_it_knows_the_key(
    tmp_path: Path, fault: Fault, use: str
) -> None:
    """If so, the request is repeated until it has its task; else nothing more is sent."""
    world = gateway(tmp_path, "key", faults=[Fault("submit", "lost"), fault])
    async with world.service() as service:
        if use == "honoured":
            snapshot = await generate(service)
            assert paid_for(world, PROMPT) == {snapshot.task.id}
        else:
            with pytest.raises(OutcomeUnknown, match="could be paid twice"):
                await generate(service)
    assert await key_use(world) == use
    assert len(world.records.paid) == 1


async def test_a_silent_replay_teaches_nothing_and_costs_nothing(tmp_path: Path) -> None:
    """The same task without the header: it is the request's task, and the gateway stays unknown."""
    world = gateway(tmp_path, "key", says_replayed=False, faults=[Fault("submit", "lost")])
    async with world.service() as service:
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}
    assert await key_use(world) == "unknown"


async def test_what_was_learned_is_known_to_the_next_request_and_the_next_process(tmp_path: Path) -> None:
    """One request is paid twice, which shows that the key is ignored; no other is ever paid twice."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    for number in range(6):
        world.sandbox.faults.add(Fault("submit", "lost"))
        world.sandbox.date_offset = 60.0 * number  # no search can tell
        async with world.service() as service:
            with anyio.move_on_after(1):
                await generate(service, f"Cat {number}.")
        world.sandbox.date_offset = 60.0 * number + 30
        async with world.service() as service:
            if number == 0:
                await generate(service, f"Cat {number}.")
                continue
            with pytest.raises(OutcomeUnknown) as raised:
                await generate(service, f"Cat {number}.")
            assert "take: 2 makes another video" in raised.value.next_step
    assert [len(paid_for(world, f"Cat {number}.")) for number in range(6)] == [2, 1, 1, 1, 1, 1]
    assert await key_use(world) == "ignored"


async def test_a_key_that_turns_out_to_be_honoured_overrules_what_was_thought(tmp_path: Path) -> None:
    """The gateway was repaired, or another program's task led to a wrong conclusion."""
    world = gateway(tmp_path, "both", date_offset=None, faults=[Fault("submit", "lost")])
    await key_use(world, "ignored")
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        await key_use(world, "honoured")
        await key_use(world, "ignored")
        assert await key_use(world) == "honoured"
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


@EVERY_FORM
async def test_it_is_sent_again_without_knowing_only_once_also_after_restarts(
    tmp_path: Path, form: str
) -> None:
    """Where no search helps and every answer is lost, nothing more is sent, even after many calls."""
    world = gateway(tmp_path, form, date_offset=None, faults=[Fault("submit", "lost", None)])
    for _ in range(4):
        async with world.service() as service:
            with pytest.raises(OutcomeUnknown):
                await generate(service)
    assert world.records.posts == 2


async def test_a_refusal_of_the_second_sending_says_nothing_of_the_first_and_does_not_count(
    tmp_path: Path,
) -> None:
    """The first one may have been paid: its outcome stays unknown, and the next call asks again."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost"), Fault("submit", "status", times=2, status=402))
    async with world.client() as client:
        for _ in range(2):
            said = await refusal(client)
            assert "It is not known whether credits were charged." in said
            assert "An earlier attempt had no answer, and then: Evolink answered HTTP 402" in said
            assert "exactly the same arguments again" in said
        assert [row["status"] for row in await listed(client)] == ["unknown"]
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_a_request_is_repeated_for_23_hours_and_looked_for_until_24(tmp_path: Path) -> None:
    """After that the API may have forgotten the key: a new request says that the old one may be paid, too."""
    world = gateway(tmp_path, "key", faults=[Fault("submit", "lost", 2)])
    async with world.client() as client:
        await refusal(client)
        first = world.records.posts
        await anyio.sleep(23 * 3600)
        said = await refusal(client)
        assert "It was first sent more than 23 hours ago, so it is not sent again." in said
        assert world.records.posts == first
        await anyio.sleep(3600)
        found = await answer(client, "generate_video", **ARGUMENTS)
        rows = await listed(client)
    assert "An equal request of more than 24 hours ago never got an answer; it may have been" in found["next"]
    assert [row["status"] for row in rows] == ["pending", "unknown"]
    assert len(paid_for(world, PROMPT)) == 2


async def test_a_task_that_the_list_shows_after_23_hours_is_still_taken(tmp_path: Path) -> None:
    """A search costs nothing."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "lost")])
    async with world.service() as service:
        with anyio.move_on_after(1):
            await generate(service)
    await anyio.sleep(23.5 * 3600)
    async with world.service() as service:
        assert paid_for(world, PROMPT) == {(await generate(service)).task.id}


async def test_of_several_lost_requests_one_is_repeated_and_the_others_learn_from_it(tmp_path: Path) -> None:
    """Where the key is ignored, only the first one is paid twice, and the others are told what there is."""
    world = gateway(tmp_path, "list", credits=10_000.0, faults=[Fault("submit", "lost", 4)])
    outcomes: list[TaskSnapshot | WanError] = []

    async def ask(service: VideoService, prompt: str) -> None:
        try:
            outcomes.append(await generate(service, prompt))
        except WanError as error:
            outcomes.append(error)

    async with world.service() as service, anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(ask, service, f"Cat {number}.")
    first, *others = outcomes
    assert isinstance(first, TaskSnapshot)
    assert first.submitted is not None
    assert len(first.submitted.also_paid) == 4
    assert len(world.records.paid) == 5
    candidates = {payment.task_id for payment in world.records.paid} - {first.task.id}
    for other in others:
        assert isinstance(other, OutcomeUnknown)
        assert all(task_id in other.message for task_id in candidates)


async def test_an_answer_that_is_another_requests_task_closes_the_row(tmp_path: Path) -> None:
    """The gateway recognises equal requests without a key: nothing is charged, and the answer says so."""
    world = gateway(tmp_path, "key", deduplicates=True)
    async with world.client(WAN_MCP_DAILY_CREDITS="26") as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        await world.forget(first["id"])
        first = await answer(client, "generate_video", **ARGUMENTS)
    async with world.client() as client:
        second = await answer(client, "generate_video", **ARGUMENTS, take=2)
        again = await answer(client, "generate_video", **ARGUMENTS, take=2)
        rows = await listed(client)
    assert second["id"] == again["id"] == first["id"]
    assert "the task of an earlier request: nothing was charged for this one" in second["next"]
    assert [row["id"] for row in rows] == [first["id"]]
    assert len(world.records.paid) == 1


async def test_a_busy_gateway_is_asked_again_and_what_it_refused_leaves_no_trace(world: World) -> None:
    """Three tries within bounds, and no row."""
    world.sandbox.faults.add(Fault("submit", "status", None, status=429))
    async with world.service() as service:
        with pytest.raises(WanError, match="429"):
            await generate(service)
        assert (world.records.posts, await world.rows()) == (3, [])
        world.sandbox.faults.clear()
        world.sandbox.faults.add(Fault("submit", "capacity", 2), Fault("submit", "status", status=402))
        with pytest.raises(OutOfCredits):
            await generate(service)
        assert await world.rows() == []


async def test_whoever_joins_a_lost_request_is_told_the_same(tmp_path: Path) -> None:
    """Equal calls at the same time get the same error, and send nothing."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost", times=None))
    told: list[str] = []

    async def ask(service: VideoService) -> None:
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(service)
        told.append(raised.value.charged)

    async with world.service() as service, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask, service)
    assert told == ["unknown"] * 5
    assert (world.records.posts, len(world.records.paid)) == (2, 1)


async def test_a_recovery_ends_when_the_task_turns_out_to_be_another_requests(world: World) -> None:
    """The request that took the wrong task is unknown again, and its next call gets another task."""
    world.sandbox.faults.add(Fault("submit", "dropped"))
    foreign = ""

    async with world.service() as service:
        async with anyio.create_task_group() as group:
            group.start_soon(generate, service)
            await anyio.sleep(1)
            foreign = await make_elsewhere(world, "The dog yawns.")
        its_answer: dict[str, Any] = {"id": foreign, "status": "processing"}
        world.sandbox.faults.add(Fault("submit", "body", body=its_answer, carried_out=False))
        dog = await generate(service, "The dog yawns.")
        assert (dog.task.id, dog.recovered) == (foreign, False)
        assert [entry.status for entry in await world.rows()] == ["processing", "unknown"]
        cat = await generate(service)
    assert paid_for(world, PROMPT) == {cat.task.id}
