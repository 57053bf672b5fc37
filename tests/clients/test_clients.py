"""Real clients, offline, with a real server process and the sandbox: what they list, call and show a model.

They are the programs in ``package.json`` and ``requirements.txt`` of this folder. ``programs.py``
says how they are found, and when a missing one is an error.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.agents import AGENTS, configure_codex
from tests.clients.app_server import AppServer, app_server
from tests.clients.model import requesting, scripted
from tests.clients.programs import Finished, package_folder, program, run
from tests.clients.scene import (
    Scene,
    assert_begun,
    assert_done,
    assert_refused,
    assert_says_why,
    scene,
    ways_of_seeing,
)
from wan_mcp.server.tools import TOOLS

pytestmark = pytest.mark.anyio

NAMES = [tool.name for tool in TOOLS]
ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
TOOL_ERROR = 5
"""The Inspector's exit code when a tool said that it failed."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# The Inspector's command line


async def inspect(at: Scene, era: str, *arguments: str) -> Finished:
    settings = [part for name, value in at.server["env"].items() for part in ("-e", f"{name}={value}")]
    command = (program("mcp-inspector"), "--cli", *settings, at.server["command"], *at.server["args"])
    return await run(*command, "--protocol-era", era, "--format", "json", *arguments, folder=at.folder)


async def inspect_call(at: Scene, era: str, tool: str, arguments: dict[str, Any]) -> Finished:
    named = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    return await inspect(at, era, "--method", "tools/call", *named)


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_finds_nothing_to_mend_in_the_tools(era: str, tmp_path: Path) -> None:
    """All tools are listed, and the strict check of their schemas ends without an error or advice."""
    async with scene(tmp_path) as at:
        listed = await inspect(at, era, "--method", "tools/list", "--strict")
    assert (listed.code, listed.err) == (0, ""), listed.said
    assert [tool["name"] for tool in json.loads(listed.out)["result"]["tools"]] == NAMES


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_makes_a_video(era: str, tmp_path: Path) -> None:
    """One process requests it and another one waits: it is one task, and each answer has all facts."""
    async with scene(tmp_path) as at:
        begun = await inspect_call(at, era, "generate_video", at.request)
        done = await inspect_call(at, era, "wait_for_task", {"task_id": at.task_id})
        refused = await inspect_call(at, era, "generate_video", at.wrong)
    for seen in ways_of_seeing(json.loads(begun.out)["result"]):
        assert_begun(seen, at)
    for seen in ways_of_seeing(json.loads(done.out)["result"]):
        assert_done(seen, at)
    assert_refused(json.loads(refused.out)["result"])
    assert (begun.code, done.code, refused.code) == (0, 0, TOOL_ERROR)
    assert len(at.sandbox.records.paid) == 1


# The TypeScript client


@pytest.mark.parametrize(("mode", "version"), [("legacy", ERAS["legacy"]), ("auto", ERAS["modern"])])
async def test_the_typescript_client_makes_a_video(mode: str, version: str, tmp_path: Path) -> None:
    """It checks answers against the published schemas itself; progress arrives, and only rises."""
    session = str(Path(__file__).parent / "session.mjs")
    async with scene(tmp_path) as at:
        calls = [
            {"name": "generate_video", "arguments": at.request},
            {"name": "wait_for_task", "arguments": {"task_id": "$id"}},
            {"name": "generate_video", "arguments": at.wrong},
        ]
        given = json.dumps({"server": at.server, "mode": mode, "calls": calls})
        ended = await run(program("node"), session, package_folder(), folder=tmp_path, stdin=given)
    assert ended.code == 0, ended.said
    told = json.loads(ended.out)
    assert (told["version"], told["tools"]) == (version, NAMES)
    begun, done, refused = told["answers"]
    for seen in ways_of_seeing(begun):
        assert_begun(seen, at)
    for seen in ways_of_seeing(done):
        assert_done(seen, at)
    assert [block["uri"] for block in done["content"] if block["type"] == "resource_link"] == [
        at.saved.as_uri(),
        at.link,
    ]
    assert_refused(refused)
    shown = [notice["progress"] for notice in told["progress"]]
    assert shown
    assert shown == sorted(set(shown))
    assert len(at.sandbox.records.paid) == 1


# fastmcp's command line


