"""Callers who share the operator's account: what is not theirs is unknown, and not asked for."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.callers import Callers
from tests.clock import now
from tests.generation.gateway import generate
from wan_mcp.errors import LedgerError, NotFound, NotKnownYet, OutcomeUnknown, OutOfCredits, WanError
from wan_mcp.generation.owners import ONE_ACCOUNT
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault
from wan_mcp.server.text import error_text

pytestmark = pytest.mark.anyio


async def nothing(snapshot: TaskSnapshot | None) -> None:
    """Tell nobody."""


READS: dict[str, Callable[[VideoService, str], Awaitable[object]]] = {
    "get": lambda service, task_id: service.get_task(task_id),
    "current": lambda service, task_id: service.current(task_id),
    "wait": lambda service, task_id: service.wait(task_id, 45, nothing),
    "save": lambda service, task_id: service.save(task_id, None),
    "preview": lambda service, task_id: service.frames.preview(task_id, 4, 10),
    "last frame": lambda service, task_id: service.frames.last_frame(task_id),
}
EVERY_READ = pytest.mark.parametrize("read", READS.values(), ids=READS)


class Unreadable(SqliteLedger):
    """A ledger whose disk can fail."""

    fails = False

    def for_digest(self, gateway: str, digest: str) -> Any:
        owned: Any = super().for_digest(gateway, digest)
        found = owned.find

        async def find(task_id: str) -> Any:
            if self.fails:
                raise LedgerError("The ledger cannot be used (disk is broken).")
            return await found(task_id)

        owned.find = find
        return owned


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path, ONE_ACCOUNT)


@pytest.fixture
async def services(callers: Callers) -> AsyncIterator[Services]:
    async with callers.services() as services:
        yield services


async def refusal(work: Awaitable[object], kind: type[WanError] = WanError) -> str:
    with pytest.raises(kind) as raised:
        await work
    return re.sub(r" \(request id \w+\)", "", error_text(raised.value, ONE_ACCOUNT))


@EVERY_READ
async def test_what_is_not_in_the_callers_ledger_is_unknown_at_once(
    callers: Callers, services: Services, read: Callable[[VideoService, str], Awaitable[object]]
) -> None:
    """An invented id, one of another caller, one of the operator's: nothing is asked upstream."""
    task_id = (await generate(callers.of(services, "one"))).task.id
    await anyio.sleep(90)
    await callers.of(services, "one").get_task(task_id)
    new = (await generate(callers.of(services, "one"), "A newer one.")).task.id
    foreign = callers.world.sandbox.add_foreign()
    invented = ("task-unified-1757169743-7cvnl5zw", f"task-unified-{int(now())}-7cvnl5zw")
    calls, began = len(callers.world.records.calls), now()
    two = callers.of(services, "two")
    for unknown in (task_id, new, foreign, *invented):
        assert await refusal(read(two, unknown), NotFound) == (
            f"You have no task {unknown} on this server. Check the id with list_tasks. Nothing was charged."
        )
    assert len(callers.world.records.calls) == calls
    assert now() - began < 1


async def test_an_own_task_that_evolink_does_not_know_yet_is_pending(
    callers: Callers, services: Services
) -> None:
    """That it is new is known from the caller's own request."""
    one = callers.of(services, "one")
    task_id = (await generate(one)).task.id
    callers.world.sandbox.faults.add(Fault("task", "status", status=404))
    await anyio.sleep(10)
    snapshot = await one.get_task(task_id)
    assert snapshot.task.status == "pending"
    assert isinstance(snapshot.read_error, NotKnownYet)


@EVERY_READ
async def test_without_a_ledger_no_task_is_asked_for(
    tmp_path: Path, callers: Callers, read: Callable[[VideoService, str], Awaitable[object]]
) -> None:
    """Whose it is cannot be known then; a new process does not know the own ones either."""
    async with callers.services() as services:
        task_id = (await generate(callers.of(services, "one"))).task.id
    ledger = Unreadable(tmp_path / "data")
    ledger.fails = True
    reads = callers.world.records.reads
    async with callers.services({"ledger": ledger}) as services:
        for name in ("one", "two"):
            said = await refusal(read(callers.of(services, name), task_id), LedgerError)
            assert said == (
                "The server's ledger cannot be used now. Try again in a minute; if it stays so, tell whoever "
                "runs this server. Nothing was sent or charged."
            )
    assert callers.world.records.reads == reads


@pytest.mark.parametrize("is_read", [False, True])
async def test_an_own_task_is_read_on_while_the_ledger_is_down(
    tmp_path: Path, callers: Callers, is_read: bool
) -> None:
    """It was requested or read by this process; for another caller it is still not asked for."""
    async with callers.services() as services:
        task_id = (await generate(callers.of(services, "one"))).task.id
    ledger = Unreadable(tmp_path / "data")
    async with callers.services({"ledger": ledger}) as services:
        one = callers.of(services, "one")
        await (one.get_task(task_id) if is_read else generate(one))
        ledger.fails = True
        await anyio.sleep(100)
        assert (await one.get_task(task_id)).task.status == "completed"
        await refusal(callers.of(services, "two").get_task(task_id), LedgerError)


