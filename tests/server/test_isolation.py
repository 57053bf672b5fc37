"""Callers of a hosted server: a task of another one looks exactly like one that nobody has."""

import base64
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import ResourceTemplateReference
from pydantic import BaseModel

from tests.callers import IN_BOTH_DEPLOYMENTS, Callers
from tests.calls import ARGUMENTS, PROMPT, answer, call, text
from tests.clock import now
from tests.server.tasks_client import ask
from tests.world import picture
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

RESOURCE = "wan://tasks/{task_id}"
PATHS: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "get_task": lambda client, task_id: call(client, "get_task", task_id=task_id),
    "wait_for_task": lambda client, task_id: call(client, "wait_for_task", task_id=task_id),
    "look once": lambda client, task_id: call(client, "wait_for_task", task_id=task_id, timeout_seconds=0),
    "preview_video": lambda client, task_id: call(client, "preview_video", task_id=task_id),
    "continue": lambda client, task_id: call(
        client, "generate_video", prompt="It goes on.", image_urls=[task_id]
    ),
    "resource": lambda client, task_id: client.read_resource(RESOURCE.format(task_id=task_id)),
    "poster": lambda client, task_id: client.read_resource(RESOURCE.format(task_id=task_id) + "/poster"),
    "tasks/get": lambda client, task_id: ask(client.session, "tasks/get", task_id),
    "tasks/update": lambda client, task_id: ask(client.session, "tasks/update", task_id),
    "tasks/cancel": lambda client, task_id: ask(client.session, "tasks/cancel", task_id),
}
EVERY_PATH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


async def outcome(client: Client, path: Callable[[Client, str], Awaitable[Any]], task_id: str) -> object:
    """All that a caller sees, and how long it took; without what differs between two calls for one id."""
    began = now()
    try:
        seen = await path(client, task_id)
        said = seen.model_dump_json(exclude={"meta"}) if isinstance(seen, BaseModel) else json.dumps(seen)
    except MCPError as error:
        said = f"{error.code} {error.message}"
    said = re.sub(r"request id \w+", "request id", said.replace(task_id, "ID"))
    return said, round(now() - began)


@IN_BOTH_DEPLOYMENTS
@EVERY_PATH
@pytest.mark.parametrize("age", [0, 300], ids=["new", "completed"])
async def test_another_callers_task_looks_like_one_that_nobody_has(
    tmp_path: Path, deployment: Deployment, path: Callable[[Client, str], Awaitable[Any]], age: float
) -> None:
    """By every way in, and at the same time after its creation; its owner has read it in the same process."""
    callers = Callers(tmp_path, deployment)
    async with callers.client() as (client, _):
        task_id = str((await answer(client, "generate_video", **ARGUMENTS))["id"])
        await anyio.sleep(age)
        await answer(client, "get_task", task_id=task_id)
        await client.read_resource(RESOURCE.format(task_id=task_id) + "/poster")
        callers.name = "two"
        began = now()
        theirs = await outcome(client, path, task_id)
        assert PROMPT not in str(theirs)
    nobody = Callers(tmp_path / "nobody", deployment)
    nobody.name = "two"
    async with nobody.client() as (client, _):
        as_old = int(now() - began) + int(task_id.split("-")[2])
        assert await outcome(client, path, f"task-unified-{as_old}-abcd0123") == theirs


@IN_BOTH_DEPLOYMENTS
async def test_lists_and_completions_have_the_callers_own_tasks_alone(
    tmp_path: Path, deployment: Deployment
) -> None:
    """Also the resource of all tasks; each caller's read of another one's id adds nothing."""
    callers, made = Callers(tmp_path, deployment), {}
    reference = ResourceTemplateReference(type="ref/resource", uri=RESOURCE)
    async with callers.client() as (client, _):
        for callers.name in ("one", "two"):
            made[callers.name] = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        for callers.name in ("one", "two", "three"):
            for task_id in made.values():
                await call(client, "get_task", task_id=task_id)
            own = [made[callers.name]] if callers.name in made else []
            listed = await answer(client, "list_tasks")
            assert [task["id"] for task in listed["tasks"]] == own
            (content,) = (await client.read_resource("wan://tasks")).contents
            assert [task["id"] for task in json.loads(content.model_dump()["text"])["tasks"]] == own
            completed = await client.complete(reference, {"name": "task_id", "value": ""})
            assert completed.completion.values == own


async def test_each_call_upstream_has_its_callers_key(tmp_path: Path) -> None:
    """Callers at once, with equal requests and equal pictures: submissions, uploads, reads and balances."""
    callers = Callers(tmp_path, OWN_KEYS)
    async with callers.services() as services, anyio.create_task_group() as group:
        for name in ("one", "two", "three"):
            group.start_soon(callers.of(services, name).credits)
    async with callers.client() as (client, _):
        data = "data:image/png;base64," + base64.b64encode(picture()).decode()
        for callers.name in ("one", "two", "three"):
            begun = await answer(client, "generate_video", prompt=f"For {callers.name}.", image_urls=[data])
            await anyio.sleep(100)
            await answer(client, "get_task", task_id=begun["id"])
            assert (await answer(client, "get_credits"))["remaining"] == 974.5
    records = callers.world.records
    assert [(payment.prompt, payment.sent_by) for payment in records.paid] == [
        (f"For {name}.", f"{name}/1") for name in ("one", "two", "three")
    ]
    uploads = [made.sent_by for made in records.calls if made.at == "upload"]
    assert uploads == ["one/1", "two/1", "three/1"]


@pytest.mark.parametrize(
    ("status", "next_step"),
    [
        (401, "Check the Evolink key that the client sends in Authorization or X-API-Key; keys are at "),
        (402, "the user can add credits in the Evolink dashboard"),
    ],
)
async def test_a_caller_with_an_own_key_is_told_what_to_do_about_it(
    tmp_path: Path, status: int, next_step: str
) -> None:
    """The server has no EVOLINK_API_KEY that could be checked."""
    callers = Callers(tmp_path, OWN_KEYS)
    callers.world.sandbox.faults.add(Fault("submit", "status", status=status))
    async with callers.client() as (client, _):
        said = text(await call(client, "generate_video", **ARGUMENTS))
    assert next_step in said
    assert "EVOLINK_API_KEY" not in said


@IN_BOTH_DEPLOYMENTS
async def test_a_server_that_cannot_reach_evolink_says_whom_to_tell(
    tmp_path: Path, deployment: Deployment
) -> None:
    """The network and the address are not the caller's."""
    callers = Callers(tmp_path, deployment)
    callers.world.sandbox.faults.add(Fault("submit", "status", status=307))
    async with callers.client() as (client, _):
        said = text(await call(client, "generate_video", **ARGUMENTS))
    assert "EVOLINK_BASE_URL" not in said


async def test_the_resource_of_an_unknown_task_is_missing(tmp_path: Path) -> None:
    """Not broken: clients forget such a resource."""
    callers = Callers(tmp_path, ONE_ACCOUNT)
    async with callers.client() as (client, _):
        with pytest.raises(MCPError, match="You have no task task-unified-1-nothing on this server"):
            await client.read_resource("wan://tasks/task-unified-1-nothing")
