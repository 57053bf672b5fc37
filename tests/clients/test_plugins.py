"""The plugins and extensions in the clients they are made for: valid, installed, and their server connected.

A clone holds more than a package needs; what git ignores (such as ``.venv``) is not in the copies used here.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.app_server import app_server
from tests.clients.programs import Finished, let_uv_install, program, run
from tests.clients.scene import Scene, scene
from tests.packages.facts import NAME, ROOT, SERVER, files
from tests.world import KEY
from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PLUGIN = f"{NAME}@{NAME}"
SKILL = "wan-video"


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


async def answered(*command: str, folder: Path, environ: Mapping[str, str]) -> Finished:
    """What a command says that must succeed."""
    ran = await run(program(command[0]), *command[1:], folder=folder, environ=environ, seconds=120)
    assert ran.code == 0, ran.said
    return ran


def without_key(at: Scene) -> dict[str, str]:
    """The settings of the server, of which the key is given by the package."""
    let_uv_install(at.folder)
    return {name: value for name, value in at.server["env"].items() if name != "EVOLINK_API_KEY"}


async def test_the_claude_plugin_is_one_that_its_directory_takes(clone: str, tmp_path: Path) -> None:
    """By Claude Code's own validator, whose warnings are errors here."""
    await answered(
        *("claude", "plugin", "validate", "--strict", "--profile", "directory", clone),
        folder=tmp_path,
        environ={},
    )


@pytest.mark.parametrize("key", [KEY, ""], ids=["with a key", "without a key"])
async def test_the_claude_plugin_connects(clone: str, key: str, tmp_path: Path) -> None:
    """The key is kept by Claude Code and is optional; the skill comes with the plugin."""
    given = ("--config", f"api_key={key}") if key else ()
    async with scene(tmp_path) as at:
        to = {"folder": tmp_path, "environ": without_key(at)}
        await answered("claude", "plugin", "marketplace", "add", clone, **to)
        await answered("claude", "plugin", "install", PLUGIN, *given, **to)
        listed = await answered("claude", "mcp", "list", **to)
        details = await answered("claude", "plugin", "details", PLUGIN, **to)
    (line,) = [line for line in listed.out.splitlines() if f":{SERVER}:" in line]
    assert "Connected" in line, listed.said
    assert SKILL in details.out


async def test_the_codex_plugin_serves(clone: str, tmp_path: Path) -> None:
    """Installed from the marketplace that Claude Code reads; its server starts in the plugin's own folder."""
    async with scene(tmp_path) as at:
        to = {"folder": tmp_path, "environ": {**without_key(at), "EVOLINK_API_KEY": KEY}}
        await answered("codex", "plugin", "marketplace", "add", clone, **to)
        await answered("codex", "plugin", "add", PLUGIN, **to)
        async with app_server(**to) as codex:
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


async def test_the_gemini_extension_connects(clone: str, tmp_path: Path) -> None:
    """Valid and installed by Gemini's own commands; it has the server and the skill, and asks for the key."""
    async with scene(tmp_path) as at:
        to = {"folder": tmp_path, "environ": {**without_key(at), "GEMINI_CLI_TRUST_WORKSPACE": "true"}}
        await answered("gemini", "extensions", "validate", clone, **to)
        await answered("gemini", "extensions", "install", clone, "--consent", "--skip-settings", **to)
        listed = await answered("gemini", "extensions", "list", "--output-format", "json", **to)
        installed = tmp_path / ".gemini" / "extensions" / NAME
        # Gemini gives up on a server that does not start within a few seconds: uv installs it before.
        await answered("uv", "tool", "run", "--from", str(installed), NAME, "--version", **to)
        servers = await answered("gemini", "mcp", "list", **to)
    ((extension),) = json.loads(listed.out)
    assert (extension["name"], extension["version"]) == (NAME, __version__)
    assert [skill["name"] for skill in extension["skills"]] == [SKILL]
    assert [setting["envVar"] for setting in extension["settings"]] == ["EVOLINK_API_KEY"]
    (line,) = [
        line for line in (servers.out + servers.err).splitlines() if f" {SERVER} (from {NAME})" in line
    ]
    assert line.endswith(" - Connected"), servers.said
