"""Times as the sandbox writes them: in the Date header, in the account's list and in tasks."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Fault, Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/credits", 200),
        ("GET", "/v1/tasks/mine", 400),
        ("POST", SUBMIT, 503),
        ("GET", "/results/task-unified-1-abcdefgh.mp4", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/sandbox/records", 200),
    ],
)
async def test_every_answer_has_the_date_of_the_sandbox(
    client: httpx2.AsyncClient, sandbox: Sandbox, clock: Any, method: str, path: str, status: int
) -> None:
    """In whole seconds, errors and scripted faults included."""
    sandbox.faults.add(Fault("submit", "status", status=503))
    clock.advance(1.9)

    response = await client.request(method, path)

    assert (response.status_code, response.headers["date"]) == (status, "Fri, 15 Jan 2027 08:00:01 GMT")


@pytest.mark.parametrize(
    ("offset", "date"),
    [
        (130, "Fri, 15 Jan 2027 08:02:10 GMT"),
        (-0.5, "Fri, 15 Jan 2027 07:59:59 GMT"),
        (None, None),
    ],
)
async def test_the_date_can_differ_from_the_clock_or_be_missing(
    connect: Connect, make_sandbox: MakeSandbox, offset: float | None, date: str | None
) -> None:
    """From the beginning, or from any moment on."""
    sandbox = make_sandbox(date_offset=offset)
    client = connect(sandbox)

    first = await client.get("/v1/credits")
    sandbox.date_offset = 0.0
    second = await client.get("/v1/credits")

    assert first.headers.get("date") == date
    assert second.headers["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


@pytest.mark.parametrize(
    ("dates", "listed", "created"),
    [
        ("seconds", 1_800_000_001, 1_800_000_001),
        ("milliseconds", 1_800_000_001_250, 1_800_000_001_250),
        ("iso", "2027-01-15T08:00:01Z", 1_800_000_001),
        ("local", "2027-01-15T16:00:01", 1_800_000_001),
    ],
)
async def test_the_list_writes_the_time_of_creation_in_one_of_four_forms(
    connect: Connect,
    make_sandbox: MakeSandbox,
    order: dict[str, Any],
    clock: Any,
    dates: Any,
    listed: object,
    created: int,
) -> None:
    """A task itself has Unix seconds, or milliseconds where the list has them."""
    sandbox = make_sandbox(dates=dates)
    client = connect(sandbox)
    clock.advance(1.25)
    answer = (await client.post(SUBMIT, json=order)).json()

    task = (await client.get(f"/v1/tasks/{answer['id']}")).json()
    [line] = (await client.get("/v1/tasks")).json()["data"]
    sandbox.dates = "seconds"
    [later] = (await client.get("/v1/tasks")).json()["data"]

    assert (line["created_at"], task["created"], answer["created"]) == (listed, created, created)
    assert later["created_at"] == 1_800_000_001
