"""Requests that are carried out late: after an error, or after a client may have given up."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest

from wan_mcp.sandbox import Fault, Sandbox
from wan_mcp.sandbox.faults import KINDS

SUBMIT = "/v1/videos/generations"
NOON = 1_800_000_000.0
KEY = {"idempotency-key": "request-0123456789abcdef"}

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


@pytest.mark.anyio
class TestLate:
    """An error at once, and a task after all."""

    @pytest.mark.parametrize(
        ("details", "status"), [({}, 503), ({"status": 504}, 504), ({"status": 400}, 400)]
    )
    async def test_the_error_comes_at_once(
        self,
        client: httpx2.AsyncClient,
        order: dict[str, Any],
        sandbox: Sandbox,
        details: dict[str, Any],
        status: int,
    ) -> None:
        """The payment is recorded with the time at which it will be made."""
        sandbox.faults.add(Fault("submit", "late", seconds=9.0, **details))
        started = anyio.current_time()

        response = await client.post(SUBMIT, json=order)

        [payment] = sandbox.records.paid
        assert (response.status_code, anyio.current_time()) == (status, started)
        assert payment.time == NOON + 9
        assert payment.task_id.startswith("task-unified-1800000009-")

    async def test_the_connection_can_break_instead(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """Without an answer; the usual delay is 4 seconds."""
        sandbox.faults.add(Fault("submit", "late", status=0))

        with pytest.raises(httpx2.ReadError):
            await client.post(SUBMIT, json=order)

        assert [payment.time for payment in sandbox.records.paid] == [NOON + 4]

    async def test_the_task_is_not_there_before_its_time(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any
    ) -> None:
        """Neither to be read, nor in the list, nor in the balance; then it is a task as any other."""
        sandbox.faults.add(Fault("submit", "late"))
        await client.post(SUBMIT, json=order)
        path = f"/v1/tasks/{sandbox.records.paid[0].task_id}"

        clock.advance(3.9)
        before = await client.get(path), await client.get("/v1/tasks")
        credits = sandbox.remaining_credits
        clock.advance(0.1)
        after = await client.get(path), await client.get("/v1/tasks")
        clock.advance(9.9)
        almost = await client.get(path)
        clock.advance(0.1)
        finished = await client.get(path)

        assert (before[0].status_code, before[1].json()["data"], credits) == (404, [], 1000.0)
        assert (after[0].json()["status"], after[0].json()["created"]) == ("pending", NOON + 4)
        assert [line["created_at"] for line in after[1].json()["data"]] == [NOON + 4]
        assert sandbox.remaining_credits == 974.5
        assert (almost.json()["status"], finished.json()["status"]) == ("processing", "completed")

    async def test_the_list_may_be_later_still(
        self, connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
    ) -> None:
        """Its delay counts from the task's creation."""
        sandbox = make_sandbox(list_delay=2.0, faults=[Fault("submit", "late")])
        client = connect(sandbox)
        await client.post(SUBMIT, json=order)
        totals = []
        for seconds in (4, 1.5, 0.5):
            clock.advance(seconds)
            totals.append((await client.get("/v1/tasks")).json()["total"])

        assert totals == [0, 0, 1]

    async def test_a_repeat_under_its_key_has_an_unknown_outcome_until_then(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any
    ) -> None:
        """From then on it is a replay."""
        sandbox.faults.add(Fault("submit", "late"))
        await client.post(SUBMIT, json=order, headers=KEY)
        clock.advance(3.9)
        early = await client.post(SUBMIT, json=order, headers=KEY)
        clock.advance(0.1)
        replay = await client.post(SUBMIT, json=order, headers=KEY)

        assert (early.status_code, early.json()["error"]["code"]) == (409, "paid_outcome_unknown")
        assert replay.headers["idempotency-replayed"] == "true"
        assert [payment.task_id for payment in sandbox.records.paid] == [replay.json()["id"]]

    async def test_a_repeat_without_a_key_is_paid_twice(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, clock: Any
    ) -> None:
        """The repeat is the older task of the two."""
        sandbox.faults.add(Fault("submit", "late"))
        await client.post(SUBMIT, json=order)
        repeat = await client.post(SUBMIT, json=order)
        clock.advance(4)
        late, second = [payment.task_id for payment in sandbox.records.paid]

        lines = (await client.get("/v1/tasks")).json()["data"]

        assert second == repeat.json()["id"]
        assert [line["id"] for line in lines] == [late, second]

    async def test_an_equal_request_can_be_taken_for_the_late_one(
        self, connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
    ) -> None:
        """Before that one's task is there, so that only one is paid."""
        sandbox = make_sandbox(deduplicates=True, faults=[Fault("submit", "late")])
        client = connect(sandbox)
        await client.post(SUBMIT, json=order)
        repeat = await client.post(SUBMIT, json=order)
        early = await client.get(f"/v1/tasks/{repeat.json()['id']}")
        clock.advance(4)

        assert (repeat.status_code, early.status_code) == (200, 404)
        assert (await client.get(f"/v1/tasks/{repeat.json()['id']}")).status_code == 200
        assert [payment.task_id for payment in sandbox.records.paid] == [repeat.json()["id"]]

    async def test_a_request_that_is_refused_is_never_carried_out(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """The caller is told the same error."""
        sandbox.faults.add(Fault("submit", "late"))

        response = await client.post(SUBMIT, json=order | {"duration": 7}, headers=KEY)
        repeat = await client.post(SUBMIT, json=order, headers=KEY)

        assert (response.status_code, repeat.status_code) == (503, 200)
        assert len(sandbox.records.paid) == 1


@pytest.mark.anyio
class TestHesitate:
    """Nothing happens for a while."""

    async def test_the_request_is_carried_out_and_answered_after_the_delay(
        self, client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
    ) -> None:
        """Until then nothing is paid, and the idempotency key is free."""
        sandbox.faults.add(Fault("submit", "hesitate", seconds=5.0))
        responses: list[httpx2.Response] = []

        async def submit() -> None:
            responses.append(await client.post(SUBMIT, json=order, headers=KEY))

        started = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            await anyio.sleep(4.9)
            before = (sandbox.records.posts, len(sandbox.records.paid))
        repeat = await client.post(SUBMIT, json=order, headers=KEY)

        assert (before, anyio.current_time() - started) == ((1, 0), 5.0)
        assert responses[0].json() == repeat.json()
        assert "idempotency-replayed" not in responses[0].headers
        assert len(sandbox.records.paid) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("submit:late", Fault("submit", "late")),
        ("submit:late=9,status=0*2", Fault("submit", "late", times=2, seconds=9.0, status=0)),
        ("submit:hesitate=2.5", Fault("submit", "hesitate", seconds=2.5)),
    ],
)
def test_a_text_is_read_as_a_fault(text: str, fault: Fault) -> None:
    """The seconds are the first detail."""
    assert Fault.parse(text) == fault


@pytest.mark.parametrize("kind", ["late", "hesitate"])
def test_only_submissions_can_be_late(kind: str) -> None:
    """And they are carried out in any case; both kinds have a sentence in the list."""
    with pytest.raises(ValueError, match=f"The kind '{kind}' is for submit only"):
        Fault("task", kind)
    with pytest.raises(ValueError, match=f"The kind '{kind}' is always carried out"):
        Fault("submit", kind, carried_out=False)
    assert KINDS[kind]
