"""Tasks move with the clock, and their pictures decide how they end."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Fault, Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
DAY = 24 * 3600

Submit = Callable[..., Any]


@pytest.fixture
def submit(client: httpx2.AsyncClient, order: dict[str, Any]) -> Submit:
    async def send(**changes: Any) -> str:
        response = await client.post(SUBMIT, json=order | changes)
        task_id: str = response.json()["id"]
        return task_id

    return send


@pytest.mark.parametrize(
    ("seconds", "status", "progress"),
    [
        (0.0, "pending", 0),
        (0.9, "pending", 0),
        (1.0, "processing", 10),
        (5.0, "processing", 50),
        (9.99, "processing", 99),
        (10.0, "completed", 100),
        (6 * DAY, "completed", 100),
    ],
)
async def test_progress_moves_with_the_clock(
    client: httpx2.AsyncClient, submit: Submit, clock: Any, seconds: float, status: str, progress: int
) -> None:
    """A task is pending, then processing, then completed."""
    task_id = await submit()
    clock.advance(seconds)

    task = (await client.get(f"/v1/tasks/{task_id}")).json()

    assert (task["status"], task["progress"]) == (status, progress)
    assert ("results" in task) == (status == "completed")


async def test_a_completed_task_has_a_link_and_the_final_charge(
    client: httpx2.AsyncClient, submit: Submit, clock: Any
) -> None:
    """The link leads to the host that was asked."""
    task_id = await submit(duration=10)
    clock.advance(10)

    task = (await client.get(f"/v1/tasks/{task_id}")).json()

    assert task == {
        "created": 1_800_000_000,
        "id": task_id,
        "model": "wan2.5-image-to-video",
        "object": "video.generation.task",
        "progress": 100,
        "results": [f"http://sandbox.test/results/{task_id}.mp4"],
        "status": "completed",
        "task_info": {"can_cancel": False, "estimated_time": 10},
        "type": "video",
        "usage": {
            "billing_rule": "per_call",
            "credits_reserved": 51.0,
            "credits_used": 51.0,
            "user_group": "default",
        },
    }


@pytest.mark.parametrize(
    ("picture_of", "code"),
    [
        ({"size": (359, 480)}, "image_dimension_mismatch"),
        ({"size": (480, 2001)}, "image_dimension_mismatch"),
        ({"form": "PNG", "mode": "RGBA"}, "image_processing_error"),
        ({"form": "GIF"}, "image_processing_error"),
        ({"form": "TIFF"}, "image_processing_error"),
    ],
)
async def test_a_picture_that_breaks_a_rule_makes_the_task_fail_later(
    client: httpx2.AsyncClient,
    submit: Submit,
    clock: Any,
    web: dict[str, bytes],
    picture: Callable[..., bytes],
    picture_of: dict[str, Any],
    code: str,
) -> None:
    """The submission is accepted; the credits come back at the end."""
    web["https://pictures.example/bad"] = picture(**picture_of)
    task_id = await submit(image_urls=["https://pictures.example/bad"])
    assert (await client.get(f"/v1/tasks/{task_id}")).json()["status"] == "pending"
    clock.advance(10)

    task = (await client.get(f"/v1/tasks/{task_id}")).json()
    user = (await client.get("/v1/credits")).json()["data"]["user"]

    assert (task["status"], task["error"]["code"], task["error"]["type"]) == ("failed", code, "task_error")
    assert task["usage"]["credits_used"] == 0
    assert user == {"remaining_credits": 1000.0, "used_credits": 0.0}


@pytest.mark.parametrize(
    "picture_of",
    [
        {"size": (360, 360)},
        {"size": (2000, 2000)},
        {"form": "PNG"},
        {"form": "BMP"},
        {"form": "WEBP"},
        {"form": "WEBP", "mode": "RGBA"},
    ],
)
async def test_a_picture_within_the_rules_is_used(
    client: httpx2.AsyncClient,
    submit: Submit,
    clock: Any,
    web: dict[str, bytes],
    picture: Callable[..., bytes],
    picture_of: dict[str, Any],
) -> None:
    """The limits are inclusive; only a PNG must not be transparent."""
    web["https://pictures.example/good"] = picture(**picture_of)
    task_id = await submit(image_urls=["https://pictures.example/good"])
    clock.advance(10)

    assert (await client.get(f"/v1/tasks/{task_id}")).json()["status"] == "completed"


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xd8\xff broken", bytes(10 * 1024 * 1024 + 1)])
async def test_bytes_that_are_no_picture_make_the_task_fail(
    client: httpx2.AsyncClient, submit: Submit, clock: Any, web: dict[str, bytes], content: bytes
) -> None:
    """So does a picture of more than 10 MB."""
    web["https://pictures.example/bad"] = content
    task_id = await submit(image_urls=["https://pictures.example/bad"])
    clock.advance(10)

    task = (await client.get(f"/v1/tasks/{task_id}")).json()

    assert task["error"]["code"] == "image_processing_error"


async def test_a_picture_that_cannot_be_fetched_makes_the_task_fail(
    client: httpx2.AsyncClient, submit: Submit, clock: Any
) -> None:
    """The message is the one that is known from the API."""
    task_id = await submit(image_urls=["https://pictures.example/missing"])
    clock.advance(10)

    error = (await client.get(f"/v1/tasks/{task_id}")).json()["error"]

    assert error["code"] == "image_processing_error"
    assert "input media URL could not be fetched" in error["message"]


@pytest.mark.parametrize(
    ("task_id", "status", "code"),
    [
        ("video-1", 400, "invalid_task_id"),
        ("batch", 400, "invalid_task_id"),
        ("task-unified-1-abcdefgh", 404, "task_not_found"),
    ],
)
async def test_an_id_that_leads_nowhere_is_refused(
    client: httpx2.AsyncClient, task_id: str, status: int, code: str
) -> None:
    """A wrong prefix is a 400, an unknown task a 404."""
    response = await client.get(f"/v1/tasks/{task_id}")

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_task_is_forgotten_after_a_week(
    client: httpx2.AsyncClient, submit: Submit, clock: Any
) -> None:
    """The record expires, and the account's list forgets it too."""
    task_id = await submit()
    clock.advance(7 * DAY)

    assert (await client.get(f"/v1/tasks/{task_id}")).status_code == 404
    assert (await client.get("/v1/tasks")).json()["total"] == 0


