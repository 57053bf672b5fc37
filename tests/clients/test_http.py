"""Real clients over HTTP: the command ``wan-mcp http`` as a process, in both modes, and the sandbox."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.agents import AGENTS
from tests.clients.model import requesting, scripted
from tests.clients.programs import Finished, program, run
from tests.clients.scene import Scene, assert_begun, assert_refused, scene, ways_of_seeing
from tests.clients.test_clients import ERAS, TOOL_ERROR
from tests.server.http.hosted import oauth_settings
from tests.server.http.issuer import LiveIssuer, live_issuer
from tests.server.http.live import live_at
from tests.world import KEY, picture
from wan_mcp.generation.owners import OWN_KEYS
from wan_mcp.server.tools import tools_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAMES = [tool.name for tool in tools_for(OWN_KEYS)]
PICTURE = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
WRONG = "sk-wrong-0123456789abcdef"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Remote(Scene):
    """A scene whose server is another machine's, as far as a client can tell."""

    address: str = ""

    @property
    def server(self) -> dict[str, Any]:
        return {"type": "http", "url": self.address, "headers": {"Authorization": f"Bearer {KEY}"}}

    @property
    def request(self) -> dict[str, Any]:
        return {"prompt": "Mist drifts.", "image_urls": [PICTURE]}

    @property
    def link(self) -> str:
        """How the link to the video begins that the server keeps."""
        return f"{self.address.removesuffix('/mcp')}/videos/"


@asynccontextmanager
async def remote(folder: Path, **settings: str) -> AsyncIterator[Remote]:
    async with scene(folder) as at, live_at(at.url, folder, **settings) as server:
        yield Remote(at.sandbox, at.url, folder, {}, f"{server.url}/mcp")


@asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[tuple[Remote, LiveIssuer]]:
    """The same, but a token of the issuer tells who calls, and one account pays."""
    with live_issuer() as issuer:
        settings = {"EVOLINK_API_KEY": KEY, "WAN_MCP_TOTAL_DAILY_CREDITS": "100"}
        async with remote(folder, **oauth_settings(issuer.address) | settings) as at:
            yield at, issuer


def assert_done_there(seen: str, at: Remote) -> None:
    """The status, the link, its end, how long it is kept, and the price; and nothing of the server's disk."""
    for fact in (at.task_id, "completed", at.link, "works until", "keeps it until", "25.5"):
        assert fact in seen
    assert str(at.folder) not in seen
    assert "save_video" not in seen


# The Inspector's command line


async def inspect(at: Remote, era: str, *arguments: str, key: str = KEY) -> Finished:
    there = ("--transport", "http", "--server-url", at.address, "--header", f"Authorization: Bearer {key}")
    command = (program("mcp-inspector"), "--cli", *there, "--protocol-era", era, "--format", "json")
    return await run(*command, *arguments, folder=at.folder)


