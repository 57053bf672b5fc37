"""What a second task of a request shows, whose it is, and when a request affects the search for others."""

# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS, PROMPT, call, text
from tests.clock import now
from tests.generation.gateway import gateway, generate, key_use, paid_for, refusal
from tests.generation.test_interruptions import Failing, Reporting
from tests.world import World, picture
from wan_mcp.errors import OutcomeUnknown, OutOfCredits, PictureError
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

HOUR = 3600.0


async def live_for(world: World, prompt: str, seconds: float, **arguments: Any) -> None:
    """A process that ends after this time."""
    async with world.service() as service:
        with anyio.move_on_after(seconds):
            await generate(service, prompt, **arguments)


async def test_an_old_request_whose_time_is_not_known_stands_in_nobodys_way(tmp_path: Path) -> None:
    """The gateway did not tell its time then; ten days later it is no rival, and a lost task is found."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    world.sandbox.faults.add(Fault("tasks", "slow", seconds=6), Fault("submit", "lost"))
    await live_for(world, "Old.", 20)
    await anyio.sleep(10 * 24 * HOUR)
    world.sandbox.faults.clear()
    async with world.service() as service:
        await service.credits()
        for number in range(4):
            world.sandbox.faults.add(Fault("submit", "lost"))
            await generate(service, f"New {number}.")
            await anyio.sleep(3 * HOUR)
    assert [len(paid_for(world, f"New {number}.")) for number in range(4)] == [1] * 4


async def test_a_request_whose_every_task_is_known_stands_in_nobodys_way(tmp_path: Path) -> None:
    """It was repeated and paid twice; both tasks are recorded, so a third task is another request's."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    async with world.service() as service:
        await service.credits()
        world.sandbox.faults.add(Fault("submit", "lost"), Fault("tasks", "status", status=404))
        await generate(service, "One.")
        await anyio.sleep(10)
        world.sandbox.faults.add(Fault("submit", "lost"))
        neighbour = await generate(service, "Two.")
    assert paid_for(world, "Two.") == {neighbour.task.id}


async def test_a_foreign_task_of_the_minute_before_teaches_nothing(tmp_path: Path) -> None:
    """The gateway honours the key without saying so: its task is that of the first POST, and one was paid."""
    world = gateway(tmp_path, "both", says_replayed=False, credits=10_000.0)
    await anyio.sleep(1000)
    world.sandbox.add_foreign()
    await anyio.sleep(60)
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service() as service, anyio.create_task_group() as group:
        await service.credits()
        group.start_soon(generate, service)
        await anyio.sleep(1)
        world.sandbox.faults.add(Fault("tasks", "status", status=503, times=12))
        await anyio.sleep(104)
        world.sandbox.faults.clear()
    assert await key_use(world) != "ignored"
    assert len(world.records.paid) == 1


async def test_that_two_were_paid_is_said_to_whoever_asks_next(tmp_path: Path) -> None:
    """It is sent again after the first caller's time is up: the second caller is told of both tasks."""
    world = gateway(tmp_path, "list", date_offset=None, faults=[Fault("submit", "lost")])
    async with world.client() as client:
        await refusal(client)
        await anyio.sleep(200)
        for _ in range(2):
            said = text(await call(client, "generate_video", **ARGUMENTS))
            assert "was charged twice" in said
            assert all(task_id in said for task_id in paid_for(world, PROMPT))


@pytest.mark.parametrize("jump", [24 * HOUR, -24 * HOUR])
async def test_a_clock_that_jumps_by_a_day_before_the_first_post_costs_nothing(
    tmp_path: Path, jump: float
) -> None:
    """The POST is recorded again, and sent once."""
    world, shift, jumps = gateway(tmp_path), 0.0, [jump]

    async def set_clock() -> None:
        nonlocal shift
        shift = jumps.pop() if jumps else shift

    world.transport = Reporting(world.transport, set_clock)
    async with world.service({"clock": lambda: now() + shift}) as service:
        snapshot = await generate(service)
        [entry] = await world.rows()
    assert paid_for(world, PROMPT) == {snapshot.task.id}
    assert len(entry.posts) == world.records.posts == 1


async def test_a_guess_that_is_put_off_for_weeks_ends(tmp_path: Path) -> None:
    """A caller does not wait for as long as a gateway asks for."""
    weeks = Fault("submit", "status", status=429, retry_after=5_000_000)
    world = gateway(tmp_path, "neither", faults=[Fault("submit", "lost"), weeks])
    async with world.service() as service:
        began = now()
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        assert now() - began < 1000


async def test_the_second_task_is_its_owners_whoever_finds_it(tmp_path: Path) -> None:
    """Another key of the account learns from a process that has died, and does not see the prompt."""
    other = "sk-other-key-000000000"
    world = gateway(tmp_path, "list", credits=10_000.0, other_keys=(other,), faults=[Fault("submit", "lost")])
    async with world.service({"ledger": Failing(world, learn_key_use=9, end_guess=9)}) as service:
        await service.credits()
        world.sandbox.date_offset = 60
        await generate(service, "A secret.")
    await anyio.sleep(HOUR)
    async with world.service(EVOLINK_API_KEY=other) as service:
        await service.credits()
        world.sandbox.faults.add(Fault("submit", "lost"))
        world.sandbox.date_offset = 120
        with pytest.raises(OutcomeUnknown):
            await generate(service, "Another.")
        assert "A secret." not in [entry.prompt for entry in await service._ledger.entries()]
    async with world.service() as service:
        assert [entry.prompt for entry in await service._ledger.entries()] == ["A secret."] * 2


async def _refuse(world: World, path: Path, ask: Callable[[], Awaitable[Any]]) -> None:
    world.sandbox.faults.add(Fault("submit", "status", status=402))
    with pytest.raises(OutOfCredits):
        await ask()


async def _without_a_picture(world: World, path: Path, ask: Callable[[], Awaitable[Any]]) -> None:
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(PictureError):
        await ask()
    path.write_bytes(content)


@pytest.mark.parametrize("fail", [_refuse, _without_a_picture])
async def test_that_an_old_request_may_have_been_paid_is_said_with_the_new_one(
    tmp_path: Path, fail: Callable[..., Awaitable[None]]
) -> None:
    """Also where the first try to make it again failed."""
    world, path = gateway(tmp_path), tmp_path / "cat.png"
    path.write_bytes(picture())
    world.sandbox.faults.add(Fault("submit", "lost"))
    await live_for(world, PROMPT, 1, image_urls=[str(path)])
    await anyio.sleep(25 * HOUR)
    async with world.service() as service:
        await service.credits()
        await fail(world, path, lambda: generate(service, image_urls=[str(path)]))
        snapshot = await generate(service, image_urls=[str(path)])
    assert snapshot.submitted is not None
    assert snapshot.submitted.replaces


@pytest.mark.parametrize(
    ("column", "value"), [("image", '{"width": 1}'), ("posts", '[["x", null]]'), ("posts", "[[null, null]]")]
)
async def test_a_damaged_column_breaks_neither_list_nor_request(
    tmp_path: Path, column: str, value: str
) -> None:
    """The row is shown, and the request continues."""
    world = gateway(tmp_path, faults=[Fault("submit", "lost")])
    await live_for(world, PROMPT, 1)
    with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite3")) as database, database:
        database.execute(f"UPDATE entries SET {column} = ?", (value,))
    async with world.service() as service:
        assert len(await service.tasks(None, 5)) == 1
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}
