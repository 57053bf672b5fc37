"""What the README tells a user to run or to paste, run and pasted: each client starts the server by it.

``wan-mcp`` is on the PATH here, as it is after the installation.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.app_server import app_server
from tests.clients.programs import PATH, let_uv_install, listed_by_gemini, succeed
from tests.packages.client_table import CLONE
from tests.packages.facts import COMMAND, ROOT, SERVER
from wan_mcp import __version__

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

README = (ROOT / "README.md").read_text("utf-8")
INSTALLED = {"PATH": f"{Path(sys.executable).parent}:{PATH}", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
AGENTS = {"claude": "Claude Code", "codex": "Codex", "gemini": "Gemini CLI"}
WAYS = ["by its command", "by hand"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def code(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)\n```$", text, re.M | re.S)


def section(client: str = "") -> str:
    """The README's section for clients, or its block for one of them."""
    (clients,) = re.findall(r"<!-- clients -->(.*)<!-- end of clients -->", README, re.S)
    blocks = dict(re.findall(r"<summary><b>(.*?)</b></summary>(.*?)</details>", clients, re.S))
    return str(blocks[client] if client else clients)


async def add(agent: str, way: str, home: Path) -> None:
    """Do what the README says, with the client's configuration in ``home``."""
    block = section(AGENTS[agent])
    if way == "by its command":
        name, *arguments = shlex.split(code("sh", block)[0])
        assert name == agent
        await succeed(name, *arguments, folder=home, environ=INSTALLED)
        return
    (file,) = re.findall(r"^By hand, in `~/([^`]+)`", block, re.M)
    pasted = code("toml", block) or code("json", section())
    (home / file).parent.mkdir(exist_ok=True)
    (home / file).write_text(pasted[0])


@pytest.mark.parametrize("way", WAYS)
async def test_claude_code_connects(way: str, tmp_path: Path) -> None:
    """Also without a key: the server starts, and says what is missing only when it is asked to work."""
    await add("claude", way, tmp_path)
    listed = await succeed("claude", "mcp", "list", folder=tmp_path, environ=INSTALLED)
    assert re.search(rf"^{SERVER}: {COMMAND}\s+- ✔ Connected$", listed.out, re.M), listed.said


@pytest.mark.parametrize("way", WAYS)
async def test_gemini_connects(way: str, tmp_path: Path) -> None:
    """In a trusted folder."""
    await add("gemini", way, tmp_path)
    listed = await listed_by_gemini(tmp_path, INSTALLED)
    assert re.search(rf" {SERVER}: {COMMAND}\s+\(stdio\) - Connected$", listed, re.M), listed


@pytest.mark.parametrize("way", WAYS)
async def test_codex_starts_the_server(way: str, tmp_path: Path) -> None:
    """Its list does not connect, so its app server is asked."""
    await add("codex", way, tmp_path)
    async with app_server(tmp_path, INSTALLED) as codex:
        (wan,) = (await codex.ask("mcpServerStatus/list"))["data"]
    assert (wan["name"], wan["serverInfo"]["version"]) == (SERVER, __version__)


async def test_the_command_that_installs_ahead_runs(tmp_path: Path) -> None:
    """The command that the README gives for a slow first start, with the clone in its place."""
    let_uv_install(tmp_path)
    (command,) = re.findall(r"`(uv tool run [^`]+)`", section())
    name, *arguments = shlex.split(command.replace(CLONE, str(ROOT)))
    ran = await succeed(name, *arguments, folder=tmp_path)
    assert ran.out.strip().endswith(__version__)


async def test_a_clone_that_was_updated_starts_its_new_version(tmp_path: Path) -> None:
    """The packages start the server by uv, which keeps what it built: not beyond a change of the program."""
    let_uv_install(tmp_path)
    command = ("uv", "tool", "run", "--from", str(tmp_path), COMMAND, "--version")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "wan_mcp", tmp_path / "wan_mcp", ignore=shutil.ignore_patterns("__pycache__"))
    version = tmp_path / "wan_mcp" / "__init__.py"
    for expected in (__version__, f"{__version__}.post1"):
        version.write_text(version.read_text().replace(f'"{__version__}"', f'"{expected}"'))
        ran = await succeed(*command, folder=tmp_path)
        assert ran.out.strip().endswith(f" {expected}"), ran.said
