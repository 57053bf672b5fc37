"""What the account's list shows about a submission without an answer, and what it does not."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import PROMPT
from tests.clock import now
from tests.generation.gateway import gateway, generate, key_use, make_elsewhere, paid_for
from tests.world import KEY, World
from wan_mcp.errors import OutcomeUnknown
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A gateway that ignores the key, as the ledger knows: only the list can help."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    await key_use(world, "ignored")
    return world


async def lose(world: World, prompt: str = PROMPT, kind: str = "lost", **options: Any) -> None:
    """Send a request in a process that ends before it has the answer."""
    world.sandbox.faults.add(Fault("submit", kind))
    async with world.service(options) as service:
        with anyio.move_on_after(1):
            await generate(service, prompt)


async def ask(world: World, prompt: str = PROMPT, **options: Any) -> TaskSnapshot | OutcomeUnknown:
    async with world.service(options) as service:
        try:
            return await generate(service, prompt)
        except OutcomeUnknown as error:
            return error


async def found(world: World, prompt: str = PROMPT, **options: Any) -> bool:
    """Whether the task of a lost request is found; if it is not, nothing is sent."""
    posts = world.records.posts
    answer = await ask(world, prompt, **options)
    assert world.records.posts == posts
    if isinstance(answer, OutcomeUnknown):
        assert "could be paid twice" in answer.message
        return False
    assert {answer.task.id} == paid_for(world, prompt)
    assert answer.recovered
    return True


@pytest.mark.parametrize(
    ("dates", "readable"), [("seconds", True), ("milliseconds", True), ("iso", True), ("local", False)]
)
async def test_times_in_every_form_that_tells_the_moment_are_read(
    world: World, dates: Any, readable: bool
) -> None:
    """A local time without a zone may be wrong by hours."""
    world.sandbox.dates = dates
    await lose(world)
    assert await found(world) is readable


@pytest.mark.parametrize("ahead", [0, 1, -1, 130, -130, 3600, -3600])
async def test_a_gateway_whose_clock_is_wrong_is_understood(world: World, ahead: float) -> None:
    """Its dates and its Date header are wrong by the same time."""
    world.sandbox.clock = lambda: now() + ahead
    await lose(world)
    assert await found(world)


@pytest.mark.parametrize(
    ("ahead", "later"),
    [(130, 130), (-130, -130), (3600, 3600), (-3600, -3600), (None, None), (0, None), (0, 20), (0, 3600)],
)
async def test_a_date_header_that_does_not_fit_the_dates_is_never_a_reason_to_pay(
    world: World, ahead: float | None, later: float | None
) -> None:
    """Wrong, missing, or changed since: no task is taken, and nothing is sent."""
    world.sandbox.date_offset = ahead
    await lose(world)
    world.sandbox.date_offset = later
    posts = world.records.posts
    answer = await ask(world)
    assert isinstance(answer, OutcomeUnknown)
    assert world.records.paid[0].task_id in answer.message
    assert world.records.posts == posts


@pytest.mark.parametrize("shift", [600, -600, 3600, -3600])
async def test_a_clock_that_was_changed_meanwhile_is_never_a_reason_to_pay(
    world: World, shift: float
) -> None:
    """It is also no reason to wait for longer than a search needs."""
    await lose(world)
    began = now()
    assert not await found(world, clock=lambda: now() + shift)
    assert now() - began <= 101


async def test_a_process_that_cannot_learn_the_time_before_it_pays_does_not_guess_later(world: World) -> None:
    """The skew of the moment of the POST is what counts."""
    world.sandbox.date_offset = None
    await lose(world)
    world.sandbox.date_offset = 0.0
    assert not await found(world)


async def test_a_task_of_another_model_is_not_taken(world: World) -> None:
    """Also where the list ignores the filter."""
    world.sandbox.filters_list = False
    await lose(world, kind="dropped")
    world.sandbox.add_foreign(model="wan2.5-text-to-video")
    answer = await ask(world)
    assert isinstance(answer, TaskSnapshot)
    assert paid_for(world, PROMPT) == {answer.task.id}


async def test_two_keys_of_one_account_do_not_take_each_others_tasks(world: World) -> None:
    """The list has the whole account's tasks: one may be of the other key's request, lost or answered."""
    world.sandbox.other_keys = (f"{KEY}-two",)
    await lose(world, kind="dropped")
    async with world.service(EVOLINK_API_KEY=f"{KEY}-two") as service:
        other = await generate(service)
    mine = await ask(world)
    assert isinstance(mine, TaskSnapshot)
    assert mine.task.id != other.task.id

    await lose(world, "A dog.", kind="dropped")
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service(EVOLINK_API_KEY=f"{KEY}-two") as service:
        with anyio.move_on_after(1):
            await generate(service, "A dog.")
    assert not await found(world, "A dog.")


async def test_a_task_that_was_read_by_its_id_meanwhile_is_still_a_candidate(world: World) -> None:
    """The user read the task that an answer named: after that, it may still be this request's."""
    await lose(world)
    async with world.service() as service:
        await service.get_task(world.records.paid[0].task_id)
    assert await found(world)


