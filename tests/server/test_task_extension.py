"""The tasks extension: a client that declares it waits without its model, at the schedule's pace."""

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
)

from tests.calls import ARGUMENTS, answer, call, text
from tests.clock import EPOCH
from tests.generation.gateway import make_elsewhere
from tests.server.tasks_client import TASKS, ask, tasks_client
from tests.world import KEY, World
from wan_mcp.evolink.values import iso
from wan_mcp.generation import polling
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
UNKNOWN_ID = "task-unified-1757169743-7cvnl5zw"
DECLARED = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}},
}
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28"}


async def begin(client: Client) -> str:
    """The id of a new task."""
    return str((await answer(client, "generate_video", **ARGUMENTS))["id"])


def plain(result: CallToolResult) -> dict[str, Any]:
    """A result without what differs between two calls: the protocol's data, and Evolink's request id."""
    dumped = result.model_dump_json(by_alias=True, exclude={"meta"}, exclude_none=True)
    return dict(json.loads(re.sub(r"request id \w+", "request id", dumped)))


async def refusal(client: Client, method: str, task_id: str) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await ask(client.session, method, task_id)
    return caught.value


async def test_one_call_waits_to_the_end(world: World) -> None:
    """The client asks without its model; at the end it has the answer that the tool gives."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        done = await call(client, "wait_for_task", task_id=task_id)
        reads = world.records.reads
        assert plain(done) == plain(await call(client, "wait_for_task", task_id=task_id))
    assert done.structured_content is not None
    assert done.structured_content["status"] == "completed"
    assert len(extension.created) == 1
    assert {state["status"] for state in extension.states[:-1]} == {"working"}
    assert reads <= len(extension.states) + 1


async def test_a_running_task_is_answered_at_once(world: World) -> None:
    """Each field has the name and the value that the extension gives it."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        await anyio.sleep(60)
        await call(client, "wait_for_task", task_id=task_id, timeout_seconds=0)
        shown = (await call(client, "get_task", task_id=task_id)).meta or {}
        await call(client, "wait_for_task", task_id=task_id)
    created, seen = extension.created[0], extension.states[0]
    message, interval = created.pop("statusMessage"), created.pop("pollIntervalMs")
    assert created == {
        "resultType": "task",
        "taskId": task_id,
        "status": "working",
        "createdAt": iso(EPOCH),
        "lastUpdatedAt": iso(EPOCH + 60),
        "ttlMs": 86_400_000,
    }
    assert message.startswith("processing, 5")
    assert interval == math.ceil(shown["wan-mcp/next_read_seconds"] * 1000)
    assert seen.keys() == created.keys() | {"statusMessage", "pollIntervalMs"}
    assert (seen["resultType"], seen["status"], seen["createdAt"]) == (
        "complete",
        "working",
        created["createdAt"],
    )


