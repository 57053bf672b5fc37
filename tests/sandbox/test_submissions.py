"""What a generation request may say, and what it is answered."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"


async def test_a_submission_is_answered_with_a_pending_task(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """The answer has the documented shape, and the records have the payment."""
    response = await client.post(SUBMIT, json=order)

    [payment] = sandbox.records.paid
    assert response.status_code == 200
    assert response.headers["x-request-id"]
    assert response.json() == {
        "created": 1_800_000_000,
        "id": payment.task_id,
        "model": "wan2.5-image-to-video",
        "object": "video.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 10},
        "type": "video",
        "usage": {"billing_rule": "per_call", "credits_reserved": 25.5, "user_group": "default"},
    }
    assert (payment.prompt, payment.credits, payment.time) == ("The cat yawns", 25.5, 1_800_000_000.0)


async def test_a_task_id_has_the_time_and_eight_random_characters(
    client: httpx2.AsyncClient, order: dict[str, Any]
) -> None:
    """Ids look like the documented ones."""
    task_id = (await client.post(SUBMIT, json=order)).json()["id"]

    prefix, _, suffix = task_id.rpartition("-")
    assert prefix == "task-unified-1800000000"
    assert len(suffix) == 8
    assert suffix.isalnum()
    assert suffix == suffix.lower()


@pytest.mark.parametrize(
    ("changes", "credits"),
    [
        ({}, 25.5),
        ({"duration": 5}, 25.5),
        ({"duration": 10}, 51.0),
        ({"quality": "480p"}, 12.75),
        ({"quality": "720p"}, 25.5),
        ({"quality": "1080p"}, 42.585),
        ({"duration": 10, "quality": "1080p"}, 85.17),
    ],
)
async def test_the_price_follows_duration_and_quality(
    client: httpx2.AsyncClient, order: dict[str, Any], changes: dict[str, Any], credits: float
) -> None:
    """5.1 credits a second at 720p, half at 480p, 1.67 times as much at 1080p."""
    response = await client.post(SUBMIT, json=order | changes)

    assert response.json()["usage"]["credits_reserved"] == credits


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "x" * 1000},
        {"prompt_extend": False},
        {"callback_url": "https://hooks.example/done"},
        {"callback_url": "https://8.8.8.8/done"},
        {"seed": 7, "aspect_ratio": "16:9"},
    ],
)
async def test_what_the_rules_allow_is_accepted(
    client: httpx2.AsyncClient, order: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Limits are inclusive, and unknown fields are ignored."""
    assert (await client.post(SUBMIT, json=order | changes)).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "wan2.5"),
        ("model", None),
        ("prompt", ""),
        ("prompt", "  "),
        ("prompt", None),
        ("prompt", "x" * 1001),
        ("prompt", ["a cat"]),
        ("image_urls", []),
        ("image_urls", "https://pictures.example/cat.jpg"),
        ("image_urls", ["https://a.example/1.png", "https://a.example/2.png"]),
        ("image_urls", ["ftp://a.example/1.png"]),
        ("image_urls", ["data:image/png;base64,AAAA"]),
        ("image_urls", ["cat.png"]),
        ("image_urls", ["http://[half"]),
        ("image_urls", [None]),
        ("duration", 7),
        ("duration", True),
        ("duration", 5.0),
        ("duration", "5"),
        ("duration", None),
        ("quality", "4k"),
        ("quality", None),
        ("quality", 720),
        ("prompt_extend", 1),
        ("callback_url", "http://hooks.example/"),
        ("callback_url", "https://localhost/"),
        ("callback_url", "https://printer.local/"),
        ("callback_url", "https://127.0.0.1/"),
        ("callback_url", "https://10.1.2.3/"),
        ("callback_url", "https://172.16.0.1/"),
        ("callback_url", "https://192.168.0.1/"),
        ("callback_url", "https://169.254.169.254/"),
        ("callback_url", "https://[::1]/"),
        ("callback_url", "https://hooks.example/" + "x" * 2048),
        ("callback_url", None),
    ],
)
async def test_what_breaks_a_rule_is_refused_with_the_name_of_the_field(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox, field: str, value: object
) -> None:
    """A 400 in the newer error body; nothing is paid."""
    response = await client.post(SUBMIT, json=order | {field: value})

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", field)
    assert sandbox.records.paid == []


