"""Cases that broke the rules of paying once: suspended machines, clocks, requests in flight, damaged rows."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import ARGUMENTS, answer
from tests.clock import now
from tests.generation.gateway import gateway, generate, key_use, paid_for, refusal
from tests.world import World, picture
from wan_mcp.errors import LedgerError, OutcomeUnknown, OutOfCredits, StillUnderWay, WanError
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Account, Fault
from wan_mcp.sandbox.tasks import Task

pytestmark = pytest.mark.anyio

HOUR = 3600.0
Outcomes = dict[str, TaskSnapshot | WanError]


async def ask(service: VideoService, prompt: str, outcomes: Outcomes, **arguments: Any) -> None:
    try:
        outcomes[prompt] = await generate(service, prompt, **arguments)
    except WanError as error:
        outcomes[prompt] = error


async def die(world: World, clock: Callable[[], float] = now, **arguments: Any) -> None:
    """Pay in a process that ends before it has the answer."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service({"clock": clock}) as service:
        with anyio.move_on_after(1):
            await generate(service, "R", **arguments)


def posts(world: World) -> list[float]:
    return [call.time for call in world.records.calls if call.at == "submit"]


def made_for(world: World, outcomes: Outcomes, prompt: str) -> bool:
    outcome = outcomes[prompt]
    assert isinstance(outcome, TaskSnapshot), outcome
    return outcome.task.id in paid_for(world, prompt)


def execute(world: World, statement: str) -> None:
    path = Path(world.environ["WAN_MCP_DATA_DIR"]) / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("hours", [23.5, 25])
async def test_a_machine_that_was_suspended_for_a_day_does_not_repeat(tmp_path: Path, hours: float) -> None:
    """It wakes in the middle of its repeats, and the gateway may have forgotten the key."""
    shift = 0.0
    world = gateway(tmp_path, "both", clock=lambda: now() + shift)
    await key_use(world, "honoured")
    world.sandbox.faults.add(Fault("submit", "lost"))
    outcomes: Outcomes = {}
    async with world.service({"clock": lambda: now() + shift}) as service, anyio.create_task_group() as group:
        group.start_soon(ask, service, "R", outcomes)
        await anyio.sleep(1)
        shift = hours * HOUR
    assert world.records.posts == 1


async def test_repeats_end_at_23_hours_also_in_the_middle(tmp_path: Path) -> None:
    """A request that is made one second before that is repeated for one second."""
    world = gateway(tmp_path, "both", faults=[Fault("submit", "lost", None)])
    await key_use(world, "honoured")
    outcomes: Outcomes = {}
    async with world.service() as service:
        await ask(service, "R", outcomes)
        await anyio.sleep(posts(world)[0] + 23 * HOUR - 1 - now())
        await ask(service, "R", outcomes)
    assert posts(world)[-1] - posts(world)[0] < 23 * HOUR


@pytest.mark.parametrize(("then", "later"), [(0.0, 25 * HOUR), (0.0, 23.5 * HOUR), (48 * HOUR, 0.0)])
async def test_a_clock_that_is_wrong_by_days_is_not_believed(
    tmp_path: Path, then: float, later: float
) -> None:
    """The gateway's clock says how long ago a request was sent."""
    world = gateway(tmp_path)
    await key_use(world, "honoured")
    await die(world, lambda: now() + then)
    await anyio.sleep(25 * HOUR if then else 0)
    outcomes: Outcomes = {}
    async with world.service({"clock": lambda: now() + later}) as service:
        await ask(service, "R", outcomes)
    assert len(world.records.paid) == 1