async def test_a_listing_survives_a_ledger_that_fails_in_the_middle(tmp_path: Path, callers: Callers) -> None:
    """Its tasks are then as they were known."""
    async with callers.services() as services:
        await generate(callers.of(services, "one"))
    ledger = Unreadable(tmp_path / "data")
    ledger.fails = True
    async with callers.services({"ledger": ledger}) as services:
        assert [entry.status for entry in await callers.of(services, "one").tasks(None, 10)] == ["pending"]


async def test_too_few_credits_are_the_operators_business(callers: Callers, services: Services) -> None:
    """Neither the balance nor Evolink's own words are told, and the balance is not read."""
    callers.world.sandbox.credits = 3.25
    said = await refusal(generate(callers.of(services, "one")), OutOfCredits)
    assert said == (
        "The server's account at Evolink has too few credits for this. This video needs about 25.5 credits "
        "($0.38). Tell whoever runs this server. Nothing was charged."
    )
    assert [call.at for call in callers.world.records.calls if call.at == "credits"] == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("insufficient_quota", "You have $3.25 left"),
        ("insufficient_token_quota", "Key limit of 3.25 reached"),
        ("key_daily_quota_exhausted", "Used 3.25 today"),
    ],
)
async def test_no_limit_of_the_operators_key_is_told_after_a_lost_answer_either(
    tmp_path: Path, code: str, message: str
) -> None:
    """The refusal of the repeat is only the reason why the outcome is not known."""
    callers = Callers(tmp_path, ONE_ACCOUNT, offers_list=False)
    callers.world.sandbox.faults.add(
        Fault("submit", "lost"), Fault("submit", "status", status=402, code=code, message=message, times=None)
    )
    async with callers.services() as services:
        said = await refusal(generate(callers.of(services, "one")), OutcomeUnknown)
    assert "The server's account at Evolink has too few credits" in said
    for secret in ("3.25", "dashboard", "limit"):
        assert secret not in said


@pytest.mark.parametrize(
    ("status", "code"), [(401, ""), (403, ""), (403, "key_disabled"), (403, "key_model_not_allowed")]
)
async def test_a_refused_key_is_the_operators_business(
    callers: Callers, services: Services, status: int, code: str
) -> None:
    """The caller has no key, and cannot change the server's."""
    callers.world.sandbox.faults.add(Fault("submit", "status", status=status, code=code))
    assert await refusal(generate(callers.of(services, "one"))) == (
        "Evolink does not accept the server's own key for this. Tell whoever runs this server. "
        "Nothing was charged."
    )


async def test_tasks_that_may_be_other_callers_are_not_named(tmp_path: Path) -> None:
    """After a lost answer, the list has a task that may be the caller's, or another one's."""
    callers = Callers(tmp_path, ONE_ACCOUNT, honours_idempotency_key=False)
    callers.world.sandbox.faults.add(Fault("submit", "lost", times=None))
    said: list[str] = []
    async with callers.services() as services, anyio.create_task_group() as group:
        for name in ("one", "two", "three"):
            group.start_soon(ask, callers.of(services, name), f"For {name}.", said)
    assert len(said) == 3
    for text in said:
        assert "It is not known whether Evolink accepted the request." in text
        assert "task-unified" not in text


async def ask(service: VideoService, prompt: str, said: list[str]) -> None:
    try:
        await generate(service, prompt)
    except OutcomeUnknown as error:
        said.append(error_text(error, ONE_ACCOUNT))


async def test_a_caller_is_told_of_the_own_spending_alone(tmp_path: Path) -> None:
    """What others spent, and the balance, are not read."""
    callers = Callers(tmp_path, ONE_ACCOUNT)
    async with callers.services(WAN_MCP_DAILY_CREDITS="60", WAN_MCP_REQUEST_CREDITS="30") as services:
        await generate(callers.of(services, "two"), "Not mine.")
        await generate(callers.of(services, "one"))
        calls = len(callers.world.records.calls)
        said = str(await callers.of(services, "one").allowance())
    assert len(callers.world.records.calls) == calls
    assert said == (
        "You spent 25.5 credits ($0.38) in the last 24 hours. Your daily cap is 60 credits ($0.88); 34.5 "
        "credits ($0.51) are left. One request may cost 30 credits ($0.44) at most. The server may also have "
        "a daily cap for all callers together."
    )


async def test_the_cap_for_all_callers_counts_what_each_of_them_spends(tmp_path: Path) -> None:
    """The refused caller has spent nothing, and is not told how much the others did."""
    callers = Callers(tmp_path, ONE_ACCOUNT)
    async with callers.services(WAN_MCP_TOTAL_DAILY_CREDITS="51") as services:
        for name in ("one", "two"):
            await generate(callers.of(services, name), f"For {name}.")
        said = await refusal(generate(callers.of(services, "three"), "For three."))
    assert "WAN_MCP_TOTAL_DAILY_CREDITS" in said
    assert "51" not in said
    assert len(callers.world.records.paid) == 2


async def test_equal_requests_of_two_callers_are_two(callers: Callers, services: Services) -> None:
    """Each has a task of its own, with one key and one account upstream."""
    ids = {(await generate(callers.of(services, name))).task.id for name in ("one", "two")}
    assert len(ids) == len(callers.world.records.paid) == 2
    assert {payment.sent_by for payment in callers.world.records.paid} == {"main/1"}
