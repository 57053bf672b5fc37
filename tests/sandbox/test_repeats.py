"""Repeats as other gateways might treat them: silently, per API key, or by the body alone."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint

from wan_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
UPLOAD = "/api/v1/files/upload/stream"
KEY = {"idempotency-key": "request-0123456789abcdef"}
TWO = {"authorization": "Bearer sk-two"}

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


async def test_a_replay_can_be_silent(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], picture: Callable[..., bytes]
) -> None:
    """Of a submission and of an upload: the answer is the same, but nothing says that it is old."""
    sandbox = make_sandbox(says_replayed=False)
    client = connect(sandbox)

    tasks = [await client.post(SUBMIT, json=order, headers=KEY) for _ in range(2)]
    files = {"file": ("cat.png", picture("PNG"))}
    uploads = [await client.post(UPLOAD, files=files, headers=KEY) for _ in range(2)]

    assert tasks[0].json() == tasks[1].json()
    assert uploads[0].json() == uploads[1].json()
    assert not any("idempotency-replayed" in response.headers for response in tasks + uploads)
    assert len(sandbox.records.paid) == 1


async def test_api_keys_of_one_account_share_its_list_and_its_balance(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any]
) -> None:
    """And each of them may be used from the moment on at which the sandbox knows it."""
    sandbox = make_sandbox(other_keys=("sk-two",))
    client = connect(sandbox)
    task_id = (await client.post(SUBMIT, json=order, headers=TWO)).json()["id"]
    three = {"authorization": "Bearer sk-three"}
    refused = (await client.get("/v1/credits", headers=three)).status_code
    sandbox.other_keys += ("sk-three",)

    for key in ({}, TWO, three):
        [line] = (await client.get("/v1/tasks", headers=key)).json()["data"]
        data = (await client.get("/v1/credits", headers=key)).json()["data"]
        assert line["id"] == task_id
        assert [part["remaining_credits"] for part in data.values()] == [974.5, 974.5]
    assert refused == 401
    assert "sk-t" not in str(sandbox.records)


async def test_an_idempotency_key_belongs_to_one_api_key(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], picture: Callable[..., bytes]
) -> None:
    """Under another API key it is another request, of any content; so it is with uploads."""
    sandbox = make_sandbox(other_keys=("sk-two",))
    client = connect(sandbox)
    files = {"file": ("cat.png", picture("PNG"))}

    first = await client.post(SUBMIT, json=order, headers=KEY)
    second = await client.post(SUBMIT, json=order | {"duration": 10}, headers=KEY | TWO)
    again = await client.post(SUBMIT, json=order, headers=KEY)
    uploads = [await client.post(UPLOAD, files=files, headers=headers) for headers in (KEY, KEY | TWO)]

    assert [payment.task_id for payment in sandbox.records.paid] == [first.json()["id"], second.json()["id"]]
    assert again.json() == first.json()
    assert len({upload.json()["data"]["file_id"] for upload in uploads}) == 2


@pytest.mark.parametrize("honoured", [True, False])
async def test_equal_requests_can_be_taken_for_one(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], honoured: bool
) -> None:
    """Whatever their keys are, and without a word; a single other field makes another request."""
    sandbox = make_sandbox(deduplicates=True, honours_idempotency_key=honoured)
    client = connect(sandbox)
    keys = [KEY, KEY, {"idempotency-key": "request-fedcba9876543210"}, {}]

    equal = [await client.post(SUBMIT, json=order, headers=key) for key in keys]
    other = await client.post(SUBMIT, json=order | {"seed": 7})

    assert [response.json() for response in equal] == [equal[0].json()] * 4
    assert not any("idempotency-replayed" in response.headers for response in equal)
    assert [payment.task_id for payment in sandbox.records.paid] == [
        equal[0].json()["id"],
        other.json()["id"],
    ]
    assert sandbox.remaining_credits == 1000.0 - 2 * 25.5


async def test_an_equal_request_is_another_one_after_more_than_a_day(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """The option can be turned off at any time as well."""
    sandbox = make_sandbox(deduplicates=True)
    client = connect(sandbox)
    tasks = []
    for seconds in (0, 24 * 3600, 1):
        clock.advance(seconds)
        tasks.append((await client.post(SUBMIT, json=order)).json()["id"])
    sandbox.deduplicates = False
    tasks.append((await client.post(SUBMIT, json=order)).json()["id"])

    assert tasks[0] == tasks[1]
    assert [payment.task_id for payment in sandbox.records.paid] == tasks[1:]


async def test_equal_requests_at_one_time_are_taken_for_one(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], picture: Callable[..., bytes]
) -> None:
    """Though both wait for the picture."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        while len(asked) < 2:
            await checkpoint()
        return picture()

    sandbox = make_sandbox(deduplicates=True, fetch=fetch)
    client = connect(sandbox)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: client.post(SUBMIT, json=order))

    assert (sandbox.records.posts, len(sandbox.records.paid)) == (2, 1)
