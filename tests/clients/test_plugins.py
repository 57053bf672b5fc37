"""The plugins and extensions in the clients they are made for: valid, installed, and their server connected.

A clone holds more than a package needs; what git ignores (such as ``.venv``) is not in the copies used here.
"""

import json
import re
import shlex
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.clients.app_server import app_server
from tests.clients.programs import let_uv_install, listed_by_gemini, succeed
from tests.clients.scene import Scene, scene
from tests.packages.client_table import CLIENTS, CLONE
from tests.packages.facts import NAME, ROOT, SERVER, files
from tests.world import KEY
from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLUGIN = f"{NAME}@{NAME}"
SKILL = "wan-video"
COMMANDS = {client.name: client.plugin.splitlines() for client in CLIENTS}
"""How the README says to install the package."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The repository as somebody has it who has just cloned it."""
    folder = tmp_path_factory.mktemp("clone")
    for file in files():
        copy = folder / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return str(folder)


async def install(client: str, clone: str, do: Callable[..., Awaitable[object]], *more: str) -> None:
    """Run the README's commands, the last one with more arguments, which spare it a question."""
    *first, last = [shlex.split(line.replace(CLONE, clone)) for line in COMMANDS[client]]
    for command in first:
        await do(*command)
    await do(*last, *more)


def without_key(at: Scene) -> dict[str, str]:
    """The settings of the server, of which the key is given by the package."""
    let_uv_install(at.folder)
    return {name: value for name, value in at.server["env"].items() if name != "EVOLINK_API_KEY"}


async def test_the_claude_plugin_is_one_that_its_directory_takes(clone: str, tmp_path: Path) -> None:
    """By Claude Code's own validator, whose warnings are errors here."""
    await succeed(
        *("claude", "plugin", "validate", "--strict", "--profile", "directory", clone), folder=tmp_path
    )


@pytest.mark.parametrize("key", [KEY, ""], ids=["with a key", "without a key"])
async def test_the_claude_plugin_connects(clone: str, key: str, tmp_path: Path) -> None:
    """The key is kept by Claude Code and is optional; the skill comes with the plugin."""
    given = ("--config", f"api_key={key}") if key else ()
    async with scene(tmp_path) as at:
        environ = without_key(at)
        do = partial(succeed, folder=tmp_path, environ=environ)
        await install("Claude Code", clone, do, *given)
        listed = await do("claude", "mcp", "list")
        details = await do("claude", "plugin", "details", PLUGIN)
    assert re.search(rf"^plugin:{NAME}:{SERVER}: .* - ✔ Connected$", listed.out, re.M), listed.said
    assert SKILL in details.out


async def test_the_codex_plugin_serves(clone: str, tmp_path: Path) -> None:
    """Installed from the marketplace that Claude Code reads; its server starts in the plugin's own folder."""
    async with scene(tmp_path) as at:
        environ = {**without_key(at), "EVOLINK_API_KEY": KEY}
        do = partial(succeed, folder=tmp_path, environ=environ)
        await install("Codex", clone, do)
        async with app_server(tmp_path, environ) as codex:
            status = await codex.ask("mcpServerStatus/list")
            skills = await codex.ask("skills/list", cwds=[str(tmp_path)])
            thread = (await codex.ask("thread/start", cwd=str(tmp_path), ephemeral=True))["thread"]["id"]
            credits = await codex.ask(
                "mcpServer/tool/call", threadId=thread, server=SERVER, tool="get_credits", arguments={}
            )
    (wan,) = status["data"]
    assert wan["serverInfo"]["version"] == __version__
    assert set(wan["tools"]) == {tool.name for tool in TOOLS}
    assert f"{NAME}:{SKILL}" in [skill["name"] for found in skills["data"] for skill in found["skills"]]
    assert "credits" in credits["content"][0]["text"]
    assert not credits["isError"]


@pytest.mark.timeout(300)
async def test_the_gemini_extension_connects(clone: str, tmp_path: Path) -> None:
    """Valid and installed by Gemini's own commands; it has the server and the skill, and asks for the key."""
    async with scene(tmp_path) as at:
        environ = {**without_key(at), "GEMINI_CLI_TRUST_WORKSPACE": "true"}
        do = partial(succeed, folder=tmp_path, environ=environ)
        await do("gemini", "extensions", "validate", clone)
        await install("Gemini CLI", clone, do, "--consent", "--skip-settings")
        listed = await do("gemini", "extensions", "list", "--output-format", "json")
        installed = tmp_path / ".gemini" / "extensions" / NAME
        # Gemini's list does not wait until uv has installed a server.
        await do("uv", "tool", "run", "--from", str(installed), NAME, "--version")
        servers = await listed_by_gemini(tmp_path, environ)
    (extension,) = json.loads(re.findall(r"^\[.*^\]$", listed.printed, re.M | re.S)[0])
    assert (extension["name"], extension["version"]) == (NAME, __version__)
    assert [skill["name"] for skill in extension["skills"]] == [SKILL]
    assert [setting["envVar"] for setting in extension["settings"]] == ["EVOLINK_API_KEY"]
    assert re.search(rf" {SERVER} \(from {NAME}\): .* - Connected$", servers, re.M), servers
