"""Videos from text: requested, paid once and found again like those from a picture."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import PROMPT
from tests.generation.gateway import gateway, generate, generate_from_text, key_use, paid_for
from tests.ledger.rows import owned
from tests.world import KEY, World
from wan_mcp.errors import CapReached, OutcomeUnknown, OutOfCredits
from wan_mcp.evolink.prices import TEXT_GUESSED
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

MODEL = "wan2.5-text-to-video"


def bodies(world: World) -> list[Any]:
    return [call.body for call in world.records.calls if call.at == "submit"]


async def test_what_was_given_is_sent_and_nothing_else(world: World) -> None:
    """No picture is read or uploaded, and the row has none."""
    async with world.service() as service:
        plain = await generate_from_text(service)
        await generate_from_text(service, aspect_ratio="9:16", duration=10, quality="480p", take=2)
        [full_row, row] = await world.rows()
    assert bodies(world) == [
        {"prompt": PROMPT, "model": MODEL},
        {"prompt": PROMPT, "model": MODEL, "aspect_ratio": "9:16", "duration": 10, "quality": "480p"},
    ]
    assert world.records.uploads == 0
    assert (row.image, row.model, row.from_text, row.estimate) == (None, MODEL, True, 25.5)
    assert full_row.body == bodies(world)[1]
    assert plain.image is None
    assert plain.task.model == MODEL


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        ({}, True),
        ({"aspect_ratio": "16:9", "quality": "720p", "duration": 5, "take": 1}, True),
        ({"prompt": f"  {PROMPT}\n"}, True),
        ({"aspect_ratio": "1:1"}, False),
        ({"quality": "1080p"}, False),
        ({"take": 2}, False),
        ({"prompt": "The dog yawns."}, False),
    ],
)
async def test_equal_requests_are_one(world: World, arguments: dict[str, Any], same: bool) -> None:
    """By prompt, shape and settings; also for another process."""
    async with world.service() as service:
        first = await generate_from_text(service)
    async with world.service() as service:
        second = await generate_from_text(service, **({"prompt": PROMPT} | arguments))
    assert (second.task.id == first.task.id) is same
    assert second.repeated is same
    assert len(world.records.paid) == (1 if same else 2)


async def test_equal_calls_at_once_are_one_request(world: World) -> None:
    """Only one of them pays."""
    async with world.service() as service, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(generate_from_text, service)
    assert len(world.records.paid) == 1


async def test_the_same_words_with_a_picture_are_another_request(world: World) -> None:
    """Each is paid, and each finds its task again."""
    async with world.service() as service:
        tasks = [(await ask(service)).task.id for ask in (generate, generate_from_text) * 2]
    assert tasks[:2] == tasks[2:]
    assert len(set(tasks)) == len(world.records.paid) == 2


@pytest.fixture
async def blind(tmp_path: Path) -> World:
    """A gateway that ignores the key, as the ledger knows: only the list can help."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    await key_use(world, "ignored")
    return world


async def lose(world: World, ask: Any, kind: str = "lost") -> None:
    """Send a request in a process that ends before it has the answer."""
    world.sandbox.faults.add(Fault("submit", kind))
    async with world.service() as service:
        with anyio.move_on_after(1):
            await ask(service)


async def test_lost_answers_of_both_models_at_once_are_each_found(blind: World) -> None:
    """A request searches for tasks of its model, so that the other one is no rival."""
    for ask in (generate, generate_from_text):
        await lose(blind, ask)
    async with blind.service() as service:
        picture, text = await generate(service), await generate_from_text(service)
    assert (picture.recovered, text.recovered) == (True, True)
    assert (picture.task.model, text.task.model) == ("wan2.5-image-to-video", MODEL)
    assert blind.records.posts == len(blind.records.paid) == 2


async def test_in_one_process_both_lost_answers_are_found(blind: World) -> None:
    """The two searches go on at the same time."""
    blind.sandbox.faults.add(Fault("submit", "lost", 2))
    async with blind.service() as service, anyio.create_task_group() as group:
        group.start_soon(generate, service)
        group.start_soon(generate_from_text, service)
    rows = await blind.rows()
    assert sorted(str(row.task and row.task.model) for row in rows) == ["wan2.5-image-to-video", MODEL]
    assert all(row.recovered for row in rows)
    assert len(blind.records.paid) == 2


