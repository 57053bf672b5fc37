"""Clients that send anything: the server never crashes, and never sends a request for an invalid call.

The long form, ten thousand examples:
``pytest tests/server/test_hostile_arguments.py --hypothesis-profile=long``.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.types import CallToolResult, TextContent

from tests.clock import JumpingLoop
from tests.world import World
from wan_mcp.errors import InvalidRequest
from wan_mcp.evolink.requests import request_of
from wan_mcp.server.tool import Definition
from wan_mcp.server.tools import TOOLS
from wan_mcp.validation import parse, plain_schema

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
NEARLY = st.sampled_from(
    [
        *("5", "10", "5.0", 5, 10.0, "720p", "4K", "true", "null", "[]", '["https://a.example/x.png"]', ""),
        *(
            "https://a.example/x.png",
            ["https://a.example/x.png"],
            "task-unified-1-a",
            ["task-unified-1-a", ""],
            ["task-unified-1-a", "task-" + "x" * 2000],
            "/etc/passwd",
            "~/x.png",
        ),
        *(
            "file:///etc/passwd",
            "https://127.0.0.1/",
            "data:image/png;base64,AAAA",
            "\ud800",
            "x" * 2000,
            1e308,
        ),
    ]
)
NAMES = sorted({name for tool in TOOLS for name in tool.arguments.model_fields})


def calls(tool: Definition) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments that are sometimes right, often nearly so, and sometimes anything."""
    own = st.dictionaries(st.sampled_from(sorted(tool.arguments.model_fields) or ["x"]), NEARLY | JSON)
    return own | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=12), NEARLY | JSON, max_size=6)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS, ids=[tool.name for tool in TOOLS])
@given(data=st.data())
def test_any_arguments_are_parsed_or_refused_in_words(tool: Definition, data: st.DataObject) -> None:
    """The result is a parsed call, or a bounded refusal that says what to change."""
    arguments = data.draw(calls(tool))
    try:
        found: object = parse(tool.name, tool.arguments, plain_schema(tool.arguments), arguments)
    except InvalidRequest as error:
        found = error
    if isinstance(found, InvalidRequest):
        assert 0 < len(found.message) < 5000
        assert found.next_step
        assert "pydantic" not in found.message
    else:
        assert isinstance(found, tool.arguments)


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS[:2], ids=[tool.name for tool in TOOLS[:2]])
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_reaches_the_paid_endpoint_is_what_the_endpoint_documents(
    tmp_path_factory: pytest.TempPathFactory, tool: Definition, data: st.DataObject
) -> None:
    """Each call ends with an answer that has a text, and each request that was sent is valid."""
    world = World(tmp_path_factory.mktemp("world"), seconds=5)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        result = runner.run(one_call(world, tool.name, data.draw(calls(tool))))
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    assert text
    assert "itself failed" not in text
    bodies = [call.body for call in world.records.calls if call.at == "submit"]
    assert len(bodies) <= 1
    assert all(request_of(body) for body in bodies)
    assert result.is_error or bodies


async def one_call(world: World, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    async with world.client() as client:
        result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result