async def fastmcp(at: Scene, command: str, *arguments: str) -> Finished:
    return await run(program("fastmcp"), command, at.configuration, *arguments, "--json", folder=at.folder)


async def test_fastmcp_makes_a_video(tmp_path: Path) -> None:
    """Its list has all tools, and what it prints has all facts."""
    async with scene(tmp_path) as at:
        listed = await fastmcp(at, "list")
        begun = await fastmcp(at, "call", "generate_video", "--input-json", json.dumps(at.request))
        done = await fastmcp(at, "call", "wait_for_task", f"task_id={at.task_id}")
        refused = await fastmcp(at, "call", "generate_video", "--input-json", json.dumps(at.wrong))
    assert [tool["name"] for tool in json.loads(listed.out)["tools"]] == NAMES
    for seen in ways_of_seeing(json.loads(begun.out)):
        assert_begun(seen, at)
    for seen in ways_of_seeing(json.loads(done.out)):
        assert_done(seen, at)
    assert_refused(json.loads(refused.out))
    assert (listed.code, begun.code, done.code, refused.code) == (0, 0, 0, 1)
    assert len(at.sandbox.records.paid) == 1


# Codex


@asynccontextmanager
async def configured_codex(at: Scene) -> AsyncIterator[AppServer]:
    configure_codex(at)
    async with app_server(at.folder) as codex:
        yield codex


async def test_codex_makes_a_video_for_an_editor(tmp_path: Path) -> None:
    """Its app server starts wan-mcp, lists the tools and hands on whole answers, without any login."""
    async with scene(tmp_path) as at, configured_codex(at) as codex:
        status = await codex.ask("mcpServerStatus/list")
        thread = (await codex.ask("thread/start", cwd=str(tmp_path), ephemeral=True))["thread"]["id"]
        to_wan = {"threadId": thread, "server": "wan"}
        begun = await codex.ask("mcpServer/tool/call", **to_wan, tool="generate_video", arguments=at.request)
        for seen in ways_of_seeing(begun):
            assert_begun(seen, at)
        task = {"task_id": at.task_id}
        done = await codex.ask("mcpServer/tool/call", **to_wan, tool="wait_for_task", arguments=task)
        for seen in ways_of_seeing(done):
            assert_done(seen, at)
        assert_refused(
            await codex.ask("mcpServer/tool/call", **to_wan, tool="generate_video", arguments=at.wrong)
        )
    (wan,) = status["data"]
    assert set(wan["tools"]) == set(NAMES)
    assert len(at.sandbox.records.paid) == 1


# Claude Code


async def test_claude_code_connects(tmp_path: Path) -> None:
    """Added as the README says, the server is shown as connected; a program that is no server is not."""
    claude = program("claude")
    async with scene(tmp_path) as at:
        settings = [part for name, value in at.server["env"].items() for part in ("-e", f"{name}={value}")]
        command = (at.server["command"], *at.server["args"])
        scope = ("--scope", "user")
        added = await run(claude, "mcp", "add", "wan", *scope, *settings, "--", *command, folder=tmp_path)
        dead = await run(claude, "mcp", "add", "dead", *scope, "--", command[0], "-c", "", folder=tmp_path)
        listed = await run(claude, "mcp", "list", folder=tmp_path)
    assert (added.code, dead.code, listed.code) == (0, 0, 0), added.said + dead.said + listed.said
    found = dict(re.findall(r"^(wan|dead): .* - (.*)$", listed.out, re.M))
    assert "Connected" in found["wan"], listed.said
    assert "Connected" not in found["dead"], listed.said


# Both agents


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_shows_a_model_all_it_needs(agent: str, tmp_path: Path) -> None:
    """A model that has every tool, and reads only what the agent shows, gets to a video's file."""
    async with scene(tmp_path) as at:
        with scripted() as model:
            model.begin("Make a video.", requesting(at.wrong, at.request))
            start = AGENTS[agent](at, model, "Make a video.")
            ended = await run(*start.command, folder=tmp_path, environ=start.environ)
        assert ended.code == 0, ended.said
        assert model.offered == set(NAMES)
        refused, begun, *_, done = model.seen
        assert_says_why(refused)
        assert_begun(begun, at)
        assert_done(done, at)
    assert len(at.sandbox.records.paid) == 1
