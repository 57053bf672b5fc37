"""What the tests of `wan-mcp setup` begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from tests.cli.setup.homes import FILES, SERVERS, write
from tests.world import KEY
from wan_mcp.sandbox import Sandbox, running


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """A sandbox that knows the key, at an address of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running(Sandbox(key=KEY))) as url,
    ):
        yield url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str) -> Path:
    """An empty home, in which no program of a client is found."""
    folder = tmp_path / "home"
    programs = tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "WAN_MCP_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("EVOLINK_BASE_URL", api)
    monkeypatch.setenv("EVOLINK_FILES_URL", api)
    monkeypatch.setenv("EVOLINK_API_KEY", "")
    return folder


@pytest.fixture
def everything(home: Path) -> Path:
    """A home with the configurations of all clients but Codex, each with a server that is not ours."""
    for name, file in FILES.items():
        write(home / file, {SERVERS.get(name, "mcpServers"): {"other": {"command": "x"}}, "theme": "dark"})
    return home
