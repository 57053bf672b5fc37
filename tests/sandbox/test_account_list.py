"""The account's list as other gateways might have it: late, unfiltered, with tasks of other programs."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
NOON = 1_800_000_000.0
DAY = 24 * 3600

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


async def listed(client: httpx2.AsyncClient, query: str = "") -> list[str]:
    """The ids in the list."""
    return [line["id"] for line in (await client.get(f"/v1/tasks?{query}")).json()["data"]]


async def test_a_task_can_be_listed_late(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """It can be read at once."""
    client = connect(make_sandbox(list_delay=3.0))
    task_id = (await client.post(SUBMIT, json=order)).json()["id"]
    read = await client.get(f"/v1/tasks/{task_id}")
    clock.advance(2.9)
    before = await listed(client)
    clock.advance(0.1)

    assert read.status_code == 200
    assert (before, await listed(client)) == ([], [task_id])


@pytest.mark.parametrize("query", ["model=another", "status=failed", "status=no-such-status"])
async def test_the_list_can_ignore_what_it_is_asked_for(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], query: str
) -> None:
    """A client has to look at each line itself."""
    sandbox = make_sandbox(filters_list=False)
    client = connect(sandbox)
    task_id = (await client.post(SUBMIT, json=order)).json()["id"]

    unfiltered = await listed(client, query)
    sandbox.filters_list = True

    assert unfiltered == [task_id]
    assert task_id not in await listed(client, query.replace("no-such-status", "completed"))


async def test_a_task_of_another_program_is_in_the_list_and_no_payment(
    client: httpx2.AsyncClient, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    """It takes credits of the account all the same."""
    foreign = sandbox.add_foreign()
    own = (await client.post(SUBMIT, json=order)).json()["id"]

    assert await listed(client) == [own, foreign]
    assert [payment.task_id for payment in sandbox.records.paid] == [own]
    assert sandbox.remaining_credits == 1000.0 - 2 * 25.5


async def test_a_task_of_another_program_is_a_task_like_any_other(
    client: httpx2.AsyncClient, sandbox: Sandbox, clock: Any
) -> None:
    """It can be read under its model's name, and has a video."""
    foreign = sandbox.add_foreign(model="wan2.5-text-to-video", created=NOON - 4)
    running = (await client.get(f"/v1/tasks/{foreign}")).json()
    clock.advance(6)
    [link] = (await client.get(f"/v1/tasks/{foreign}")).json()["results"]

    assert foreign.startswith(f"task-unified-{NOON - 4:.0f}-")
    assert (running["model"], running["created"]) == ("wan2.5-text-to-video", NOON - 4)
    assert (running["status"], running["progress"]) == ("processing", 40)
    assert (await client.get(link)).status_code == 200


async def test_the_list_can_be_narrowed_to_the_model_of_another_program(
    client: httpx2.AsyncClient, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    """Each line has its own model."""
    foreign = sandbox.add_foreign(model="wan2.5-text-to-video")
    own = (await client.post(SUBMIT, json=order)).json()

    assert await listed(client, "model=wan2.5-text-to-video") == [foreign]
    assert await listed(client, f"model={own['model']}") == [own["id"]]


async def test_the_list_is_sorted_by_the_time_of_creation(
    client: httpx2.AsyncClient, sandbox: Sandbox, order: dict[str, Any]
) -> None:
    """Whenever the sandbox learned of a task; equally old ones are in the reverse order of their arrival."""
    own = [(await client.post(SUBMIT, json=order)).json()["id"] for _ in range(2)]
    older = sandbox.add_foreign(created=NOON - 60)
    sandbox.add_foreign(created=NOON - 7 * DAY)

    assert await listed(client) == [*reversed(own), older]


async def test_a_task_of_the_future_is_not_there_yet(
    client: httpx2.AsyncClient, sandbox: Sandbox, clock: Any
) -> None:
    """Neither in the list nor to be read, and it takes no credits."""
    sandbox.seconds = 0.0
    foreign = sandbox.add_foreign(created=NOON + 5)
    clock.advance(4.9)
    before = await listed(client), (await client.get(f"/v1/tasks/{foreign}")).status_code
    credits = sandbox.remaining_credits
    clock.advance(0.1)

    assert (before, credits) == (([], 404), 1000.0)
    assert (await listed(client), (await client.get(f"/v1/tasks/{foreign}")).status_code) == ([foreign], 200)
    assert sandbox.remaining_credits == 974.5
