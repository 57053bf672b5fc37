"""Callbacks: the end of a task is posted, and posted again while nobody receives it."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Fault, Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
HOOK = "https://hooks.example/done"

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


class Receiver:
    """Remembers what is posted to it, and answers the given statuses."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[tuple[str, dict[str, object]]] = []

    async def __call__(self, url: str, body: dict[str, object]) -> int:
        self.received.append((url, body))
        status = self.statuses.pop(0) if self.statuses else 204
        if status == 0:
            raise OSError("unreachable")
        return status


async def test_the_end_of_a_task_is_posted_in_the_shape_of_the_query(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """Once, and not before the end."""
    receiver = Receiver()
    sandbox = make_sandbox(send=receiver)
    client = connect(sandbox)
    task = (await client.post(SUBMIT, json=order | {"callback_url": HOOK})).json()
    await sandbox.callbacks.deliver()
    assert receiver.received == []
    clock.advance(10)

    await sandbox.callbacks.deliver()
    await sandbox.callbacks.deliver()

    body = (await client.get(f"/v1/tasks/{task['id']}")).json()
    assert receiver.received == [(HOOK, body)]


async def test_a_failure_is_posted_too(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """The body has the error."""
    receiver = Receiver()
    sandbox = make_sandbox(send=receiver, faults=[Fault("submit", "fail", code="service_error")])
    await connect(sandbox).post(SUBMIT, json=order | {"callback_url": HOOK})
    clock.advance(10)

    await sandbox.callbacks.deliver()

    [(_, body)] = receiver.received
    assert body["status"] == "failed"


async def test_a_callback_is_tried_again_after_1_2_and_4_seconds(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """Then it is given up, whatever the trouble was."""
    receiver = Receiver(500, 0, 302, 404)
    sandbox = make_sandbox(send=receiver)
    await connect(sandbox).post(SUBMIT, json=order | {"callback_url": HOOK})
    clock.advance(10)

    attempts = []
    for _ in range(12):
        await sandbox.callbacks.deliver()
        attempts.append(len(receiver.received))
        clock.advance(1)

    assert attempts == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]