async def test_a_task_that_is_over_is_completed_with_the_answer_of_the_tool(world: World) -> None:
    """Also when it is asked for again."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        await anyio.sleep(200)
        done = await call(client, "wait_for_task", task_id=task_id)
        state = await ask(client.session, "tasks/get", task_id)
        again = await ask(client.session, "tasks/get", task_id)
    assert extension.created == []
    assert state == again
    assert state.pop("result") == plain(done)
    assert state == {
        "resultType": "complete",
        "taskId": task_id,
        "status": "completed",
        "statusMessage": "completed, 100 %",
        "createdAt": iso(EPOCH),
        "lastUpdatedAt": iso(EPOCH + 200),
        "ttlMs": 86_400_000,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"task_id": ""},
        {"task_id": "x"},
        {"task_id": 7},
        {"task_id": None},
        {"task_id": UNKNOWN_ID},
        {"task_id": "$id", "timeout_seconds": -1},
        {"task_id": "$id", "timeout_seconds": "soon"},
        {"task_id": "$id", "timeout": 5},
        {"task_id": "$id", "timeout_seconds": 0},
        {"task_id": "$id", "timeout_seconds": "0"},
    ],
)
async def test_a_call_that_is_no_wait_is_answered_by_the_tool(
    world: World, arguments: dict[str, Any]
) -> None:
    """Wrong arguments, unknown tasks and a wait of 0 seconds are answered as for every other client."""
    async with tasks_client(world) as (client, extension), world.client() as other:
        task_id = await begin(client)
        await anyio.sleep(60)
        given = arguments | ({"task_id": task_id} if arguments.get("task_id") == "$id" else {})
        told, expected = [await call(one, "wait_for_task", **given) for one in (client, other)]
        assert plain(told) == plain(expected)
    assert extension.created == []


@pytest.mark.parametrize(
    "arguments", [{}, {"timeout_seconds": None}, {"timeout_seconds": 3}, {"timeout_seconds": "45"}]
)
async def test_every_other_wait_is_a_task(world: World, arguments: dict[str, Any]) -> None:
    """With any time-out: it takes no turn of a model."""
    async with tasks_client(world) as (client, extension):
        done = await answer(client, "wait_for_task", task_id=await begin(client), **arguments)
    assert done["status"] == "completed"
    assert len(extension.created) == 1


async def test_without_a_key_the_tool_says_how_to_get_one(world: World) -> None:
    """The methods say the same, as an error of the server."""
    async with tasks_client(world, EVOLINK_API_KEY="") as (client, _):
        told = await call(client, "wait_for_task", task_id=UNKNOWN_ID)
        assert told.is_error
        for method in METHODS:
            error = await refusal(client, method, UNKNOWN_ID)
            assert (error.code, error.message) == (INTERNAL_ERROR, text(told))
    assert world.records.calls == []


async def test_every_other_tool_answers_as_for_every_client(world: World) -> None:
    """The id of a new video, and all reads, reach the model at once."""
    async with tasks_client(world) as (client, extension), world.client() as other:
        task_id = await begin(client)
        for tool, arguments in (("get_task", {"task_id": task_id}), ("list_tasks", {}), ("get_credits", {})):
            assert await call(client, tool, **arguments) == await call(other, tool, **arguments)
        assert await client.list_tools() == await other.list_tools()
    assert extension.created == []


async def test_it_is_declared_where_it_can_be_used(world: World) -> None:
    """In the discovery of the protocol of 2026; the older one has no place for it."""
    async with world.client() as client:
        assert client.server_capabilities.extensions is not None
        assert client.server_capabilities.extensions[TASKS] == {}
    async with world.client("legacy") as client:
        assert client.server_capabilities.extensions is None


async def test_a_client_that_does_not_declare_it_is_told_so(world: World) -> None:
    """Its waits are ordinary ones; the methods name what it lacks, whatever the id."""
    async with world.client() as client:
        task_id = await begin(client)
        waited = await answer(client, "wait_for_task", task_id=task_id)
        assert waited["status"] == "processing"
        for method in METHODS:
            for asked in (task_id, UNKNOWN_ID, "x"):
                error = await refusal(client, method, asked)
                assert error.code == MISSING_REQUIRED_CLIENT_CAPABILITY
                assert error.data == {"requiredCapabilities": {"extensions": {TASKS: {}}}}


async def test_the_older_protocol_does_not_know_it(world: World) -> None:
    """Even if the client declares it."""
    async with tasks_client(world, "legacy") as (client, extension):
        task_id = await begin(client)
        assert (await answer(client, "wait_for_task", task_id=task_id))["status"] == "processing"
        for method in METHODS:
            assert (await refusal(client, method, task_id)).code == METHOD_NOT_FOUND
    assert extension.created == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "task_id", [UNKNOWN_ID, "", "x", "task-" + "x" * 200, "task-unified-1/../credits", "task-\u00e4"]
)
async def test_an_id_that_is_none_is_refused(world: World, method: str, task_id: str) -> None:
    """An unknown id is read once, a malformed one never."""
    async with tasks_client(world) as (client, _):
        assert (await refusal(client, method, task_id)).code == INVALID_PARAMS
    assert world.records.reads == int(task_id == UNKNOWN_ID)


@pytest.mark.parametrize("age", [0, 130])
@pytest.mark.parametrize("method", METHODS)
async def test_the_task_of_another_owner_is_unknown(world: World, method: str, age: float) -> None:
    """Also to the tool, and even if it is new: this machine's ledger has it as another owner's."""
    async with world.client() as owner:
        task_id = await begin(owner)
    await anyio.sleep(age)
    world.sandbox.key = f"{KEY}-two"
    world.sandbox.faults.add(Fault("task", "status", times=None, status=404))
    async with tasks_client(world, EVOLINK_API_KEY=f"{KEY}-two") as (client, extension):
        assert (await refusal(client, method, task_id)).code == INVALID_PARAMS
        assert (await call(client, "wait_for_task", task_id=task_id)).is_error
    assert extension.created == []


async def test_a_failed_generation_is_completed(world: World) -> None:
    """The call did not fail: it says why there is no video, and that nothing was charged."""
    world.sandbox.faults.add(Fault("submit", "fail", code="content_policy_violation"))
    async with tasks_client(world) as (client, extension):
        done = await call(client, "wait_for_task", task_id=await begin(client))
    assert not done.is_error
    assert "was not charged" in text(done)
    assert extension.states[-1]["status"] == "completed"
    assert extension.states[-1]["statusMessage"].startswith("failed")


async def test_a_task_keeps_the_time_of_its_creation(world: World) -> None:
    """Also a task whose request is not in the ledger, and whose creation time the gateway does not say."""
    task_id = await make_elsewhere(world)
    world.sandbox.faults.add(Fault("task", "patch", times=None, body={"created": None}))
    async with tasks_client(world) as (client, _):
        told = set()
        for _ in range(3):
            told.add((await ask(client.session, "tasks/get", task_id))["createdAt"])
            await anyio.sleep(30)
    assert len(told) == 1


async def test_an_error_that_ends_a_wait_is_its_result(world: World) -> None:
    """A key that is refused in the middle: completed, with the tool's answer to that."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        world.sandbox.faults.add(Fault("task", "status", times=None, after=1, status=401))
        done = await call(client, "wait_for_task", task_id=task_id)
        now = await call(client, "wait_for_task", task_id=task_id, timeout_seconds=0)
        assert plain(done) == plain(now)
    assert done.is_error
    assert extension.states[-1]["status"] == "completed"


