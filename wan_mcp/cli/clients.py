"""The MCP clients that ``wan-mcp setup`` knows: where their configuration is, and how it is changed."""

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import SecretStr

from wan_mcp.cli import jsonc
from wan_mcp.cli.installation import is_own
from wan_mcp.errors import ConfigurationError
from wan_mcp.evolink.redaction import SHORT
from wan_mcp.settings import Settings, usable_key

NAME = "wan"
"""Of the server in every configuration."""
KEY = "EVOLINK_API_KEY"
PLACES = ("EVOLINK_BASE_URL", "EVOLINK_FILES_URL", "WAN_MCP_DATA_DIR")
"""What decides to whom a key is sent, and where it is kept."""
REMOVED = "removed-by-wan-mcp-setup"
"""What stands in a copy in the place of the key."""


@dataclass(frozen=True)
class Entry:
    """What a configuration says of a server with our name."""

    value: Any

    @property
    def is_ours(self) -> bool:
        """Whether it starts wan-mcp, in this installation or in another one."""
        return isinstance(self.value, dict) and is_own(self.value.get("command"), self.value.get("args"))

    @property
    def command(self) -> list[str]:
        """Command and arguments, of an entry that is ours."""
        args = self.value.get("args")
        return [self.value["command"], *map(str, args if isinstance(args, list) else [])]

    @property
    def key(self) -> str | None:
        """The key that it sets, also one that cannot be used; not a placeholder that the client fills in."""
        env = self.value.get("env")
        key = env.get(KEY) if isinstance(env, dict) else None
        try:
            return key.strip() if isinstance(key, str) and usable_key(key.strip()) else None
        except ValueError:
            return str(key)

    def is_elsewhere(self, settings: Settings) -> bool:
        """Whether it names other addresses or another data folder, with which the kept key is not used."""
        env = self.value.get("env")
        own = {name: str(env[name]) for name in PLACES if env.get(name)} if isinstance(env, dict) else {}
        usual = zip(PLACES, map(str, settings.key_places), strict=True)
        return Settings.load(dict(usual) | own).key_places != settings.key_places

    @property
    def has_more(self) -> bool:
        """Whether it has settings of the user, beside the key."""
        env = self.value.get("env") or {}
        is_key_alone = isinstance(env, dict) and set(env) <= {KEY}
        return not is_key_alone or not set(self.value) <= {"command", "args", "env"}


@dataclass(frozen=True)
class Client:
    """A program that starts MCP servers."""

    name: str
    """As one types it."""
    title: str
    path: Path
    """Its configuration for all projects of the user."""
    servers: str = "mcpServers"
    """The part of the configuration that has the servers."""
    signs: tuple[Path, ...] = ()
    """Files and folders that are there if it is installed."""
    programs: tuple[str, ...] = ()
    """Its commands; the first one changes the configuration, where there are arguments for that."""
    adding: tuple[str, ...] = ()
    removing: tuple[str, ...] = ()

    @property
    def is_toml(self) -> bool:
        """Whether its configuration is TOML, which only its own command changes."""
        return self.path.suffix == ".toml"

    @property
    def is_installed(self) -> bool:
        """Whether there are signs of it on this machine."""
        there = any(os.access(path, os.F_OK) for path in (self.path, *self.signs))
        return there or any(map(shutil.which, self.programs))

    def entry(self, text: str | None) -> Entry | None:
        """What the configuration says of a server with our name.

        Raises:
            ConfigurationError: when it cannot be understood.
        """
        try:
            document = (tomllib.loads if self.is_toml else jsonc.read)(text or "")
        except ValueError as error:
            kind = "TOML" if self.is_toml else "JSON"
            raise ConfigurationError(f"the file is not {kind} ({error})") from None
        servers = document.get(self.servers, {}) if isinstance(document, dict) else None
        if not isinstance(servers, dict):
            raise ConfigurationError(f'the file has something else where "{self.servers}" should be')
        return Entry(servers[NAME]) if NAME in servers else None

    def added(self, text: str | None, command: Sequence[str], *, keep_key: bool = False) -> str:
        """The configuration with this command for our server; all else in its entry stays, but the key.

        Raises:
            ConfigurationError: when it cannot be changed without changing something else.
        """
        entry = self.entry(text)
        at = (self.servers, NAME)
        wanted = {"command": command[0], "args": list(command[1:])}
        try:
            if entry is None:
                return jsonc.put(text or "", at, wanted)
            text = text or ""
            for name, value in wanted.items():
                if entry.value.get(name, []) != value:
                    text = jsonc.put(text, (*at, name), value)
            if entry.key is not None and not keep_key:
                text = jsonc.cut(text, (*at, "env", KEY))
            return text
        except ValueError as error:
            raise self._unchangeable(error) from None

    def removed(self, text: str) -> str:
        """The configuration without our server.

        Raises:
            ConfigurationError: when it cannot be changed without changing something else.
        """
        try:
            return jsonc.cut(text, (self.servers, NAME))
        except ValueError as error:
            raise self._unchangeable(error) from None

    def without_key(self, text: str, kept: SecretStr | None) -> str:
        """The configuration for a copy, without the key that is kept and without the key of our server.

        Raises:
            ConfigurationError: when the key cannot be taken out of it.
        """
        entry = self.entry(text)
        key = entry.key if entry and entry.is_ours else None
        bare = text
        # An entry of another name, or one for a single project, can have the same keys.
        for known in (key, kept.get_secret_value() if kept else None):
            bare = bare.replace(known, REMOVED) if known and len(known) >= SHORT else bare
        if key is None:
            return bare
        try:
            bare = bare if self.is_toml else jsonc.put(bare, (self.servers, NAME, "env", KEY), REMOVED)
        except ValueError as error:
            raise self._unchangeable(error) from None
        left = self.entry(bare)
        if left is None or left.key == key:
            raise ConfigurationError("no copy without the key can be made of it")
        return bare

    def adding_command(self, command: Sequence[str]) -> list[str] | None:
        """The client's own command that adds our server; None where it has none that is installed."""
        if not self.adding or (command[1:] and self.adding[-1] != "--"):
            return None  # options in the command would be taken for those of the client
        program = shutil.which(self.programs[0])
        return [program, *self.adding, *command] if program else None

    def removing_command(self) -> list[str] | None:
        """The client's own command that removes our server; None where it has none that is installed."""
        program = shutil.which(self.programs[0]) if self.removing else None
        return [program, *self.removing] if program else None

    def by_hand(self, command: Sequence[str]) -> str:
        """What a person adds to the configuration, where it is not changed by itself."""
        first, args = json.dumps(command[0], ensure_ascii=False), json.dumps(command[1:], ensure_ascii=False)
        if self.is_toml:
            rest = f"\nargs = {args}" if command[1:] else ""
            return f"[{self.servers}.{NAME}]\ncommand = {first}{rest}"
        return f'"{self.servers}": {{\n  "{NAME}": {{\n    "command": {first},\n    "args": {args}\n  }}\n}}'

    def _unchangeable(self, error: ValueError) -> ConfigurationError:
        return ConfigurationError(f"the file cannot be changed safely ({error})")