@pytest.mark.parametrize("field", ["model", "prompt", "image_urls"])
async def test_a_missing_field_is_refused(
    client: httpx2.AsyncClient, order: dict[str, Any], field: str
) -> None:
    """Three fields are required."""
    del order[field]

    response = await client.post(SUBMIT, json=order)

    assert response.json()["error"]["param"] == field


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"null"])
async def test_a_body_that_is_no_json_object_is_refused(client: httpx2.AsyncClient, content: bytes) -> None:
    """Broken JSON and JSON of another kind are both a 400."""
    response = await client.post(SUBMIT, content=content)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("authorization", [None, "Bearer sk-wrong", "sk-sandbox"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SUBMIT),
        ("GET", "/v1/tasks"),
        ("GET", "/v1/tasks/task-unified-1-abcdefgh"),
        ("GET", "/v1/credits"),
        ("POST", "/api/v1/files/upload/stream"),
    ],
)
async def test_every_endpoint_wants_the_key(
    client: httpx2.AsyncClient, authorization: str | None, method: str, path: str
) -> None:
    """Without the right bearer token the answer is a 401."""
    del client.headers["authorization"]
    headers = {} if authorization is None else {"authorization": authorization}

    response = await client.request(method, path, headers=headers)

    assert response.status_code == 401
    assert response.json() == {
        "error": {
            "code": "unauthorized",
            "message": "The API key is missing or wrong.",
            "type": "authentication_error",
        }
    }


async def test_the_older_errors_have_the_status_as_their_code(
    connect: Callable[[Sandbox], httpx2.AsyncClient], make_sandbox: Callable[..., Sandbox]
) -> None:
    """A sandbox can speak the older generation."""
    client = connect(make_sandbox(older_errors=True))

    response = await client.get("/v1/tasks/mine")

    assert response.json() == {
        "error": {
            "code": 400,
            "message": "A task id begins with task-unified-.",
            "type": "invalid_request_error",
            "param": "task_id",
        }
    }


async def test_the_books_have_every_call_but_never_the_key(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """A call is recorded with its place, its answer and whether the key was right."""
    await client.post(SUBMIT, json=order, headers={"idempotency-key": "0123456789abcdef"})
    await client.get("/nowhere", headers={"authorization": "Bearer sk-wrong"})

    first, second = sandbox.records.calls
    assert (first.at, first.method, first.path, first.status) == ("submit", "POST", SUBMIT, 200)
    assert (first.authorized, first.idempotency_key, first.body) == (True, "0123456789abcdef", order)
    assert (second.at, second.path, second.status, second.authorized) == ("", "/nowhere", 404, False)
    assert "sk-sandbox" not in str(sandbox.records)
    assert "sk-wrong" not in str(sandbox.records)


async def test_the_books_can_be_read_over_http(
    client: httpx2.AsyncClient, order: dict[str, Any], sandbox: Sandbox
) -> None:
    """Reading them leaves no trace in them."""
    task_id = (await client.post(SUBMIT, json=order)).json()["id"]
    await client.get(f"/v1/tasks/{task_id}")

    records = (await client.get("/sandbox/records")).json()

    assert (records["posts"], records["reads"], records["uploads"]) == (1, 1, 0)
    assert records == sandbox.records.as_json()
    assert records["paid"] == [
        {
            "task_id": task_id,
            "idempotency_key": None,
            "prompt": "The cat yawns",
            "credits": 25.5,
            "time": 1_800_000_000.0,
            "sent_by": "main/1",
        }
    ]


async def test_a_video_from_text_is_a_task_like_any_other(
    client: httpx2.AsyncClient, text_order: dict[str, Any], sandbox: Sandbox
) -> None:
    """No picture is fetched; the answer names the model, and the price is the same."""
    response = await client.post(SUBMIT, json=text_order | {"quality": "480p", "image_urls": ["ignored"]})

    answer = response.json()
    assert (response.status_code, answer["model"]) == (200, "wan2.5-text-to-video")
    assert answer["usage"]["credits_reserved"] == 12.75
    assert [payment.task_id for payment in sandbox.records.paid] == [answer["id"]]


@pytest.mark.parametrize("quality", ["480p", "720p", "1080p", None])
@pytest.mark.parametrize("ratio", ["16:9", "9:16", "1:1", "4:3", "3:4", "16/9", "21:9", None, 1, ["16:9"]])
async def test_the_shape_of_a_video_from_text(
    client: httpx2.AsyncClient, text_order: dict[str, Any], ratio: object, quality: str | None
) -> None:
    """Three shapes at 480p, five at the other qualities; 720p where none is given."""
    given = {"aspect_ratio": ratio} | ({} if quality is None else {"quality": quality})
    response = await client.post(SUBMIT, json=text_order | given)

    allowed = ["16:9", "9:16", "1:1"] + (["4:3", "3:4"] if quality != "480p" else [])
    assert response.status_code == (200 if ratio in allowed else 400)
    if response.status_code == 400:
        assert response.json()["error"]["param"] == "aspect_ratio"