async def test_a_task_that_is_too_new_to_be_known_is_working(world: World) -> None:
    """For its first two minutes, as in every wait."""
    world.sandbox.faults.add(Fault("task", "status", times=3, status=404))
    async with tasks_client(world) as (client, extension):
        done = await answer(client, "wait_for_task", task_id=await begin(client))
    assert done["status"] == "completed"
    assert "The last read failed" in extension.states[0]["statusMessage"]


async def test_a_gateway_that_is_down_for_a_while_ends_no_wait(world: World) -> None:
    """The last known state is shown, with the reason why it could not be read; later, the video."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        await answer(client, "get_task", task_id=task_id)
        world.sandbox.faults.add(Fault("task", "status", times=5, status=503))
        done = await answer(client, "wait_for_task", task_id=task_id)
    assert done["status"] == "completed"
    assert any("The last read failed" in state["statusMessage"] for state in extension.states)
    assert not any("The last read failed" in state["statusMessage"] for state in extension.states[-1:])


async def test_a_task_of_which_nothing_is_known_is_working_while_the_gateway_is_down(world: World) -> None:
    """While it cannot be read, it may exist."""
    world.sandbox.faults.add(Fault("task", "status", times=None, status=503))
    async with tasks_client(world) as (client, _):
        state = await ask(client.session, "tasks/get", UNKNOWN_ID)
        for method in METHODS[1:]:
            assert await ask(client.session, method, UNKNOWN_ID) == {"resultType": "complete"}
    assert state["status"] == "working"
    assert "The last read failed" in state["statusMessage"]


async def test_a_task_that_evolink_has_forgotten_is_over(world: World) -> None:
    """Waiting would not help: the answer says what to do, like that of the tool."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        await anyio.sleep(130)
        world.sandbox.faults.add(Fault("task", "status", times=None, status=404))
        state = await ask(client.session, "tasks/get", task_id)
        told = await call(client, "wait_for_task", task_id=task_id)
    assert extension.created == []
    assert state["status"] == "completed"
    assert {**state["result"], "_meta": None} == {**plain(told), "_meta": None}