async def test_several_tasks_that_may_be_it_are_named_and_nothing_is_sent(world: World) -> None:
    """Nothing is paid while that is not known; the answer names the tasks."""
    await lose(world)
    other = world.sandbox.add_foreign()
    answer = await ask(world)
    assert isinstance(answer, OutcomeUnknown)
    assert other in answer.message
    assert world.records.paid[0].task_id in answer.message
    assert "Check them with get_task." in answer.next_step
    assert world.records.posts == 1


async def test_a_search_that_is_asked_for_waits_for_what_is_under_way(world: World) -> None:
    """When the other request has its answer, the remaining task is this request's."""
    await lose(world)
    results: dict[str, TaskSnapshot] = {}

    async def request(service: VideoService, prompt: str) -> None:
        results[prompt] = await generate(service, prompt)

    world.sandbox.faults.add(Fault("submit", "slow", seconds=8))
    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(request, service, "The dog yawns.")
        await anyio.sleep(1)
        group.start_soon(request, service, PROMPT)
    for prompt, snapshot in results.items():
        assert paid_for(world, prompt) == {snapshot.task.id}
        assert snapshot.recovered is (prompt == PROMPT)


async def test_a_request_that_is_lost_while_another_is_under_way_is_not_told_to_pay_again(
    world: World,
) -> None:
    """Nobody is told to change the prompt or to forget a row."""
    await lose(world)
    world.sandbox.faults.add(Fault("submit", "slow", seconds=58))
    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(generate, service, "The dog yawns.")
        await anyio.sleep(1)
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_every_page_of_the_time_is_read(world: World) -> None:
    """Sixty newer tasks of another program do not hide the task; an hour later it is the only candidate."""
    await lose(world)
    await anyio.sleep(300)
    for _ in range(60):
        await make_elsewhere(world)
    assert await found(world)


async def test_a_list_that_breaks_off_is_not_a_list_without_the_task(world: World) -> None:
    """The task may be on a page that was not read."""
    await lose(world)
    await anyio.sleep(300)
    for _ in range(60):
        await make_elsewhere(world)
    world.sandbox.faults.add(Fault("tasks", "status", times=None, after=1, status=500))
    assert not await found(world)
    world.sandbox.faults.clear()
    assert await found(world)


async def test_a_gateway_that_answers_every_page_with_the_first_one_is_not_believed(world: World) -> None:
    """Older tasks are never seen, and one may be this request's."""
    await lose(world)
    foreign = [
        {"id": f"task-unified-{number}", "created_at": int(now()) + 50, "status": "processing"}
        for number in range(50)
    ]
    world.sandbox.faults.add(Fault("tasks", "body", times=None, body={"data": foreign, "total": 51}))
    assert not await found(world)


async def test_a_task_that_moves_to_the_next_page_is_one_task(world: World) -> None:
    """The list grows while it is read: a task that is on two pages is one candidate."""
    await lose(world)
    [payment] = world.records.paid
    line = {"id": payment.task_id, "status": "processing", "created_at": int(payment.time)}
    world.sandbox.faults.add(Fault("tasks", "body", times=2, body={"data": [line]}))
    assert await found(world)


@pytest.mark.parametrize(
    ("fault", "offered"),
    [
        (Fault("tasks", "status", times=None, status=404), False),
        (Fault("tasks", "status", times=None, status=403), False),
        (Fault("tasks", "status", times=None, status=400), False),
        (Fault("tasks", "status", times=None, status=500), True),
        (Fault("tasks", "html", times=None), True),
        (Fault("tasks", "body", times=None, body={"tasks": []}), True),
        (Fault("tasks", "lost", times=None), True),
    ],
    ids=lambda fault: f"{fault.kind}{fault.details.get('status', '')}" if isinstance(fault, Fault) else "",
)
async def test_a_list_that_is_not_offered_is_not_waited_for(
    tmp_path: Path, fault: Fault, offered: bool
) -> None:
    """After a refusal nothing is waited for; a list that fails may work a little later."""
    world = gateway(tmp_path, "both", faults=[Fault("submit", "lost"), fault])
    async with world.service() as service:
        began = now()
        snapshot = await generate(service)
    assert (now() - began > 90) is offered
    assert paid_for(world, PROMPT) == {snapshot.task.id}
    assert world.records.posts == 2
    assert await key_use(world) == "honoured"
