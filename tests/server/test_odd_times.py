"""Impossible times, and rows that cannot be read: only what they hold is missing, and no list breaks."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.calls import ARGUMENTS, answer
from tests.clock import EPOCH
from tests.generation.gateway import make_elsewhere
from tests.world import World
from wan_mcp.cli import tasks as command
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio


class Changed(httpx2.AsyncBaseTransport):
    """The API; a test changes some properties of its answers about a task."""

    def __init__(self, api: httpx2.AsyncBaseTransport, change: Callable[[dict[str, Any]], None]) -> None:
        self._api = api
        self._change = change

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._api.handle_async_request(request)
        if not request.url.path.startswith("/v1/tasks/"):
            return response
        payload = json.loads(await response.aread())
        self._change(payload)
        return httpx2.Response(response.status_code, stream=httpx2.ByteStream(json.dumps(payload).encode()))


async def lists(world: World) -> list[list[dict[str, Any]]]:
    """The lists of the tool, the resource and both forms of the command."""
    async with world.client() as client:
        shown = (await answer(client, "list_tasks"))["tasks"]
        read = await client.read_resource("wan://tasks")
    settings = Settings.load(world.environ)
    told = await command.lines(settings, 10, as_json=True)
    assert len(await command.lines(settings, 10, as_json=False)) == len(told)
    resource = json.loads(read.contents[0].text)["tasks"]  # type: ignore[union-attr]
    return [shown, resource, [json.loads(line) for line in told]]


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("created", EPOCH * 1000, EPOCH),
        ("created", f"{EPOCH * 1000:.0f}", EPOCH),
        ("created", "2026-09-21T14:13:20+00:00", EPOCH),
        ("created", "2026-09-21T16:13:20+02:00", EPOCH),
        ("created_at", "2026-09-21T14:13:20Z", EPOCH),
        ("created_at", EPOCH, EPOCH),
        ("created", "2026-09-21T14:13:20", None),
        ("created_at", "2026-09-21 14:13:20", None),
        ("created", "2026-09-21", None),
        ("created", 1000 * 1000 * EPOCH, None),
        ("created", 0, None),
        ("created", -EPOCH, None),
        ("created", 5_000_000_000, None),
        ("created", "1711-07-12T00:00:00Z", None),
        ("created", "0001-01-01T00:00:00+23:59", None),
    ],
)
async def test_a_task_from_elsewhere_may_have_been_created_at_any_time(
    world: World, field: str, value: object, read: float | None
) -> None:
    """Milliseconds are recognised; a time that is impossible, or without a known zone, is absent."""
    task_id = await make_elsewhere(world)

    def change(task: dict[str, Any]) -> None:
        del task["created"]
        task[field] = value

    world.transport = Changed(world.transport, change)
    async with world.client() as client:
        task = await answer(client, "get_task", task_id=task_id)
    assert task.get("created") == read
    for listed in await lists(world):
        assert [line["id"] for line in listed] == [task_id]
        assert listed[0]["asked_at"].startswith("2026-09-21T14:13")


@pytest.mark.parametrize(
    "damage",
    [
        {"asked_at": 1_790_000_000_000.0 * 1000},
        {"asked_at": float("inf"), "known_at": float("inf"), "completed_at": float("-inf")},
        {"asked_at": -1e300},
        {"task": '{"id": "task-uni'},
        {"task": "[]"},
        {"task": "{}", "saved": "{}", "body": "{"},
        {"saved": '{"path": "/a", "size": 1, "sha256": "", "shape": 3}'},
        {"saved": "null"},
        {"image": '{"name": [1], "width": "wide"}'},
    ],
)
async def test_a_damaged_row_breaks_no_list_and_is_not_paid_again(
    world: World, damage: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown without what cannot be read, beside the others."""
    async with world.client() as client:
        broken = await answer(client, "generate_video", **ARGUMENTS)
        whole = await answer(client, "generate_video", **ARGUMENTS | {"prompt": "A dog."})
    values = ", ".join(f"{column} = ?" for column in damage)
    with closing(sqlite3.connect(Path(world.environ["WAN_MCP_DATA_DIR"]) / FILE_NAME)) as file, file:
        file.execute(f"UPDATE entries SET {values} WHERE task_id = ?", (*damage.values(), broken["id"]))
    for listed in await lists(world):
        assert {line["id"] for line in listed} == {broken["id"], whole["id"]}
    assert "asked_at" in damage or "cannot be read" in caplog.text
    async with world.client() as client:
        assert (await answer(client, "get_task", task_id=broken["id"]))["status"] == "pending"
        if "asked_at" not in damage:
            again = await answer(client, "generate_video", **ARGUMENTS)
            assert again["id"] == broken["id"]
            assert len(world.records.paid) == 2
