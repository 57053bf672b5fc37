"""Uploads: what is accepted, what it is answered, and how long it lives."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wan_mcp.sandbox import Sandbox

pytestmark = pytest.mark.anyio

STREAM = "/api/v1/files/upload/stream"
DAY = 24 * 3600
KEY = {"idempotency-key": "file-0123456789abcdef"}

Picture = Callable[..., bytes]


async def test_an_uploaded_file_can_be_read_back(
    client: httpx2.AsyncClient, picture: Picture, sandbox: Sandbox
) -> None:
    """The answer has the documented shape, and its address leads to the bytes."""
    content = picture("PNG")
    response = await client.post(STREAM, files={"file": ("cat.png", content, "image/png")})

    data = response.json()["data"]
    url = f"http://sandbox.test/files/{data['file_id']}/cat.png"
    assert response.json() == {
        "success": True,
        "code": 200,
        "msg": "The file was uploaded.",
        "data": {
            "file_id": data["file_id"],
            "file_name": "cat.png",
            "file_size": len(content),
            "mime_type": "image/png",
            "file_url": url,
            "download_url": f"{url}?download=1",
            "upload_time": "2027-01-15T08:00:00Z",
            "expires_at": "2027-01-18T08:00:00Z",
        },
    }
    file = await client.get(url)
    assert (file.content, file.headers["content-type"]) == (content, "image/png")
    assert sandbox.records.uploads == 1


@pytest.mark.parametrize(
    ("form", "mime_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
async def test_four_formats_are_known_by_their_content(
    client: httpx2.AsyncClient, picture: Picture, form: str, mime_type: str
) -> None:
    """Neither the name nor the declared type counts."""
    response = await client.post(STREAM, files={"file": ("x.txt", picture(form), "text/plain")})

    assert response.json()["data"]["mime_type"] == mime_type


async def test_another_format_is_refused_under_http_200(client: httpx2.AsyncClient, picture: Picture) -> None:
    """A BMP is accepted for a generation, but not as an upload."""
    response = await client.post(STREAM, files={"file": ("cat.png", picture("BMP"), "image/png")})

    assert response.status_code == 200
    assert response.json() == {
        "success": False,
        "code": 400,
        "msg": "The file must be a jpeg, png, gif or webp picture.",
        "data": None,
    }


async def test_a_form_without_a_file_is_refused(client: httpx2.AsyncClient) -> None:
    """The field is called file."""
    answer = (await client.post(STREAM, data={"file": "text"})).json()

    assert (answer["success"], answer["code"]) == (False, 400)


async def test_an_upload_dies_after_72_hours(
    client: httpx2.AsyncClient, picture: Picture, order: dict[str, Any], clock: Any
) -> None:
    """Its address is then a 404, and a task that uses it fails."""
    upload = await client.post(STREAM, files={"file": ("cat.png", picture("PNG"))})
    url = upload.json()["data"]["file_url"]
    clock.advance(3 * DAY - 1)
    assert (await client.get(url)).status_code == 200
    clock.advance(1)

    task = (await client.post("/v1/videos/generations", json=order | {"image_urls": [url]})).json()
    clock.advance(10)

    assert (await client.get(url)).status_code == 404
    error = (await client.get(f"/v1/tasks/{task['id']}")).json()["error"]
    assert error["code"] == "image_processing_error"


async def test_an_upload_is_used_without_fetching_it(
    client: httpx2.AsyncClient, picture: Picture, order: dict[str, Any], clock: Any, web: dict[str, bytes]
) -> None:
    """The sandbox has the bytes already."""
    web.clear()
    upload = await client.post(STREAM, files={"file": ("cat.png", picture("PNG"))})
    url = upload.json()["data"]["file_url"]

    task = (await client.post("/v1/videos/generations", json=order | {"image_urls": [url]})).json()
    clock.advance(10)

    assert (await client.get(f"/v1/tasks/{task['id']}")).json()["status"] == "completed"


async def test_the_same_upload_under_the_same_key_is_kept_once(
    client: httpx2.AsyncClient, picture: Picture
) -> None:
    """Whatever the form's boundary; other bytes under the key are a conflict."""
    first = await client.post(STREAM, files={"file": ("cat.png", picture("PNG"))}, headers=KEY)
    second = await client.post(STREAM, files={"file": ("cat.png", picture("PNG"))}, headers=KEY)
    third = await client.post(STREAM, files={"file": ("cat.png", picture("GIF"))}, headers=KEY)

    assert second.json() == first.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (third.status_code, third.json()["error"]["code"]) == (409, "idempotency_conflict")