def all_clients(environ: Mapping[str, str] = os.environ) -> list[Client]:
    """Every client that is known, installed or not."""
    home = Path.home()
    claude = Path(environ["CLAUDE_CONFIG_DIR"]) if environ.get("CLAUDE_CONFIG_DIR") else None
    codex = Path(environ.get("CODEX_HOME") or home / ".codex")
    desktop, code = (user_config_path(name, appauthor=False, roaming=True) for name in ("Claude", "Code"))
    zed = user_config_path("Zed" if sys.platform == "win32" else "zed", appauthor=False, roaming=True)
    if sys.platform == "darwin":
        zed = home / ".config" / "zed"
    windsurf = home / ".codeium" / "windsurf"
    return [
        Client("claude-desktop", "Claude Desktop", desktop / "claude_desktop_config.json", signs=(desktop,)),
        Client(
            "claude-code",
            "Claude Code",
            (claude or home) / ".claude.json",
            signs=(claude or home / ".claude",),
            programs=("claude",),
            adding=("mcp", "add", NAME, "--scope", "user", "--"),
            removing=("mcp", "remove", NAME, "--scope", "user"),
        ),
        Client(
            "cursor",
            "Cursor",
            home / ".cursor" / "mcp.json",
            signs=(home / ".cursor",),
            programs=("cursor",),
        ),
        # Its command can add a server, but not remove it, nor say what is there.
        Client(
            "vscode",
            "VS Code",
            code / "User" / "mcp.json",
            "servers",
            signs=(code / "User",),
            programs=("code",),
        ),
        Client(
            "codex",
            "Codex",
            codex / "config.toml",
            "mcp_servers",
            signs=(codex,),
            programs=("codex",),
            adding=("mcp", "add", NAME, "--"),
            removing=("mcp", "remove", NAME),
        ),
        Client(
            "gemini",
            "Gemini CLI",
            home / ".gemini" / "settings.json",
            signs=(home / ".gemini",),
            programs=("gemini",),
            adding=("mcp", "add", "--scope", "user", NAME),
            removing=("mcp", "remove", "--scope", "user", NAME),
        ),
        Client(
            "windsurf",
            "Windsurf",
            windsurf / "mcp_config.json",
            signs=(windsurf,),
            programs=("windsurf",),
        ),
        Client(
            "zed", "Zed", zed / "settings.json", "context_servers", signs=(zed,), programs=("zed", "zeditor")
        ),
    ]
