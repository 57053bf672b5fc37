"""Credits, and the key under which a request is paid once."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint

from wan_mcp.sandbox import Fault, Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
KEY = {"idempotency-key": "request-0123456789abcdef"}

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


async def test_credits_are_reserved_then_used(
    client: httpx2.AsyncClient, order: dict[str, Any], clock: Any
) -> None:
    """A submission takes them from the balance; they count as used when the video is there."""
    await client.post(SUBMIT, json=order)
    running = (await client.get("/v1/credits")).json()
    clock.advance(10)
    finished = (await client.get("/v1/credits")).json()

    reserved = {"remaining_credits": 974.5, "used_credits": 0.0}
    used = {"remaining_credits": 974.5, "used_credits": 25.5}
    assert running == {
        "success": True,
        "data": {"user": reserved, "token": reserved | {"unlimited_credits": False}},
    }
    assert finished["data"]["user"] == used


@pytest.mark.parametrize(("credits", "status"), [(25.5, 200), (25.4, 402), (0.0, 402), (-3.0, 402)])
async def test_a_balance_that_is_short_is_a_402(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], credits: float, status: int
) -> None:
    """Just enough is enough; a balance may be negative."""
    sandbox = make_sandbox(credits=credits)

    response = await connect(sandbox).post(SUBMIT, json=order)

    assert response.status_code == status
    if status == 402:
        assert response.json()["error"]["code"] == "insufficient_quota"
        assert sandbox.records.paid == []


async def test_the_same_request_under_the_same_key_is_paid_once(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any
) -> None:
    """The repeat gets the same answer, and says that it is one."""
    first = await client.post(SUBMIT, json=order, headers=KEY)
    clock.advance(20)
    second = await client.post(SUBMIT, json=dict(reversed(order.items())), headers=KEY)

    assert second.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (len(sandbox.records.paid), sandbox.records.posts) == (1, 2)
    assert sandbox.remaining_credits == 974.5


async def test_another_request_under_the_same_key_is_a_conflict(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """A key belongs to one body."""
    await client.post(SUBMIT, json=order, headers=KEY)
    response = await client.post(SUBMIT, json=order | {"duration": 10}, headers=KEY)

    assert (response.status_code, response.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len(sandbox.records.paid) == 1


@pytest.mark.parametrize("key", ["short", "x" * 97, "with a space in it", "slash/slash/slash/slash"])
async def test_a_key_of_another_form_is_refused(
    client: httpx2.AsyncClient, order: dict[str, Any], key: str
) -> None:
    """16 to 96 letters, digits, dots, underscores and hyphens."""
    response = await client.post(SUBMIT, json=order, headers={"idempotency-key": key})

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_key_is_forgotten_after_a_day(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any
) -> None:
    """Then the same request is paid again."""
    await client.post(SUBMIT, json=order, headers=KEY)
    clock.advance(24 * 3600 - 1)
    await client.post(SUBMIT, json=order, headers=KEY)
    assert len(sandbox.records.paid) == 1

    clock.advance(1)
    await client.post(SUBMIT, json=order, headers=KEY)
    assert len(sandbox.records.paid) == 2


async def test_a_refused_request_leaves_its_key_free(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any]
) -> None:
    """After the account was topped up, the same key works."""
    sandbox = make_sandbox(credits=0.0)
    client = connect(sandbox)
    refused = await client.post(SUBMIT, json=order, headers=KEY)
    sandbox.credits = 100.0

    accepted = await client.post(SUBMIT, json=order, headers=KEY)

    assert (refused.status_code, accepted.status_code) == (402, 200)
    assert "idempotency-replayed" not in accepted.headers


async def test_the_header_can_be_ignored(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any]
) -> None:
    """Nobody promises that the gateway always honours it."""
    sandbox = make_sandbox(honours_idempotency_key=False)
    client = connect(sandbox)

    first = await client.post(SUBMIT, json=order, headers=KEY)
    second = await client.post(SUBMIT, json=order, headers=KEY)
    sandbox.honours_idempotency_key = True
    third, fourth = [await client.post(SUBMIT, json=order, headers=KEY) for _ in range(2)]

    assert first.json()["id"] != second.json()["id"]
    assert third.json() == fourth.json()
    assert len(sandbox.records.paid) == 3


async def test_a_repeat_while_the_picture_is_still_being_fetched_has_an_unknown_outcome(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], picture: Callable[..., bytes]
) -> None:
    """The first request with the key is open until it is answered."""
    asked, fetched = anyio.Event(), anyio.Event()

    async def fetch(url: str) -> bytes:
        asked.set()
        await fetched.wait()
        return picture()

    sandbox = make_sandbox(fetch=fetch)
    client = connect(sandbox)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.post(SUBMIT, json=order, headers=KEY))
            await asked.wait()
            repeat = await client.post(SUBMIT, json=order, headers=KEY)
            fetched.set()

    assert (repeat.status_code, repeat.json()["error"]["code"]) == (409, "paid_outcome_unknown")
    assert len(sandbox.records.paid) == 1


async def test_a_late_answer_keeps_its_key_taken_though_the_task_exists(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """It was paid, but nobody has been told."""
    sandbox.faults.add(Fault("submit", "slow", seconds=3600))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post(SUBMIT, json=order, headers=KEY))
        while not sandbox.records.paid:
            await checkpoint()

        repeat = await client.post(SUBMIT, json=order, headers=KEY)

        tasks.cancel_scope.cancel()
    assert (repeat.status_code, repeat.json()["error"]["code"]) == (409, "paid_outcome_unknown")


async def test_a_client_that_gave_up_finds_the_task_under_its_key(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """The late answer was never needed."""
    sandbox.faults.add(Fault("submit", "slow", seconds=3600))
    with anyio.move_on_after(0.1):
        await client.post(SUBMIT, json=order, headers=KEY)

    repeat = await client.post(SUBMIT, json=order, headers=KEY)

    assert [payment.task_id for payment in sandbox.records.paid] == [repeat.json()["id"]]
