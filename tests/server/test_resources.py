"""Tasks as resources, the completion of their ids, and notifications."""

import json
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp.types import ResourceTemplateReference, TextResourceContents

from tests.calls import ARGUMENTS, ERAS, answer
from tests.world import World

pytestmark = pytest.mark.anyio


async def read(client: Client, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


@ERAS
async def test_tasks_can_be_read_as_resources(world: World, mode: str) -> None:
    """One task is the object that the tools answer; the list has a line each."""
    async with world.client(mode) as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        one = await read(client, f"wan://tasks/{task_id}")
        assert one == await answer(client, "get_task", task_id=task_id)
        assert [task["id"] for task in (await read(client, "wan://tasks"))["tasks"]] == [task_id]


@ERAS
async def test_a_task_that_is_none_is_a_missing_resource(world: World, mode: str) -> None:
    """An unknown id is the protocol's error for what does not exist."""
    async with world.client(mode) as client:
        with pytest.raises(MCPError, match="no task") as caught:
            await client.read_resource("wan://tasks/task-unified-1-nothing")
    assert caught.value.code == -32602


@ERAS
async def test_what_is_no_id_is_a_missing_resource_and_not_asked_for(world: World, mode: str) -> None:
    """The API would refuse it, which is no fault of the server."""
    async with world.client(mode) as client:
        with pytest.raises(MCPError, match="not the id") as caught:
            await client.read_resource("wan://tasks/cat")
    assert caught.value.code == -32602
    assert world.records.reads == 0


async def test_ids_are_completed(world: World) -> None:
    """What was typed is the beginning of an id."""
    reference = ResourceTemplateReference(type="ref/resource", uri="wan://tasks/{task_id}")
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        some = await client.complete(reference, {"name": "task_id", "value": task_id[:14]})
        none = await client.complete(reference, {"name": "task_id", "value": "other"})
    assert (some.completion.values, none.completion.values) == ([task_id], [])


async def test_without_a_key_nothing_is_completed(world: World) -> None:
    """A completion shows no error."""
    reference = ResourceTemplateReference(type="ref/resource", uri="wan://tasks/{task_id}")
    async with world.client(EVOLINK_API_KEY="") as client:
        found = await client.complete(reference, {"name": "task_id", "value": ""})
    assert found.completion.values == []


async def test_a_subscriber_hears_of_changes(world: World) -> None:
    """A stream that asked for one task is notified when a wait sees a change."""
    heard: list[str] = []
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        uri = f"wan://tasks/{task_id}"

        async def listen(*, task_status: Any) -> None:
            async with client.listen(resource_subscriptions=[uri]) as stream:
                task_status.started()
                async for event in stream:
                    assert isinstance(event, ResourceUpdated)
                    heard.append(event.uri)

        async with anyio.create_task_group() as group:
            await group.start(listen)
            await answer(client, "wait_for_task", task_id=task_id)
            group.cancel_scope.cancel()
    assert heard
    assert set(heard) == {uri}


@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")
async def test_a_subscriber_of_the_older_protocol_hears_of_changes(world: World) -> None:
    """resources/subscribe leads to notifications; after resources/unsubscribe there are none."""
    heard: list[str] = []

    async def note(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            heard.append(str(message.params.uri))

    async with Client(world.server(), mode="legacy", message_handler=note) as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        uri = f"wan://tasks/{task_id}"
        await client.subscribe_resource(uri)
        await answer(client, "wait_for_task", task_id=task_id)
        assert set(heard) == {uri}
        await client.unsubscribe_resource(uri)
        heard.clear()
        await answer(client, "wait_for_task", task_id=task_id)
    assert heard == []
