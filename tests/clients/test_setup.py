"""`wan-mcp setup` and the real clients: what it writes is what they read, and what they write is removed."""

import json
import sys
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.programs import Finished, program, run
from tests.world import KEY
from wan_mcp.cli.installation import own_command
from wan_mcp.sandbox import Sandbox, running

pytestmark = pytest.mark.anyio

OWN = " ".join(own_command())
LISTED = {
    "claude-code": f"wan: {OWN}  - ✔ Connected",
    "codex": OWN,
    "gemini": f"wan: {OWN}  (stdio)",
}
"""What the client's own list says of a server of its."""
COMMANDS = {"claude-code": "claude", "codex": "codex", "gemini": "gemini"}
FILES = {"claude-code": ".claude.json", "codex": ".codex/config.toml", "gemini": ".gemini/settings.json"}
COMMENTED = '{\n  // mine\n  "mcpServers": {\n    "other": {"command": "nothing"} // theirs\n  }\n}\n'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Home:
    """An empty home, and a sandbox in the place of the API."""

    folder: Path
    url: str

    async def setup(self, *arguments: str, **environ: str) -> Finished:
        """The command without questions; the key is in its environment and nowhere else."""
        api = {"EVOLINK_BASE_URL": self.url, "EVOLINK_FILES_URL": self.url, "EVOLINK_API_KEY": KEY}
        command = (sys.executable, "-m", "wan_mcp", "setup", "--yes", *arguments)
        return await run(*command, folder=self.folder, environ=api | environ)

    async def listed(self, name: str) -> str:
        """What the client says of its servers, on one line each."""
        ended = await run(program(COMMANDS[name]), "mcp", "list", folder=self.folder)
        assert ended.code == 0, ended.said
        return f"{ended.out}\n{ended.err}"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with running(Sandbox(key=KEY)) as url:
        yield Home(tmp_path, url)


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_client_has_the_server_until_undo(name: str, home: Home) -> None:
    """Written by its own command, listed by itself; the key is in the key file alone."""
    program(COMMANDS[name])
    written = await home.setup("--client", name)
    assert written.code == 0, written.said
    assert f"By the command: {COMMANDS[name]} mcp add" in written.out
    assert LISTED[name] in await home.listed(name)
    again = await home.setup("--client", name)
    assert "Already set up." in again.out
    removed = await home.setup("--client", name, "--undo")
    assert removed.code == 0, removed.said
    assert OWN not in await home.listed(name)
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == ["key.json"]


async def test_a_key_in_the_configuration_of_codex_goes_into_the_key_file(home: Home) -> None:
    """Its own command writes the entry anew, without it."""
    program("codex")
    file = home.folder / FILES["codex"]
    file.parent.mkdir()
    entry = f'[mcp_servers.wan]\ncommand = "/old/wan-mcp"\nenv = {{EVOLINK_API_KEY = "{KEY}"}}\n'
    file.write_text(f'model = "x"\n{entry}')
    written = await home.setup("--client", "codex", EVOLINK_API_KEY="")
    assert written.code == 0, written.said
    assert tomllib.loads(file.read_text()) == {
        "model": "x",
        "mcp_servers": {"wan": {"command": own_command()[0]}},
    }
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == ["key.json"]


@pytest.mark.parametrize("name", ["claude-code", "gemini"])
async def test_a_file_that_was_edited_is_read_by_its_client(name: str, home: Home) -> None:
    """Where its command is not found: as if the client had written it, and comments stay."""
    program(COMMANDS[name])
    file = home.folder / FILES[name]
    file.parent.mkdir(exist_ok=True)
    before = COMMENTED if name == "gemini" else '{"numStartups": 3}'
    file.write_text(before)
    (home.folder / "nothing").mkdir()
    nowhere = str(home.folder / "nothing")
    written = await home.setup("--client", name, PATH=nowhere)
    assert written.code == 0, written.said
    assert "By the command" not in written.out
    assert LISTED[name] in await home.listed(name)
    removed = await home.setup("--client", name, "--undo", PATH=nowhere)
    assert removed.code == 0, removed.said
    assert OWN not in await home.listed(name)
    if name == "gemini":
        assert file.read_text() == COMMENTED
    else:
        assert json.loads(file.read_text())["numStartups"] == 3
