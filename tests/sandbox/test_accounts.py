"""Several accounts at one gateway."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.sandbox.conftest import Connect
from wan_mcp.sandbox import Account, Sandbox

pytestmark = pytest.mark.anyio

Make = Callable[..., Sandbox]
FIFTY = [f"caller-{number}" for number in range(50)]


def using(key: str, idempotency_key: str | None = None) -> dict[str, str]:
    once = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    return {"authorization": f"Bearer {key}"} | once


async def submit(
    client: httpx2.AsyncClient, order: dict[str, Any], key: str, idempotency_key: str | None = None
) -> str:
    answer = await client.post("/v1/videos/generations", json=order, headers=using(key, idempotency_key))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def listed(client: httpx2.AsyncClient, key: str) -> list[str]:
    answer = await client.get("/v1/tasks", headers=using(key))
    return [task["id"] for task in answer.json()["data"]]


async def left(client: httpx2.AsyncClient, key: str) -> float:
    answer = await client.get("/v1/credits", headers=using(key))
    return float(answer.json()["data"]["user"]["remaining_credits"])


async def test_an_account_has_its_own_tasks_list_and_credits(
    make_sandbox: Make, connect: Connect, order: dict[str, Any]
) -> None:
    """What one pays takes nothing from another one, and is in its own list alone."""
    sandbox = make_sandbox(accounts=[Account("two", "sk-two", credits=100.0)])
    client = connect(sandbox)
    first, second = [await submit(client, order, key) for key in ("sk-sandbox", "sk-two")]
    assert await listed(client, "sk-sandbox") == [first]
    assert await listed(client, "sk-two") == [second]
    assert (await left(client, "sk-sandbox"), await left(client, "sk-two")) == (974.5, 74.5)


async def test_a_task_of_another_account_is_unknown(
    make_sandbox: Make, connect: Connect, order: dict[str, Any]
) -> None:
    """The answer is that for an id that nobody has; the result is open to everybody, as documented."""
    sandbox = make_sandbox(accounts=[Account("two", "sk-two")], seconds=0.0)
    client = connect(sandbox)
    task_id, unknown = await submit(client, order, "sk-sandbox"), "task-unified-1-abcd0123"
    refused, missing = [
        await client.get(f"/v1/tasks/{one}", headers=using("sk-two")) for one in (task_id, unknown)
    ]
    assert refused.status_code == missing.status_code == 404
    assert refused.text.replace(task_id, unknown) == missing.text
    assert (await client.get(f"/results/{task_id}.mp4")).status_code == 200


async def test_an_account_with_too_few_credits_refuses_alone(
    make_sandbox: Make, connect: Connect, order: dict[str, Any]
) -> None:
    """The others go on."""
    sandbox = make_sandbox(accounts=[Account("poor", "sk-poor", credits=1.0)])
    client = connect(sandbox)
    refused = await client.post("/v1/videos/generations", json=order, headers=using("sk-poor"))
    assert refused.status_code == 402
    await submit(client, order, "sk-sandbox")


@pytest.mark.parametrize("deduplicates", [False, True])
async def test_an_idempotency_key_means_nothing_to_another_account(
    make_sandbox: Make, connect: Connect, order: dict[str, Any], deduplicates: bool
) -> None:
    """Nor does an equal body, where the gateway recognises those."""
    sandbox = make_sandbox(accounts=[Account("two", "sk-two")], deduplicates=deduplicates)
    client = connect(sandbox)
    once = "once-0123456789abcdef"
    ids = [await submit(client, order, key, once) for key in ("sk-sandbox", "sk-two", "sk-two")]
    assert ids[1] == ids[2] != ids[0]
    assert [payment.task_id for payment in sandbox.records.paid] == ids[:2]


async def test_fifty_callers_can_be_told_apart(
    make_sandbox: Make, connect: Connect, order: dict[str, Any]
) -> None:
    """Each call and payment says whose key it came with, and never the key."""
    sandbox = make_sandbox(accounts=[Account(name, f"sk-secret-{name}") for name in FIFTY])
    client = connect(sandbox)
    for name in FIFTY:
        await submit(client, order | {"prompt": f"For {name}."}, f"sk-secret-{name}")
    assert [(payment.prompt, payment.sent_by) for payment in sandbox.records.paid] == [
        (f"For {name}.", f"{name}/1") for name in FIFTY
    ]
    assert [call.sent_by for call in sandbox.records.calls] == [f"{name}/1" for name in FIFTY]
    assert "sk-secret" not in (await client.get("/sandbox/records")).text


async def test_the_keys_of_an_account_are_numbered(make_sandbox: Make, connect: Connect) -> None:
    """A wrong key, and none, are nobody's."""
    sandbox = make_sandbox(other_keys=("sk-other",), accounts=[Account("two", "sk-two")])
    client = connect(sandbox)
    for key in ("sk-sandbox", "sk-other", "sk-two", "sk-wrong"):
        await client.get("/v1/credits", headers=using(key))
    assert [(call.sent_by, call.authorized) for call in sandbox.records.calls] == [
        ("main/1", True),
        ("main/2", True),
        ("two/1", True),
        (None, False),
    ]