async def test_updates_and_cancellations_are_accepted_and_change_nothing(world: World) -> None:
    """There is no way to cancel a video: the wait and the automatic saving go on."""
    async with tasks_client(world, WAN_MCP_AUTOSAVE="1") as (client, _):
        task_id = await begin(client)
        for method in METHODS[1:]:
            assert await ask(client.session, method, task_id) == {"resultType": "complete"}
        assert (await ask(client.session, "tasks/get", task_id))["status"] == "working"
        done = await answer(client, "wait_for_task", task_id=task_id)
        for method in METHODS[1:]:
            assert await ask(client.session, method, task_id) == {"resultType": "complete"}
    assert await anyio.Path(done["saved_to"]).is_file()


async def test_only_a_question_for_the_result_waits_for_the_video_to_be_saved(world: World) -> None:
    """Updates and cancellations of a finished task are accepted at once, and fetch nothing."""
    async with tasks_client(world) as (client, _):
        task_id = await begin(client)
        await anyio.sleep(200)
    world.sandbox.faults.add(Fault("result", "slow", times=None, seconds=60))
    async with tasks_client(world, WAN_MCP_AUTOSAVE="1") as (client, _):
        begun = anyio.current_time()
        for method in METHODS[1:]:
            assert await ask(client.session, method, task_id) == {"resultType": "complete"}
        assert anyio.current_time() - begun < 1
        assert not [one for one in world.records.calls if one.at == "result"]
        assert "still being saved" in str(await ask(client.session, "tasks/get", task_id))


async def test_a_wait_is_answered_in_its_time_however_slow_the_gateway_is(world: World) -> None:
    """Each request of the client, too, is answered within a minute, after which many clients give up."""
    async with tasks_client(world) as (client, extension):
        task_id = await begin(client)
        await anyio.sleep(30)
        world.sandbox.faults.add(Fault("task", "slow", times=None, seconds=600))
        with anyio.move_on_after(2.5):
            await call(client, "wait_for_task", task_id=task_id, timeout_seconds=2)
        assert "The last read failed" in extension.created[0]["statusMessage"]
        with anyio.fail_after(31):
            assert (await ask(client.session, "tasks/get", task_id))["status"] == "working"


# Over HTTP


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("header", "is_accepted"),
    [
        ({"mcp-name": "$id"}, True),
        ({"mcp-name": "=?base64?$64?="}, True),
        ({"mcp-name": UNKNOWN_ID}, False),
        ({}, False),
    ],
)
async def test_the_routing_header_has_to_be_the_task_id(
    world: World, method: str, header: dict[str, str], is_accepted: bool
) -> None:
    """A router that trusts another value would send the request to the wrong server."""
    server = world.server()
    app = server.streamable_http_app()
    async with world.service() as service:
        task_id = (await service.generate(GenerationRequest(**ARGUMENTS))).task.id
    encoded = base64.b64encode(task_id.encode()).decode()
    headers = {name: value.replace("$id", task_id).replace("$64", encoded) for name, value in header.items()}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": task_id, "_meta": DECLARED}}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000") as client,
    ):
        answered = await client.post("/mcp", json=body, headers=HEADERS | headers | {"mcp-method": method})
    found = answered.json()
    if is_accepted:
        assert found["result"]["resultType"] == "complete"
    else:
        assert found["error"]["code"] == HEADER_MISMATCH


