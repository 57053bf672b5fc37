"""The manifests of the packages, one function for each file."""

from typing import Any
from urllib.parse import urlsplit

from tests.packages.facts import (
    AUTHOR,
    CATEGORY,
    COMMAND,
    DESCRIPTION,
    EXAMPLES,
    HOMEPAGE,
    ICON,
    ICON_SVG,
    KEY,
    KEYWORDS,
    NAME,
    OPTIONS,
    PROJECT,
    REGISTERED,
    SERVER,
    SETTINGS,
    TITLE,
    default,
    is_secret,
)
from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS

Manifest = dict[str, Any]

ADDRESSES = ("EVOLINK_BASE_URL", "EVOLINK_FILES_URL")
"""The settings that hold the addresses to which the server talks."""
PASSED_ON = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Besides the settings: what uv and the server need to reach the internet."""
START_SECONDS, CALL_SECONDS = 120, 180
"""How long Codex waits for the start, in which uv may install what is missing, and for a call."""
MAY_BE_KEPT = f"{KEY.description} Leave it empty if {COMMAND} setup has kept your key."


def plugin() -> Manifest:
    """What all plugins say about themselves."""
    return {
        "name": NAME,
        "version": __version__,
        "description": DESCRIPTION,
        "author": AUTHOR,
        "homepage": HOMEPAGE,
        "repository": HOMEPAGE,
        "license": PROJECT["license"],
        "keywords": KEYWORDS,
    }


def from_folder(folder: str, **more: Any) -> Manifest:
    """The server out of the plugin's own folder: uv installs it once and keeps it in its cache."""
    return {SERVER: {"command": "uv", "args": ["tool", "run", "--from", folder, COMMAND], **more}}


def registry() -> Manifest:
    """``server.json``: the registry of MCP servers."""
    variables = []
    for name, spec in SETTINGS.items():
        variable: Manifest = {"name": name, "description": spec.description}
        if name == KEY.variable:
            variable["isRequired"] = True
        if is_secret(spec):
            variable["isSecret"] = True
        elif (value := default(spec)) is not None:
            variable["default"] = value
        variables.append(variable)
    package = {
        "registryType": "pypi",
        "identifier": NAME,
        "version": __version__,
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
        "environmentVariables": variables,
    }
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": REGISTERED,
        "title": TITLE,
        "description": DESCRIPTION,
        "version": __version__,
        "repository": {"url": HOMEPAGE, "source": "github"},
        "packages": [package],
    }


def bundle() -> Manifest:
    """``manifest.json``: the MCP bundle, which desktop programs install."""
    return {
        "manifest_version": "0.4",
        "name": NAME,
        "display_name": TITLE,
        "version": __version__,
        "description": DESCRIPTION,
        "author": AUTHOR,
        "homepage": HOMEPAGE,
        "icon": ICON,
        "license": PROJECT["license"],
        "keywords": KEYWORDS,
        "server": {
            "type": "uv",
            "entry_point": "wan_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", COMMAND],
                "env": {option.variable: f"${{user_config.{option.name}}}" for option in OPTIONS},
            },
        },
        "user_config": {
            option.name: {
                "type": option.kind,
                "title": option.title,
                "description": option.description,
                **option.more,
            }
            for option in OPTIONS
        },
        "tools": [{"name": tool.name, "description": tool.title} for tool in TOOLS],
        "prompts_generated": True,
        "compatibility": {
            "platforms": ["darwin", "win32", "linux"],
            "runtimes": {"python": PROJECT["requires-python"]},
        },
    }


def claude() -> Manifest:
    """``.claude-plugin/plugin.json``. The key is optional: ``wan-mcp setup`` may have kept it."""
    hosts = [urlsplit(str(SETTINGS[name].default)).hostname for name in ADDRESSES]
    return {
        **plugin(),
        "displayName": TITLE,
        "icon": ICON_SVG,
        "network": {"hosts": hosts},
        "userConfig": {
            KEY.name: {
                "type": KEY.kind,
                "title": KEY.title,
                "description": MAY_BE_KEPT,
                "sensitive": True,
                "required": False,
            }
        },
        "mcpServers": from_folder(
            "${CLAUDE_PLUGIN_ROOT}", env={KEY.variable: f"${{user_config.{KEY.name}}}"}
        ),
    }


def marketplace() -> Manifest:
    """``.claude-plugin/marketplace.json``, which Codex reads as well."""
    listed = {"name": NAME, "source": "./", "description": DESCRIPTION, "category": CATEGORY}
    return {
        "name": NAME,
        "owner": AUTHOR,
        "metadata": {"description": DESCRIPTION},
        "plugins": [listed],
    }


def codex() -> Manifest:
    """``.codex-plugin/plugin.json``: a relative ``cwd`` is one in the plugin's folder."""
    server = from_folder(
        ".",
        cwd=".",
        env_vars=[*SETTINGS, *PASSED_ON],  # Codex passes on no others
        startup_timeout_sec=START_SECONDS,
        tool_timeout_sec=CALL_SECONDS,
    )
    return {
        **plugin(),
        "skills": "./skills/",
        "mcpServers": server,
        "interface": {
            "displayName": TITLE,
            "shortDescription": DESCRIPTION,
            "developerName": AUTHOR["name"],
            "category": CATEGORY,
            "websiteURL": HOMEPAGE,
            "defaultPrompt": list(EXAMPLES),
            "composerIcon": f"./{ICON}",
            "logo": f"./{ICON}",
        },
    }


def cursor() -> Manifest:
    """``.cursor-plugin/plugin.json``, by Cursor's documentation and its own plugins."""
    return {
        **plugin(),
        "displayName": TITLE,
        "logo": ICON_SVG,
        "category": CATEGORY,
        "skills": "./skills/",
        "mcpServers": from_folder("${CURSOR_PLUGIN_ROOT}"),
    }


def gemini() -> Manifest:
    """``gemini-extension.json``. Gemini keeps the key in the system's keychain where there is one."""
    setting = {
        "name": KEY.title,
        "description": MAY_BE_KEPT,
        "envVar": KEY.variable,
        "sensitive": True,
    }
    return {
        "name": NAME,
        "version": __version__,
        "description": DESCRIPTION,
        "mcpServers": from_folder("${extensionPath}"),
        "settings": [setting],
    }


MANIFESTS = {
    "server.json": registry,
    "manifest.json": bundle,
    ".claude-plugin/plugin.json": claude,
    ".claude-plugin/marketplace.json": marketplace,
    ".codex-plugin/plugin.json": codex,
    ".cursor-plugin/plugin.json": cursor,
    "gemini-extension.json": gemini,
}
