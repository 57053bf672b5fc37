"""The tool list is a published contract: a change to it is noticed, and intended.

``python -m tests.server.test_contract`` renews the snapshot.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from pydantic import BaseModel

from tests.callers import hosted_server
from tests.world import World
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

SNAPSHOT = Path(__file__).parent / "contract.json"
ERAS = ("auto", "legacy")
READING = 7000
"""Bytes of names, descriptions and input schemas that a model has to read, at most."""
WHOLE = 20_000
"""Bytes of the whole list of tools, at most: with the output schemas, which models do not read."""
PLAIN = {
    *("type", "properties", "required", "additionalProperties", "description", "enum", "items"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}
"""The keywords that the strictest clients accept in a schema."""


SERVERS = {
    "": lambda: create_server(Settings.load({})),
    "hosted, own keys, ": lambda: hosted_server(OWN_KEYS),
    "hosted, one account, ": lambda: hosted_server(ONE_ACCOUNT),
}
"""The servers by where they run; the first is that on the user's machine."""


async def contract(mode: Any, server: str = "") -> dict[str, Any]:
    """Everything that a client is told before it calls anything."""
    async with Client(SERVERS[server](), mode=mode) as client:
        tools = plain((await client.list_tools()).tools)
        prompts = plain((await client.list_prompts()).prompts)
        resources = plain((await client.list_resources()).resources)
        templates = plain((await client.list_resource_templates()).resource_templates)
        return {
            "instructions": client.instructions,
            "tools": tools,
            "prompts": prompts,
            "resources": resources,
            "resourceTemplates": templates,
        }


def plain(models: Sequence[BaseModel]) -> list[dict[str, Any]]:
    return [model.model_dump(by_alias=True, exclude_none=True, mode="json") for model in models]


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def written(contracts: dict[str, Any]) -> str:
    return json.dumps(contracts, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


async def all_contracts() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for server in SERVERS:
        modern, legacy = [await contract(mode, server) for mode in ERAS]
        eras = {"both eras": modern} if modern == legacy else {"2026-07-28": modern, "2025-11-25": legacy}
        found |= {f"{server}{era}": told for era, told in eras.items()}
    return found


@pytest.mark.anyio
async def test_the_contract_is_the_published_one() -> None:
    """Names, descriptions, schemas, hints and instructions, in both protocol eras."""
    assert written(await all_contracts()) == SNAPSHOT.read_text(), (
        "if this is meant: python -m tests.server.test_contract"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("server", SERVERS)
async def test_the_list_of_tools_is_small(server: str) -> None:
    """A model reads under 7,000 bytes of it; the whole is under 20,000 bytes without what is for hosts."""
    tools = (await contract("auto", server))["tools"]
    read = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
    assert len(compact(read)) < READING
    assert len(compact([{key: tool[key] for key in tool if key != "_meta"} for tool in tools])) < WHOLE


@pytest.mark.anyio
@pytest.mark.parametrize("server", SERVERS)
async def test_every_tool_is_described_for_model_and_client(server: str) -> None:
    """Bounded descriptions, every argument described, complete hints, a title and an output schema."""
    for tool in (await contract("auto", server))["tools"]:
        assert 20 < len(tool["description"]) < 1024, tool["name"]
        assert tool["title"]
        assert set(tool["annotations"]) == {
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        }
        if tool["name"] == "preview_video":  # some clients would show the model that in place of the picture
            assert "outputSchema" not in tool
        else:
            assert tool["outputSchema"]["type"] == "object"
        for name, spec in tool["inputSchema"]["properties"].items():
            assert spec["description"], name
            assert name in tool["inputSchema"].get("required", ()) or "efault" in spec["description"], name


@pytest.mark.anyio
@pytest.mark.parametrize("server", SERVERS)
async def test_schemas_are_plain(server: str) -> None:
    """No references, unions, titles or defaults, in what is taken and in what is answered."""
    for tool in (await contract("auto", server))["tools"]:
        for schema in (tool["inputSchema"], tool.get("outputSchema", {})):
            assert keywords(schema) <= PLAIN, tool["name"]


def keywords(schema: dict[str, Any]) -> set[str]:
    found = set(schema)
    for spec in schema.get("properties", {}).values():
        found |= keywords(spec)
    return found | (keywords(schema["items"]) if "items" in schema else set())


@pytest.mark.anyio
async def test_answers_keep_to_their_output_schemas(world: World) -> None:
    """A client that checks every answer against the published schema accepts all of them."""
    import jsonschema

    request = {"prompt": "go", "image_urls": ["https://pictures.example.com/cat.png"]}
    async with world.client() as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        asked = await client.call_tool("generate_video", request)
        assert isinstance(asked.structured_content, dict)
        task = {"task_id": asked.structured_content["id"]}
        for _ in range(3):
            await client.call_tool("wait_for_task", task)
        for name in (
            "generate_video",
            "get_task",
            "wait_for_task",
            "save_video",
            "list_tasks",
            "get_credits",
        ):
            arguments = {"generate_video": request, "list_tasks": {}, "get_credits": {}}.get(name, task)
            result = await client.call_tool(name, arguments)
            assert not result.is_error, name
            schema = schemas[name]
            assert schema is not None
            jsonschema.validate(result.structured_content, schema | {"additionalProperties": False})


if __name__ == "__main__":
    SNAPSHOT.write_text(written(anyio.run(all_contracts)))
