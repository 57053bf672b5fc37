"""The clients that the README tells how to add the server to."""

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

from tests.packages.facts import COMMAND, DESCRIPTION, KEY, NAME, SERVER, TITLE
from tests.packages.manifests import CALL_SECONDS

ENTRY = {"command": COMMAND}
CLONE = "/path/to/clone"


SHARED = json.dumps({"mcpServers": {SERVER: ENTRY}})
"""What most clients take."""
NAMED = json.dumps({"name": SERVER, **ENTRY}, separators=(",", ":"))
"""What VS Code takes."""


def base64_link(page: str) -> str:
    """A page that opens the client, with the entry in Base64: GitHub removes links that are not https."""
    config = base64.b64encode(json.dumps(ENTRY, separators=(",", ":")).encode()).decode()
    return f"{page}?name={SERVER}&config={quote(config, safe='')}"


def redirected_link(page: str, scheme: str) -> str:
    """A page that goes on to a link of the client, which has the entry in it."""
    return f"{page}?url={quote(f'{scheme}?{quote(NAMED, safe=str())}', safe='')}"


@dataclass(frozen=True)
class Client:
    """One client, by its own documentation; what was run here says so."""

    name: str
    place: str
    """Where its configuration is; empty where its command is all that is needed."""
    log: str = ""
    """Where to look if the server does not start; empty where its documentation does not say."""
    tried: str = ""
    """The version that was run, if any."""
    link: str = ""
    command: str = ""
    kind: str = ""
    """The language of ``snippet``; without it, the client takes the shared JSON."""
    snippet: str = ""
    package: str = "Or as a plugin with the skill, from the clone"
    plugin: str = ""
    """Commands that install or make the package for this client; ``package`` introduces them."""
    note: str = ""


CODEX_TOML = f"""\
[mcp_servers.{SERVER}]
command = "{COMMAND}"
startup_timeout_sec = 20
tool_timeout_sec = {CALL_SECONDS}"""
GOOSE_YAML = f"""\
extensions:
  {SERVER}:
    name: {TITLE}
    description: {DESCRIPTION}
    type: stdio
    cmd: {COMMAND}
    args: []
    enabled: true
    timeout: 300"""

CLIENTS = (
    Client(
        "Claude Desktop",
        "`claude_desktop_config.json` (Settings → Developer → Edit Config)",
        "`~/Library/Logs/Claude/mcp-server-wan.log` (on Windows `%APPDATA%\\Claude\\logs`)",
        plugin=f"npx -y @anthropic-ai/mcpb pack {CLONE} {NAME}.mcpb",
        package="Or make a desktop extension of the clone and open it; Claude Desktop asks for the key",
        note="The desktop extension was packed and started, but not in Claude Desktop.",
    ),
    Client(
        "Claude Code",
        "`~/.claude.json`",
        "`claude mcp list`, `/mcp`, and `~/.cache/claude-cli-nodejs/<folder>/mcp-logs-wan` (Linux)",
        tried="2.1.331",
        command=f"claude mcp add {SERVER} --scope user -- {COMMAND}",
        plugin=f"claude plugin install {NAME} --marketplace {CLONE}",
        note=(
            "The plugin is read from the clone: keep it where it is. It takes the key that setup keeps, or "
            f"the one that you give it in `/plugin configure {NAME}@{NAME}`; it does not take the key of "
            "your shell."
        ),
    ),
    Client(
        "Cursor",
        "`~/.cursor/mcp.json`, or `.cursor/mcp.json` in a project",
        "the Output panel → MCP Logs",
        link=base64_link("https://cursor.com/install-mcp"),
        note="The clone holds a plugin for Cursor as well, with the skill.",
    ),
    Client(
        "VS Code",
        "the file that *MCP: Open User Configuration* opens, or `.vscode/mcp.json` in a project",
        "*MCP: List Servers* → wan → Show Output",
        link=redirected_link("https://insiders.vscode.dev/redirect", "vscode:mcp/install"),
        command=f"code --add-mcp '{NAMED}'",
        kind="json",
        snippet=json.dumps({"servers": {SERVER: ENTRY}}),
    ),
    Client(
        "Codex",
        "`~/.codex/config.toml`",
        "`codex mcp list`, `/mcp`, and the log that `codex -c log_dir=FOLDER` writes",
        tried="0.169.0",
        command=f"codex mcp add {SERVER} -- {COMMAND}",
        kind="toml",
        snippet=CODEX_TOML,
        plugin=f"codex plugin marketplace add {CLONE}\ncodex plugin add {NAME}@{NAME}",
        note=(
            f"The plugin takes `{KEY.variable}` of the shell in which Codex runs, or the key that setup "
            "keeps."
        ),
    ),
    Client(
        "Gemini CLI",
        "`~/.gemini/settings.json`, or `.gemini/settings.json` in a project",
        "`gemini mcp list`, `/mcp`, and `gemini --debug` (F12 shows the messages)",
        tried="0.61.0",
        command=f"gemini mcp add --scope user {SERVER} {COMMAND}",
        package="Or as an extension with the skill, from the clone",
        plugin=f"gemini extensions install {CLONE}",
        note=(
            "The extension takes the key that setup keeps, or the one that you give it in "
            f"`gemini extensions config {NAME}`; Gemini CLI does not pass on the key of your shell. "
            "Gemini shows a server as disconnected in a folder that is not trusted, "
            "and while uv still installs it."
        ),
    ),
    Client("Windsurf", "`~/.codeium/windsurf/mcp_config.json`", "the MCP settings of Cascade"),
    Client(
        "Zed",
        "the file that *zed: open settings file* opens",
        "*zed: open log*",
        kind="json",
        snippet=json.dumps({"context_servers": {SERVER: {**ENTRY, "args": []}}}),
    ),
    Client(
        "Goose",
        "`~/.config/goose/config.yaml` (on Windows `%APPDATA%\\Block\\goose\\config\\config.yaml`)",
        "`~/.local/state/goose/logs` (on Windows `%APPDATA%\\Block\\goose\\data\\logs`)",
        kind="yaml",
        snippet=GOOSE_YAML,
        note="There is no link: links of Goose can start only a few programs, such as npx and uvx.",
    ),
    Client(
        "LM Studio",
        "`mcp.json` (Program → Install → Edit mcp.json)",
        link=base64_link("https://lmstudio.ai/install-mcp"),
    ),
)
