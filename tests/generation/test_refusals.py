"""Ledgers that fail and requests that are refused: what is charged, what stays on record."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from tests.calls import ARGUMENTS, PROMPT, answer
from tests.clock import now
from tests.generation.gateway import gateway, generate, listed, paid_for, refusal
from tests.world import World, picture
from wan_mcp.errors import CapReached, LedgerError, OutcomeUnknown
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.generation.submission import LEDGER_FAILURES
from wan_mcp.ledger.sql.owner_ledger import SqlOwnerLedger
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


class Failing(SqliteLedger):
    """A ledger whose disk is full for some calls of a kind."""

    def __init__(self, world: World, **fails: int) -> None:
        super().__init__(Path(world.environ["WAN_MCP_DATA_DIR"]))
        self._fails = fails

    def for_owner(self, gateway: str, key: str) -> SqlOwnerLedger:
        owned: Any = super().for_owner(gateway, key)
        for kind in ("claim", "mark_posted", "mark_answered"):
            setattr(owned, kind, partial(self._fail, kind, getattr(owned, kind)))
        return cast(SqlOwnerLedger, owned)

    async def _fail(self, kind: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        if self._fails.get(kind, 0) > 0:
            self._fails[kind] -= 1
            raise LedgerError("The ledger cannot be used (disk is full).", next_step="Make room.")
        return await method(*args, **kwargs)


async def test_without_a_ledger_nothing_is_paid(world: World, tmp_path: Path) -> None:
    """The folder cannot be made: refused before any request, not even an upload."""
    await anyio.Path(tmp_path / "file").write_text("in the way")
    await anyio.Path(tmp_path / "cat.png").write_bytes(picture())
    async with world.client(WAN_MCP_DATA_DIR=str(tmp_path / "file" / "data")) as client:
        said = await refusal(client, image_urls=[str(tmp_path / "cat.png")])
        assert (await answer(client, "get_credits"))["remaining"] == 1000
    assert said.endswith("Nothing was sent or charged.")
    assert "WAN_MCP_DATA_DIR" in said
    assert [call.at for call in world.records.calls] == ["credits"]


@pytest.mark.parametrize("kind", ["claim", "mark_posted"])
async def test_an_intent_that_cannot_be_written_is_not_sent(world: World, kind: str) -> None:
    """There is no request and no row; when the disk has room again, the same call works."""
    async with world.service({"ledger": Failing(world, **{kind: 1})}) as service:
        with pytest.raises(LedgerError):
            await generate(service)
        assert (world.records.posts, await world.rows()) == (0, [])
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_an_intent_that_cannot_be_written_again_is_not_sent_again(tmp_path: Path) -> None:
    """Nothing was sent now, but the first POST may have arrived."""
    world = gateway(tmp_path, "key")
    ledger = Failing(world)
    async with world.service({"ledger": ledger}) as service:
        world.sandbox.faults.add(Fault("submit", "lost"))
        with anyio.move_on_after(1):
            await generate(service)
        ledger._fails["mark_posted"] = LEDGER_FAILURES
        with pytest.raises(OutcomeUnknown, match="disk is full") as raised:
            await generate(service)
        assert (raised.value.charged, world.records.posts) == ("unknown", 1)
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_ledger_that_fails_for_half_a_minute_does_not_end_a_submission(tmp_path: Path) -> None:
    """It goes on by itself: where an operator pays for all, nobody may ask again."""
    world = gateway(tmp_path, "key")
    ledger = Failing(world)
    async with world.service({"ledger": ledger}) as service:
        world.sandbox.faults.add(Fault("submit", "lost"))
        with anyio.move_on_after(1):
            await generate(service)
        ledger._fails["mark_posted"] = LEDGER_FAILURES - 1
        await anyio.sleep(200)
        assert len(paid_for(world, PROMPT)) == 1
        assert [entry.status for entry in await world.rows()] == ["pending"]
        assert ledger._fails["mark_posted"] == 0


@pytest.mark.parametrize("form", ["both", "key", "list"])
async def test_a_ledger_that_fails_after_the_request_hides_no_task(tmp_path: Path, form: str) -> None:
    """Every caller gets the paid task at once; it is recorded when that works again."""
    world = gateway(tmp_path, form)
    async with world.service({"ledger": Failing(world, mark_answered=3)}) as service:
        snapshot = await generate(service)
        assert [entry.status for entry in await world.rows()] == ["unknown"]
        began = now()
        again = await generate(service)
        assert now() == began
        await anyio.sleep(16)
        assert [entry.task and entry.task.id for entry in await world.rows()] == [snapshot.task.id]
    assert snapshot.task.id == again.task.id
    assert paid_for(world, PROMPT) == {snapshot.task.id}


@pytest.mark.parametrize("form", ["both", "key", "list"])
async def test_a_task_that_was_never_written_down_is_found_by_the_next_process(
    tmp_path: Path, form: str
) -> None:
    """The disk stayed full until the end."""
    world = gateway(tmp_path, form)
    async with world.service({"ledger": Failing(world, mark_answered=99)}) as service:
        snapshot = await generate(service)
    async with world.service() as service:
        again = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id} == {again.task.id}


async def test_a_request_that_is_forgotten_under_way_hides_no_task(world: World) -> None:
    """A person removes the row in the middle: the caller gets the paid task."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=5))
    snapshots: list[TaskSnapshot] = []

    async def ask(service: VideoService) -> None:
        snapshots.append(await generate(service))

    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(ask, service)
        await anyio.sleep(2)
        assert await world.forget("#1")
    assert paid_for(world, PROMPT) == {snapshots[0].task.id}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("submit", "status", status=402),
        Fault("submit", "status", status=402, code="insufficient_token_quota"),
        Fault("submit", "status", status=400, code="content_policy_violation"),
        Fault("submit", "status", status=401),
        Fault("submit", "status", status=400, code="invalid_request"),
        Fault("submit", "status", times=3, status=429),
        Fault("submit", "capacity", times=3),
    ],
    ids=lambda fault: str(fault.details.get("code") or fault.details.get("status") or fault.kind),
)
async def test_a_plain_refusal_leaves_no_row_and_the_next_call_pays(world: World, fault: Fault) -> None:
    """A request that was refused for certain is not kept."""
    world.sandbox.faults.add(fault)
    async with world.client() as client:
        assert "Nothing was charged." in await refusal(client)
        assert await listed(client) == []
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert "repeated" not in found
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_the_cap_refuses_with_numbers_and_sends_nothing(world: World, tmp_path: Path) -> None:
    """What was spent, what this would cost, when it fits; not even the picture is uploaded."""
    await anyio.Path(tmp_path / "cat.png").write_bytes(picture())
    async with world.client(WAN_MCP_DAILY_CREDITS="40") as client:
        await answer(client, "generate_video", **ARGUMENTS)
        calls = len(world.records.calls)
        said = await refusal(client, prompt="Another.", image_urls=[str(tmp_path / "cat.png")])
        assert len(world.records.calls) == calls
        assert (await answer(client, "generate_video", **ARGUMENTS))["repeated"] is True
        small = await answer(client, "generate_video", **(ARGUMENTS | {"quality": "480p"}))
    for fact in ("40 credits", "25.5 credits ($0.38) were spent", "estimated at 25.5", "allows it from t"):
        assert fact in said
    assert said.endswith("Nothing was sent or charged.")
    assert small["credits"]["reserved"] == 12.75


async def test_the_cap_gives_back_what_failed_and_what_is_a_day_old(world: World) -> None:
    """A failed task costs nothing, and after 24 hours there is room again."""
    world.sandbox.faults.add(Fault("submit", "fail", at_once=True))
    async with world.service(WAN_MCP_DAILY_CREDITS="26") as service:
        await generate(service)
        await service.get_task(world.records.paid[0].task_id)
        await generate(service)
        with pytest.raises(CapReached):
            await generate(service, "Another.")
        await anyio.sleep(24 * 3600)
        await generate(service, "Another.")
    assert world.records.posts == 3


async def test_fifty_different_requests_at_once_keep_to_the_cap(world: World) -> None:
    """The cap is checked together with the claim, so that two requests cannot both use its last credits."""
    refused = 0

    async def ask(service: VideoService, prompt: str) -> None:
        nonlocal refused
        try:
            await generate(service, prompt)
        except CapReached:
            refused += 1

    async with world.service(WAN_MCP_DAILY_CREDITS="255") as service, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(ask, service, f"Cat {number} yawns.")
    assert (world.records.posts, refused) == (10, 40)