async def test_a_list_that_tells_no_models_does_not_tell_the_two_apart(blind: World) -> None:
    """Nothing is taken, and nothing is sent."""
    await lose(blind, generate, "dropped")
    await lose(blind, generate_from_text)
    [payment] = blind.records.paid
    line = {"id": payment.task_id, "status": "processing", "created_at": int(payment.time)}
    blind.sandbox.faults.add(Fault("tasks", "body", times=None, body={"data": [line], "total": 1}))
    async with blind.service() as service:
        for ask in (generate, generate_from_text):
            with pytest.raises(OutcomeUnknown, match=payment.task_id):
                await ask(service)
    assert len(blind.records.paid) == 1


@pytest.mark.parametrize("damaged", ["{", "[]", '{"model": "another"}', '{"model": ["another"]}'])
async def test_a_request_whose_record_is_damaged_is_searched_for_and_not_sent(
    blind: World, damaged: str
) -> None:
    """It may be of either model; only one task can be its task."""
    await lose(blind, generate_from_text)
    with closing(sqlite3.connect(Path(blind.environ["WAN_MCP_DATA_DIR"]) / FILE_NAME)) as database:
        database.execute("UPDATE entries SET body = ?", (damaged,))
        database.commit()
    async with blind.service() as service:
        found = await generate_from_text(service)
    assert {found.task.id} == paid_for(blind, PROMPT)
    assert blind.records.posts == 1


async def test_another_process_repeats_the_recorded_body(tmp_path: Path) -> None:
    """Under the same idempotency key, and word for word."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service() as service:
        with anyio.move_on_after(1):
            await generate_from_text(service, aspect_ratio="1:1")
    async with world.service() as service:
        snapshot = await generate_from_text(service, aspect_ratio="1:1")
    first, second = (call for call in world.records.calls if call.at == "submit")
    assert json.dumps(first.body) == json.dumps(second.body)
    assert first.idempotency_key == second.idempotency_key
    assert paid_for(world, PROMPT) == {snapshot.task.id}


@pytest.mark.parametrize("cap", ["WAN_MCP_REQUEST_CREDITS", "WAN_MCP_DAILY_CREDITS"])
async def test_a_cap_says_that_the_price_is_a_guess(world: World, cap: str) -> None:
    """It still counts, and nothing is sent."""
    world.environ[cap] = "20"
    async with world.service() as service:
        with pytest.raises(CapReached) as refused:
            await generate_from_text(service)
        assert f"this video is estimated at 25.5 credits ($0.38) ({TEXT_GUESSED})" in refused.value.message
        with pytest.raises(CapReached) as refused:
            await generate(service)
        assert "guess" not in refused.value.message
    assert world.records.posts == 0


async def test_out_of_credits_says_that_the_price_is_a_guess(world: World) -> None:
    """Where Evolink refuses the request."""
    world.sandbox.faults.add(Fault("submit", "status", status=402, code="insufficient_quota"))
    async with world.service() as service:
        with pytest.raises(OutOfCredits) as refused:
            await generate_from_text(service)
    assert f"This video needs about 25.5 credits ($0.38) ({TEXT_GUESSED})." in refused.value.message


async def test_how_long_a_video_takes_is_learned_from_its_own_kind(world: World) -> None:
    """Videos from pictures may take another time."""
    async with world.service() as service:
        text = (await generate_from_text(service)).task.id
        await service.wait(text, 600, _unheard)
        other, same = [(await ask(service, "Another.")).task.id for ask in (generate, generate_from_text)]
    async with owned(Path(world.environ["WAN_MCP_DATA_DIR"]), KEY) as ledger:
        assert await ledger.durations(other) == []
        assert len(await ledger.durations(same)) == 1


async def _unheard(snapshot: object) -> None:
    """Tell nobody of the progress."""