async def inspect_call(
    at: Remote, era: str, tool: str, arguments: dict[str, Any], key: str = KEY
) -> Finished:
    named = ("--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    return await inspect(at, era, "--method", "tools/call", *named, key=key)


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_makes_a_video_over_http(era: str, tmp_path: Path) -> None:
    """The tools; then a video from request to link; a wrong key gets nothing."""
    async with remote(tmp_path) as at:
        listed = await inspect(at, era, "--method", "tools/list", "--strict")
        begun = await inspect_call(at, era, "generate_video", at.request)
        done = await inspect_call(at, era, "wait_for_task", {"task_id": at.task_id})
        refused = await inspect_call(at, era, "generate_video", at.wrong)
        stranger = await inspect(at, era, "--method", "tools/list", key=WRONG)
    assert [tool["name"] for tool in json.loads(listed.out)["result"]["tools"]] == NAMES
    for seen in ways_of_seeing(json.loads(begun.out)["result"]):
        assert_begun(seen, at)
    for seen in ways_of_seeing(json.loads(done.out)["result"]):
        assert_done_there(seen, at)
    assert_refused(json.loads(refused.out)["result"])
    assert (listed.code, begun.code, done.code, refused.code) == (0, 0, 0, TOOL_ERROR)
    assert stranger.code not in (0, TOOL_ERROR)
    assert '"auth_required"' in stranger.err
    assert len(at.sandbox.records.paid) == 1


# fastmcp's command line


async def fastmcp(at: Remote, command: str, *arguments: str, key: str = KEY) -> Finished:
    there = (at.address, *arguments, "--auth", key, "--json")
    return await run(program("fastmcp"), command, *there, folder=at.folder)


async def test_fastmcp_makes_a_video_over_http(tmp_path: Path) -> None:
    """As the Inspector does."""
    async with remote(tmp_path) as at:
        listed = await fastmcp(at, "list")
        begun = await fastmcp(at, "call", "generate_video", "--input-json", json.dumps(at.request))
        done = await fastmcp(at, "call", "wait_for_task", f"task_id={at.task_id}")
        stranger = await fastmcp(at, "list", key=WRONG)
    assert [tool["name"] for tool in json.loads(listed.out)["tools"]] == NAMES
    for seen in ways_of_seeing(json.loads(begun.out)):
        assert_begun(seen, at)
    for seen in ways_of_seeing(json.loads(done.out)):
        assert_done_there(seen, at)
    assert (listed.code, begun.code, done.code, stranger.code) == (0, 0, 0, 1)
    assert len(at.sandbox.records.paid) == 1


# Claude Code


async def test_claude_code_connects_over_http(tmp_path: Path) -> None:
    """Added as the README says, it is connected; with a wrong key it is not, and says that it is the key."""
    claude = program("claude")
    async with remote(tmp_path) as at:
        for name, key in (("wan", KEY), ("stranger", WRONG)):
            place = ("--transport", "http", name, at.address, "--scope", "user")
            added = await run(
                claude, "mcp", "add", *place, "--header", f"Authorization: Bearer {key}", folder=tmp_path
            )
            assert added.code == 0, added.said
        listed = await run(claude, "mcp", "list", folder=tmp_path)
    found = dict(re.findall(r"^(wan|stranger): .*? - (.*)$", listed.out, re.M))
    assert found["wan"].endswith("Connected"), listed.said
    assert "Failed to connect" in found["stranger"], listed.said
    assert "HTTP 401" in found["stranger"], listed.said


async def test_claude_code_shows_a_model_all_it_needs_over_http(tmp_path: Path) -> None:
    """A model that reads only what the agent shows gets from the user's words to the link of the video."""
    async with remote(tmp_path) as at:
        with scripted() as model:
            model.begin("Make a video.", requesting(at.request))
            start = AGENTS["claude-code"](at, model, "Make a video.")
            ended = await run(*start.command, folder=tmp_path, environ=start.environ)
        assert ended.code == 0, ended.said
        assert model.offered == set(NAMES)
        begun, *_, done = model.seen
        assert_begun(begun, at)
        assert_done_there(done, at)
        assert at.link in ended.out
    assert len(at.sandbox.records.paid) == 1


# One account for all callers


async def test_two_callers_in_two_clients_cannot_see_each_other_s_tasks(tmp_path: Path) -> None:
    """Alice makes one with the Inspector. For Bob, in fastmcp, her task looks like one that nobody has."""
    async with shared(tmp_path) as (at, issuer):
        alice, bob = issuer.token(sub="alice"), issuer.token(sub="bob")
        begun = await inspect_call(at, "modern", "generate_video", at.request, key=alice)
        invented = at.task_id[:-4] + "none"
        done = await inspect_call(at, "modern", "wait_for_task", {"task_id": at.task_id}, key=alice)
        seen = await fastmcp(at, "call", "list_tasks", key=bob)
        reads = at.sandbox.records.reads
        hers = await fastmcp(at, "call", "get_task", f"task_id={at.task_id}", key=bob)
        nobodys = await fastmcp(at, "call", "get_task", f"task_id={invented}", key=bob)
        assert at.sandbox.records.reads == reads
    assert (begun.code, done.code, seen.code) == (0, 0, 0), begun.said + done.said + seen.said
    assert json.loads(done.out)["result"]["structuredContent"]["status"] == "completed"
    assert json.loads(seen.out)["structured_content"]["tasks"] == []
    assert (hers.code, nobodys.code) == (1, 1)
    assert hers.out.replace(at.task_id, invented) == nobodys.out
    assert len(at.sandbox.records.paid) == 1


async def test_claude_code_signs_in_where_the_server_says_who_issues_tokens(tmp_path: Path) -> None:
    """With a token it is connected; without one it finds the issuer, and asks the user to sign in there."""
    claude = program("claude")
    async with shared(tmp_path) as (at, issuer):
        token = ("--header", f"Authorization: Bearer {issuer.token()}")
        for name, header in (("wan", token), ("stranger", ())):
            place = ("--transport", "http", name, at.address, "--scope", "user")
            added = await run(claude, "mcp", "add", *place, *header, folder=tmp_path)
            assert added.code == 0, added.said
        listed = await run(claude, "mcp", "list", folder=tmp_path)
        assert any("/.well-known/" in path for path in issuer.asked)
    found = dict(re.findall(r"^(wan|stranger): .*? - (.*)$", listed.out, re.M))
    assert found["wan"].endswith("Connected"), listed.said
    assert "Needs authentication" in found["stranger"], listed.said