# The pace


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses without jitter, so that reads can be counted."""
    monkeypatch.setattr(polling, "jittered", lambda pause: pause)


async def scheduled(folder: Path, seconds: float) -> int:
    """How often the API is asked while one plain client waits for one task to its end."""
    world = World(folder, seconds=seconds)
    async with world.client() as client:
        task_id = await begin(client)
        while (await answer(client, "wait_for_task", task_id=task_id))["status"] != "completed":
            pass
    return world.records.reads


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("autosave", ["0", "1"])
async def test_a_client_that_asks_all_the_time_causes_no_more_reads(tmp_path: Path, autosave: str) -> None:
    """Every 100 ms, during the task and after it: the task is read as often as for a client that waits."""
    world = World(tmp_path, seconds=30)
    async with tasks_client(world, WAN_MCP_AUTOSAVE=autosave) as (client, _):
        task_id, after = await begin(client), 0
        while after < 50:
            state = await ask(client.session, "tasks/get", task_id)
            after += state["status"] == "completed"
            await anyio.sleep(0.1)
    assert world.records.reads <= await scheduled(tmp_path / "alone", 30) + 1
    assert sum(one.at == "result" for one in world.records.calls) == int(autosave)


@pytest.mark.usefixtures("steady")
async def test_all_who_follow_a_task_share_its_reads(tmp_path: Path) -> None:
    """A wait, a client of the extension, repeated reads and the server itself, at the same time."""
    world = World(tmp_path, seconds=120)
    async with (
        tasks_client(world, WAN_MCP_AUTOSAVE="1") as (client, _),
        anyio.create_task_group() as group,
    ):
        task_id = await begin(client)

        async def wait() -> None:
            while (await answer(client, "wait_for_task", task_id=task_id))["status"] != "completed":
                pass

        async def read() -> None:
            pause = 1
            while pause:
                await answer(client, "get_task", task_id=task_id)
                pause = (await ask(client.session, "tasks/get", task_id)).get("pollIntervalMs", 0)
                await anyio.sleep(pause / 1000)

        for follow in (wait, wait, read):
            group.start_soon(follow)
    assert world.records.reads <= await scheduled(tmp_path / "alone", 120) + 1


async def test_a_video_that_cannot_be_saved_is_not_fetched_all_the_time(world: World) -> None:
    """Even if a client keeps asking for a task that is over."""
    world.sandbox.faults.add(Fault("result", "status", times=None, status=503))
    async with tasks_client(world, WAN_MCP_AUTOSAVE="1") as (client, _):
        task_id = await begin(client)
        await anyio.sleep(200)
        before = len(world.records.calls)
        for _ in range(200):
            state = await ask(client.session, "tasks/get", task_id)
            await anyio.sleep(0.01)
    assert "Automatic saving failed" in str(state["result"])
    assert len(world.records.calls) - before <= 12


# Restarts


async def test_a_new_server_goes_on(world: World) -> None:
    """Only the ledger is kept, and even that is not needed."""
    async with tasks_client(world) as (client, _):
        task_id = await begin(client)
        assert (await ask(client.session, "tasks/get", task_id))["status"] == "working"
    async with tasks_client(world) as (client, _):
        assert (await ask(client.session, "tasks/get", task_id))["status"] == "working"
    async with tasks_client(world, WAN_MCP_DATA_DIR=world.environ["WAN_MCP_DATA_DIR"] + "-lost") as (
        client,
        _,
    ):
        assert (await ask(client.session, "tasks/get", task_id))["status"] == "working"
        await anyio.sleep(200)
        assert (await ask(client.session, "tasks/get", task_id))["status"] == "completed"