async def test_the_list_shows_the_newest_first_a_page_at_a_time(
    client: httpx2.AsyncClient, submit: Submit, clock: Any
) -> None:
    """The lines have neither prompts nor links."""
    ids = []
    for _ in range(3):
        ids.append(await submit())
        clock.advance(4)

    first = (await client.get("/v1/tasks?page=1&page_size=2")).json()
    second = (await client.get("/v1/tasks?page=2&page_size=2")).json()

    assert [line["id"] for line in first["data"]] == [ids[2], ids[1]]
    assert second == {
        "data": [
            {
                "id": ids[0],
                "model": "wan2.5-image-to-video",
                "type": "video",
                "status": "completed",
                "progress": 100,
                "created_at": 1_800_000_000,
            }
        ],
        "total": 3,
        "page": 2,
        "page_size": 2,
    }


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("status=processing", 2),
        ("status=completed", 1),
        ("status=failed", 0),
        ("status=cancelled", 0),
        ("model=wan2.5-image-to-video", 3),
        ("model=another", 0),
    ],
)
async def test_the_list_can_be_narrowed(
    client: httpx2.AsyncClient, submit: Submit, clock: Any, query: str, total: int
) -> None:
    """A pending task counts as processing: the filter has no word of its own for it."""
    for _ in range(3):
        await submit()
        clock.advance(5)
    clock.advance(-4.5)

    assert (await client.get(f"/v1/tasks?{query}")).json()["total"] == total


@pytest.mark.parametrize(
    ("query", "param"),
    [("page_size=51", "page_size"), ("page=0", "page"), ("page=x", "page"), ("status=pending", "status")],
)
async def test_a_list_query_outside_the_rules_is_refused(
    client: httpx2.AsyncClient, query: str, param: str
) -> None:
    """At most 50 lines a page."""
    response = await client.get(f"/v1/tasks?{query}")

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_the_list_can_be_missing(
    connect: Callable[[Sandbox], httpx2.AsyncClient], make_sandbox: Callable[..., Sandbox]
) -> None:
    """It is not documented, so a client must do without it."""
    client = connect(make_sandbox(offers_list=False))

    assert (await client.get("/v1/tasks")).status_code == 404


async def test_a_task_can_be_made_to_fail(
    client: httpx2.AsyncClient, submit: Submit, clock: Any, sandbox: Sandbox
) -> None:
    """A scripted failure takes the task's whole time; it was paid, and is given back."""
    sandbox.faults.add(Fault("submit", "fail", code="content_policy_violation"))
    task_id = await submit()
    assert sandbox.remaining_credits == 974.5
    clock.advance(10)

    task = (await client.get(f"/v1/tasks/{task_id}")).json()

    assert task["error"] == {
        "code": "content_policy_violation",
        "message": "The generation failed: content_policy_violation.",
        "type": "task_error",
    }
    assert sandbox.remaining_credits == 1000.0
    assert len(sandbox.records.paid) == 1


async def test_a_task_can_be_failed_when_it_is_created(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """The submission is answered with a failed task."""
    sandbox.faults.add(Fault("submit", "fail", code="resource_exhausted", message="Full.", at_once=True))

    task = (await client.post(SUBMIT, json=order)).json()

    error = {"code": "resource_exhausted", "message": "Full.", "type": "task_error"}
    assert (task["status"], task["error"]) == ("failed", error)
    assert sandbox.remaining_credits == 1000.0
