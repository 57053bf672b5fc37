"""In the middle of a submission, a process stands still, a clock is changed, or the ledger fails."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx2
import pytest

from tests.calls import PROMPT
from tests.clock import now
from tests.generation.gateway import gateway, generate, key_use, paid_for
from tests.world import World
from wan_mcp.errors import LedgerError, OutcomeUnknown, OutOfCredits
from wan_mcp.ledger.sql.owner_ledger import SqlOwnerLedger
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


class Reporting(httpx2.AsyncBaseTransport):
    """A network that reports when it begins to write, as a real one does; before that, something happens."""

    def __init__(self, beyond: httpx2.AsyncBaseTransport, before: Callable[[], Awaitable[None]]) -> None:
        self._beyond, self._before = beyond, before

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            await self._before()
            trace: Any = request.extensions["trace"]
            details = {"request": SimpleNamespace(method=b"POST")}
            await trace("http11.send_request_headers.started", details)
        return await self._beyond.handle_async_request(request)


@pytest.mark.parametrize("pause", [0, 11, 13, 50])
async def test_a_process_that_stood_still_before_it_wrote_records_the_time_anew(
    world: World, pause: float
) -> None:
    """The request is sent once, and the time of its POST is that of its writing."""
    pauses = [pause]

    async def stand_still() -> None:
        await anyio.sleep(pauses.pop() if pauses else 0)

    world.transport = Reporting(world.transport, stand_still)
    async with world.service() as service:
        await generate(service)
        [entry] = await world.rows()
    [paid] = world.records.paid
    assert world.records.posts == 1
    assert len(entry.posts) == 1
    assert abs(entry.posts[0].at - paid.time) <= 12


@pytest.mark.parametrize("jump", [1, -1, 3600, -3600])
async def test_a_clock_that_is_set_before_the_request_is_written_is_noticed(
    world: World, jump: float
) -> None:
    """The record has the time of the changed clock, and the request is sent once."""
    shift = 0.0

    async def set_clock() -> None:
        nonlocal shift
        shift = jump

    world.transport = Reporting(world.transport, set_clock)
    async with world.service({"clock": lambda: now() + shift}) as service:
        await generate(service)
        [entry] = await world.rows()
    assert world.records.posts == 1
    assert len(entry.posts) == 1
    assert abs(entry.posts[0].at - now() - jump) < 2


class Failing(SqliteLedger):
    """A ledger that cannot be written for some calls of a kind."""

    def __init__(self, world: World, **fails: int) -> None:
        super().__init__(Path(world.environ["WAN_MCP_DATA_DIR"]))
        self._fails = fails

    def for_owner(self, gateway: str, key: str) -> SqlOwnerLedger:
        owned: Any = super().for_owner(gateway, key)
        for kind in self._fails:
            setattr(owned, kind, partial(self._fail, kind, getattr(owned, kind)))
        return cast(SqlOwnerLedger, owned)

    async def _fail(self, kind: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        if self._fails[kind] > 0:
            self._fails[kind] -= 1
            raise LedgerError("The ledger cannot be used (disk is full).", next_step="Make room.")
        return await method(*args, **kwargs)


async def test_a_refusal_that_cannot_be_recorded_is_told_all_the_same(world: World) -> None:
    """According to its row the request may have arrived: the next call asks again, which costs nothing."""
    world.sandbox.faults.add(Fault("submit", "status", status=402))
    async with world.service({"ledger": Failing(world, drop_post=1)}) as service:
        with pytest.raises(OutOfCredits):
            await generate(service)
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


@pytest.mark.parametrize("kind", ["release", "learn_key_use", "end_guess", "rivals"])
async def test_what_else_cannot_be_recorded_hides_no_task(tmp_path: Path, kind: str) -> None:
    """The caller gets the task, and the ledger has it."""
    world = gateway(tmp_path, "key", faults=[Fault("submit", "lost")])
    async with world.service({"ledger": Failing(world, **{kind: 99})}) as service:
        snapshot = None
        try:
            snapshot = await generate(service)
        except OutcomeUnknown:
            assert kind == "rivals"
    if snapshot is not None:
        assert paid_for(world, PROMPT) == {snapshot.task.id}
        assert [entry.task and entry.task.id for entry in await world.rows()] == [snapshot.task.id]
    assert len(world.records.paid) == 1


async def test_refused_repeats_under_a_key_that_is_honoured_end_in_the_task(tmp_path: Path) -> None:
    """The balance was used up for a while; the first POST had been paid before."""
    world = gateway(tmp_path, "key")
    await key_use(world, "honoured")
    world.sandbox.faults.add(Fault("submit", "lost"), Fault("submit", "status", times=5, status=402))
    async with world.service() as service:
        snapshot = await generate(service)
        [entry] = await world.rows()
    assert paid_for(world, PROMPT) == {snapshot.task.id}
    assert len(entry.posts) == 2


async def test_a_request_that_is_looked_for_hears_what_another_one_has_learned(tmp_path: Path) -> None:
    """It is repeated as soon as it is known that the key is honoured."""
    world = gateway(tmp_path, "both", date_offset=None, faults=[Fault("submit", "lost")])
    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(generate, service)
        await anyio.sleep(20)
        await key_use(world, "honoured")
        began = now()
        snapshot = await generate(service)
    assert now() - began < 25
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_gateway_that_stays_down_is_not_asked_for_ever(tmp_path: Path) -> None:
    """After ten minutes the callers are told, and the next call goes on."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "dropped", None)])
    await key_use(world, "ignored")
    async with world.service() as service:
        began = now()
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(service)
        assert 600 < now() - began < 800
        assert raised.value.charged == "unknown"
        world.sandbox.faults.clear()
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def live_for(world: World, prompt: str, seconds: float, ledger: SqliteLedger | None = None) -> None:
    """A process that ends after this time, or at an outcome. The dates of the gateway show nothing then."""
    world.sandbox.date_offset = (world.sandbox.date_offset or 0) + 60
    async with world.service({"ledger": ledger} if ledger else {}) as service:
        with anyio.move_on_after(seconds), suppress(OutcomeUnknown):
            await generate(service, prompt)


async def test_a_process_that_dies_while_it_learns_does_not_let_the_next_request_be_paid_twice(
    tmp_path: Path,
) -> None:
    """It was killed after the answer to its repeat: the next request first finds out what that showed."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "lost")])
    await live_for(world, "One.", 1)
    await live_for(world, "One.", 200, Failing(world, learn_key_use=9, end_guess=9))
    assert len(paid_for(world, "One.")) == 2
    assert await key_use(world) == "unknown"
    world.sandbox.faults.add(Fault("submit", "lost"))
    await live_for(world, "Two.", 1)
    await live_for(world, "Two.", 300)
    assert await key_use(world) == "ignored"
    assert len(paid_for(world, "Two.")) == 1


async def test_a_repeat_whose_answer_was_lost_teaches_too(tmp_path: Path) -> None:
    """The list shows two tasks for one request: the next request is not sent again."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "lost", 2)])
    await live_for(world, "One.", 1)
    await live_for(world, "One.", 101)
    assert len(paid_for(world, "One.")) == 2
    await live_for(world, "One.", 300)
    assert await key_use(world) == "ignored"
    world.sandbox.faults.add(Fault("submit", "lost"))
    await live_for(world, "Two.", 1)
    await live_for(world, "Two.", 300)
    assert [len(paid_for(world, prompt)) for prompt in ("One.", "Two.")] == [2, 1]