@pytest.mark.parametrize("minutes", ["0", "1"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_an_answer_that_nobody_heard_is_told_whatever_the_window(
    tmp_path: Path, minutes: str, restarted: bool
) -> None:
    """The caller was told to ask again, and the answer came in the meantime."""
    world = gateway(tmp_path, faults=[Fault("submit", "slow", seconds=50)])
    async with world.client(WAN_MCP_REPEAT_MINUTES=minutes) as client:
        await refusal(client)
        await anyio.sleep(70)
        if not restarted:
            await answer(client, "generate_video", **ARGUMENTS)
    async with world.client(WAN_MCP_REPEAT_MINUTES=minutes) as client:
        if restarted:
            await answer(client, "generate_video", **ARGUMENTS)
        assert len(world.records.paid) == 1
        await anyio.sleep(3600)
        await answer(client, "generate_video", **ARGUMENTS)
    assert len(world.records.paid) == 2


async def test_a_request_that_was_waited_for_is_ours_whatever_the_window(tmp_path: Path) -> None:
    """Two processes make the request at the same time."""
    world = gateway(tmp_path, faults=[Fault("submit", "slow", seconds=10)])
    first: Outcomes = {}
    second: Outcomes = {}
    world.environ["WAN_MCP_REPEAT_MINUTES"] = "0"
    async with world.service() as one, world.service() as two, anyio.create_task_group() as group:
        group.start_soon(ask, one, "R", first)
        await anyio.sleep(1)
        group.start_soon(ask, two, "R", second)
    assert len(world.records.paid) == 1
    assert made_for(world, second, "R")


@pytest.mark.parametrize("dates", ["local", "no date, and a wrong clock"])
async def test_an_ignored_key_is_learned_also_where_times_cannot_be_read(tmp_path: Path, dates: str) -> None:
    """From the times in the ids, and from the request's own task."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    if dates == "local":
        world.sandbox.dates = "local"
    else:
        world.sandbox.date_offset = None
    outcomes: Outcomes = {}
    async with world.service({"clock": lambda: now() + (0 if dates == "local" else 600)}) as service:
        for number in range(4):
            world.sandbox.faults.add(Fault("submit", "lost"))
            await ask(service, f"R{number}", outcomes)
            await anyio.sleep(1000)
    assert [len(paid_for(world, f"R{number}")) for number in range(4)] == [2, 1, 1, 1]


async def test_a_guess_that_is_put_off_is_not_sent_once_the_gateway_is_known(tmp_path: Path) -> None:
    """It was refused for a while; in that time, another request showed that the key is ignored."""
    world = gateway(tmp_path, "list", credits=10_000.0, date_offset=None, faults=[Fault("submit", "lost", 2)])
    outcomes: Outcomes = {}
    async with world.service() as service, anyio.create_task_group() as group:
        for prompt in ("R1", "R2"):
            group.start_soon(ask, service, prompt, outcomes)
        await anyio.sleep(99.5)
        world.sandbox.faults.add(Fault("submit", "status", status=429, retry_after=20))
    assert sorted(len(paid_for(world, prompt)) for prompt in ("R1", "R2")) == [1, 2]


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_task_of_a_request_in_flight_is_not_taken(tmp_path: Path, processes: int) -> None:
    """It is sent, and its task is listed, while the list is being read."""
    world = gateway(tmp_path, "list")
    await key_use(world, "ignored")
    outcomes: Outcomes = {}
    async with world.service() as one, world.service() as two, anyio.create_task_group() as group:
        await one.credits()
        await two.credits()
        world.sandbox.faults.add(
            Fault("submit", "dropped"),
            Fault("submit", "slow", seconds=5),
            Fault("tasks", "status", status=503),
        )
        group.start_soon(ask, one, "R1", outcomes)
        await anyio.sleep(5.2)
        group.start_soon(ask, one if processes == 1 else two, "R2", outcomes)
    assert made_for(world, outcomes, "R1")
    assert made_for(world, outcomes, "R2")


async def test_the_second_task_of_a_request_is_nobody_elses(tmp_path: Path) -> None:
    """It counts towards the cap, is listed, and no other lost request gets it."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    outcomes: Outcomes = {}
    async with world.service(WAN_MCP_DAILY_CREDITS="70") as service:
        await service.credits()
        world.sandbox.faults.add(Fault("submit", "lost"), Fault("tasks", "status", status=404))
        await ask(service, "R1", outcomes)
        world.sandbox.faults.add(Fault("submit", "dropped"))
        await ask(service, "R2", outcomes, quality="480p")
        await ask(service, "R3", outcomes)
    assert len(paid_for(world, "R1")) == 2
    assert made_for(world, outcomes, "R2")
    assert "would be exceeded" in str(outcomes["R3"])
    listed = [entry.task.id for entry in await world.rows() if entry.task]
    assert set(listed) == {payment.task_id for payment in world.records.paid}


async def test_the_first_task_of_a_repeated_request_is_nobody_elses(tmp_path: Path) -> None:
    """Nothing shows to which of the two it belongs: the other request was lost before it arrived."""
    world = gateway(tmp_path, "list", faults=[Fault("submit", "lost"), Fault("submit", "dropped")])
    outcomes: Outcomes = {}
    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(ask, service, "R1", outcomes)
        await anyio.sleep(1)
        group.start_soon(ask, service, "R2", outcomes)
    assert made_for(world, outcomes, "R1")
    assert isinstance(outcomes["R2"], OutcomeUnknown) or made_for(world, outcomes, "R2")


async def test_every_candidate_is_named(tmp_path: Path) -> None:
    """Even if there are many: a paid task that no error names is lost."""
    world = gateway(tmp_path, "list", credits=10_000.0, faults=[Fault("submit", "lost", 12)])
    await key_use(world, "ignored")
    outcomes: Outcomes = {}
    async with world.service() as service, anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(ask, service, f"R{number}", outcomes)
    said = " ".join(map(str, outcomes.values()))
    assert all(payment.task_id in said for payment in world.records.paid)


@pytest.mark.parametrize("column", ["posts", "body"])
async def test_a_damaged_row_is_not_paid_again(tmp_path: Path, column: str) -> None:
    """The time of its POST is in two places; without its body, only its task is searched for."""
    world = gateway(tmp_path)
    await die(world)
    execute(world, f"UPDATE entries SET {column} = 'damaged'")
    outcomes: Outcomes = {}
    async with world.service() as service:
        await ask(service, "R", outcomes)
    assert len(world.records.paid) == 1
    assert made_for(world, outcomes, "R")


@pytest.mark.parametrize("use", ["unknown", "ignored"])
@pytest.mark.parametrize("status", [408, 409, 425, 429, 418])
async def test_a_list_that_is_refused_for_a_moment_is_offered(tmp_path: Path, use: Any, status: int) -> None:
    """The next search finds the task."""
    world = gateway(tmp_path, "list")
    await key_use(world, use)
    outcomes: Outcomes = {}
    async with world.service() as service:
        await service.credits()
        world.sandbox.faults.add(Fault("submit", "lost"), Fault("tasks", "status", status=status))
        await ask(service, "R", outcomes)
    assert len(world.records.paid) == 1
    assert made_for(world, outcomes, "R")


async def test_a_list_that_is_not_newest_first_is_not_believed(tmp_path: Path) -> None:
    """The task may be on a page that was not read."""
    world = gateway(tmp_path, "list", credits=10_000.0, faults=[Fault("submit", "lost")])
    await key_use(world, "ignored")
    for number in range(60):
        world.sandbox.add_foreign(created=now() - 5000 + number)
    newest_first = world.sandbox.tasks

    def oldest_first(account: Account | None = None) -> list[Task]:
        return newest_first(account)[::-1]

    world.sandbox.tasks = oldest_first  # type: ignore[method-assign]
    outcomes: Outcomes = {}
    async with world.service() as service:
        await ask(service, "R", outcomes)
    assert len(world.records.paid) == 1


@pytest.mark.parametrize(
    "spelling", ["https://api.evolink.ai/", "https://API.evolink.ai", "https://api.evolink.ai:443"]
)
async def test_the_api_in_another_spelling_is_the_same_account(tmp_path: Path, spelling: str) -> None:
    """A request that was made under one spelling is not paid again under another."""
    world = gateway(tmp_path)
    outcomes: Outcomes = {}
    for address in ("https://api.evolink.ai", spelling):
        async with world.service(EVOLINK_BASE_URL=address) as service:
            await ask(service, "R", outcomes)
    assert len(world.records.paid) == 1


@pytest.mark.parametrize("change", ["private", "folder", "outside"])
async def test_whatever_became_of_its_picture_a_paid_request_is_found(tmp_path: Path, change: str) -> None:
    """Its name leads to a private network; its path is a folder; its folder cannot be read any more."""
    world = gateway(tmp_path)
    path = tmp_path / "pictures" / "cat.png"
    path.parent.mkdir()
    path.write_bytes(picture())
    arguments: dict[str, Any] = {} if change == "private" else {"image_urls": [str(path)]}
    await die(world, **arguments)
    environ: dict[str, str] = {}
    options: dict[str, Any] = {}
    if change == "private":

        async def private(host: str, port: int) -> list[str]:
            return ["10.0.0.1"]

        options = {"resolve": private}
    elif change == "folder":
        path.unlink()
        path.mkdir()
    else:
        environ = {"WAN_MCP_IMAGE_DIRS": str(tmp_path / "videos")}
    outcomes: Outcomes = {}
    async with world.service(options, **environ) as service:
        await ask(service, "R", outcomes, **arguments)
    assert made_for(world, outcomes, "R")
    assert len(world.records.paid) == 1


async def test_before_the_ledger_has_answered_nothing_is_said_about_money(tmp_path: Path) -> None:
    """Another process holds it for longer than the caller waits."""
    world = gateway(tmp_path)
    await die(world)
    path = Path(world.environ["WAN_MCP_DATA_DIR"]) / "ledger.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with world.service() as service:
            await service.tasks(None, 5)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StillUnderWay, match="not known whether this request was made") as raised:
                await generate(service, "R", patience=2)
            other.execute("ROLLBACK")
            assert raised.value.charged == "unknown"


async def test_a_request_that_could_not_be_given_up_is_given_up_later(tmp_path: Path) -> None:
    """It was refused while the ledger was locked: a few seconds later, another process can make it."""
    world = gateway(tmp_path, faults=[Fault("submit", "status", status=402)])
    outcomes: Outcomes = {}
    async with world.service() as one, world.service() as two:
        release = one._ledger.release
        failures = [LedgerError("Locked."), LedgerError("Locked.")]

        async def failing(number: int) -> None:
            if failures:
                raise failures.pop()
            await release(number)

        one._ledger.release = failing  # type: ignore[method-assign]  # a ledger that is locked for a while
        with pytest.raises(OutOfCredits):
            await generate(one, "R")
        await anyio.sleep(15)
        await ask(two, "R", outcomes, patience=5)
    assert made_for(world, outcomes, "R")


@pytest.mark.parametrize("use", ["ignored", "honoured"])
async def test_no_take_after_the_last_one_is_advised(tmp_path: Path, use: Any) -> None:
    """There are 99."""
    world = gateway(tmp_path, "list", date_offset=None, faults=[Fault("submit", "lost")])
    await key_use(world, use)
    async with world.client() as client:
        if use == "ignored":
            assert "100" not in await refusal(client, take=99)
        await answer(client, "generate_video", **(ARGUMENTS | {"prompt": "Q."}), take=99)
        again = await answer(client, "generate_video", **(ARGUMENTS | {"prompt": "Q."}), take=99)
    assert "nothing was charged again" in again["next"]
    assert "100" not in again["next"]


async def test_a_reserve_of_nothing_is_not_free(tmp_path: Path) -> None:
    """The cap counts the estimate where Evolink does not say what a task costs."""
    nothing = {"usage": {"credits_reserved": 0}}
    world = gateway(tmp_path, faults=[Fault("submit", "patch", None, body=nothing)])
    outcomes: Outcomes = {}
    async with world.service(WAN_MCP_DAILY_CREDITS="30") as service:
        for number in range(3):
            await ask(service, f"R{number}", outcomes)
    assert len(world.records.paid) == 1
