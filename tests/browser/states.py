"""What the server answers about a task, and what a host can do, for the tests of the card."""

import base64
import io
from functools import cache
from typing import Any

from PIL import Image

from wan_mcp.sandbox.render import render

NOW = 1_790_000_000
TASK = "task-unified-1790000000-abcdefgh"
PARENT = "task-unified-1789999000-ijklmnop"
"""The task of the part before."""
PROMPT = "Mist drifts over the water while the sun comes up behind the hills."
LINK = "https://results.evolink.ai/video.mp4"
OTHER_LINK = "https://results.evolink.ai/other.mp4"
SAVED = "/home/user/Videos/wan-mcp/mist-drifts-over-the-water.mp4"
UNTIL = "2026-09-22T12:53:20Z"
EXPIRED = "2026-09-20T12:53:20Z"
ABLE: dict[str, Any] = {"serverTools": {}, "serverResources": {}, "openLinks": {}, "message": {}}


def result(status: str, meta: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    """An answer about the task, as ``get_task`` and the others give it."""
    task = {"id": TASK, "status": status, "created": NOW, "duration": 5, "quality": "720p", "take": 1}
    view = {key: value for key, value in {**task, "next": "", **facts}.items() if value is not None}
    return {"content": [{"type": "text", "text": status}], "structuredContent": view, "_meta": meta or {}}


def working(
    progress: float | None = 40, next_read: float = 10, left: float | None = 80, **facts: Any
) -> dict[str, Any]:
    meta = {"wan-mcp/next_read_seconds": next_read}
    if left is not None:
        meta["wan-mcp/time_left_seconds"] = left
    facts = {"credits": {"reserved": 25.5}, "dollars": "$0.38"} | facts
    return result("processing", meta, progress=progress, **facts)


def completed(**facts: Any) -> dict[str, Any]:
    paid = {"credits": {"used": 25.5}, "dollars": "$0.38"}
    return result("completed", progress=100, **{"results": [LINK], "expires_at": UNTIL} | paid | facts)


def saved(**facts: Any) -> dict[str, Any]:
    file = {"bytes": 2_130_000, "sha256": "0" * 64, "seconds": 5.04, "width": 640, "height": 360}
    return completed(**{"saved_to": SAVED, "file": file} | facts)


def dead(**facts: Any) -> dict[str, Any]:
    """24 hours later."""
    return completed(**{"results": None, "expires_at": EXPIRED} | facts)


def failed(
    message: str = "The picture shows a person whose face cannot be used.", **facts: Any
) -> dict[str, Any]:
    error = {"code": "content_policy_violation", "message": message, "retryable": False}
    return result("failed", error=error, dollars="$0.00", **facts)


def refused(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def part(continues: Any = PARENT, place: Any = 3) -> dict[str, Any]:
    """What an answer says of a part of a chain."""
    return {"continues": continues, "part": place}


@cache
def picture() -> bytes:
    """A landscape, as a JPEG."""
    image = Image.new("RGB", (640, 360))
    for y in range(360):
        sky = (250 - y // 3, 190 - y // 4, 120 + y // 4) if y < 200 else (40, 90 + (y - 200) // 3, 120)
        image.paste(sky, (0, y, 640, y + 1))
    image.paste((255, 236, 170), (290, 120, 350, 180))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


@cache
def video() -> bytes:
    """A real MP4 that moves."""
    return render(picture(), 5, "480p")


def poster() -> dict[str, Any]:
    """An answer of ``resources/read``."""
    blob = base64.b64encode(picture()).decode()
    uri = f"wan://tasks/{TASK}/poster"
    return {"result": {"contents": [{"uri": uri, "mimeType": "image/jpeg", "blob": blob}]}}


NO_POSTER = {"error": {"code": -32602, "message": "There is no poster."}}
