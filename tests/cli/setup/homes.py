"""A home with the configurations of clients, and `wan-mcp setup` in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.world import KEY
from wan_mcp.cli import commands
from wan_mcp.cli.installation import own_command
from wan_mcp.settings import Settings

OWN = own_command()[0]
ENTRY = {"command": OWN, "args": []}
FILES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "zed": ".config/zed/settings.json",
}
"""Of the clients whose configuration is JSON, below the home."""
SERVERS = {"vscode": "servers", "zed": "context_servers"}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")
    return path


def run(*arguments: str, typed: str | None = None, **environ: str) -> Result:
    """The command; with something typed, in a terminal. The canary is nowhere in what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "_is_terminal", lambda: typed is not None)
        result = CliRunner(env=environ).invoke(commands.commands, ["setup", *arguments], input=typed)
    assert KEY not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def words(result: Result) -> str:
    return " ".join(result.output.split())


def kept() -> str | None:
    key = Settings.load().api_key
    return key.get_secret_value() if key else None


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file below the home."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def assert_key_is_only_in_its_file(home: Path) -> None:
    holding = [name for name, content in snapshot(home).items() if KEY.encode() in content]
    assert holding == [".local/share/wan-mcp/key.json"]


def backups(home: Path) -> list[Path]:
    folder = home / ".local/share/wan-mcp/backups"
    return sorted(folder.iterdir()) if folder.exists() else []


def servers(home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / FILES[name]).read_text("utf-8"))[
        SERVERS.get(name, "mcpServers")
    ]
    return found
