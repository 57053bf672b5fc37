"""``get_credits`` where the operator's account pays for all callers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool

from tests.callers import Callers
from tests.calls import ARGUMENTS, answer, call, text
from wan_mcp.generation.owners import ONE_ACCOUNT
from wan_mcp.generation.services import Services
from wan_mcp.server.tool import Definition, StrictTool
from wan_mcp.server.tools import ALLOWANCE, TOOLS

pytestmark = pytest.mark.anyio


RIGHT = [ALLOWANCE if tool.name == ALLOWANCE.name else tool for tool in TOOLS]
"""The tools as they are described where the operator pays."""


def server_of(services: Services, definitions: Sequence[Definition]) -> MCPServer[Any]:
    tools: list[Tool] = [StrictTool.build(definition) for definition in definitions]

    @asynccontextmanager
    async def lifespan(server: MCPServer[Services]) -> AsyncIterator[Services]:
        yield services

    return MCPServer("test", tools=tools, lifespan=lifespan)


@pytest.mark.parametrize(
    ("caps", "said", "structured"),
    [
        (
            {"WAN_MCP_DAILY_CREDITS": "60", "WAN_MCP_REQUEST_CREDITS": "30"},
            "You spent 25.5 credits ($0.38) in the last 24 hours. Your daily cap is 60 credits ($0.88); 34.5 "
            "credits ($0.51) are left. One request may cost 30 credits ($0.44) at most.",
            {"spent": 25.5, "left": 34.5, "daily_cap": 60, "request_cap": 30},
        ),
        (
            {},
            "You spent 25.5 credits ($0.38) in the last 24 hours. You have no daily cap of your own.",
            {"spent": 25.5},
        ),
    ],
)
async def test_it_tells_the_callers_own_spending_and_caps(
    tmp_path: Path, caps: dict[str, Any], said: str, structured: dict[str, float]
) -> None:
    """Not what another one spent, and not the account's balance, which is not even read."""
    callers = Callers(tmp_path, ONE_ACCOUNT)
    callers.world.environ |= caps
    async with callers.services() as services, Client(server_of(services, RIGHT)) as client:
        for callers.name in ("two", "one"):
            await answer(client, "generate_video", **ARGUMENTS)
        calls = len(callers.world.records.calls)
        told = await call(client, "get_credits")
    assert text(told) == f"{said} The server may also have a daily cap for all callers together."
    assert told.structured_content == structured
    assert len(callers.world.records.calls) == calls


async def test_the_balance_is_not_told_whatever_the_tool_is_described_as(tmp_path: Path) -> None:
    """The tool asks who pays, so that a server that describes it wrongly gives nothing away."""
    callers = Callers(tmp_path, ONE_ACCOUNT, credits=123.25)
    async with callers.services() as services, Client(server_of(services, TOOLS)) as client:
        with pytest.raises(RuntimeError, match="structured content"):  # the client checks the schema
            assert "123.25" not in str(await call(client, "get_credits"))
    assert [made.at for made in callers.world.records.calls] == []
