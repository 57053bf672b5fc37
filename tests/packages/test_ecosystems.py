"""The packages of the ecosystems: generated files are up to date, valid, and true to the program."""

import base64
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema
import pytest

from tests.packages.client_table import CLIENTS, ENTRY, SHARED, Client
from tests.packages.ecosystems import NAMES, content
from tests.packages.facts import COMMAND, DESCRIPTION, KEY, OPTIONS, ROOT, SERVER, SETTINGS, TITLE
from tests.packages.manifests import MANIFESTS
from wan_mcp import __version__
from wan_mcp.cli.clients import all_clients
from wan_mcp.evolink import PROMPT_MAX
from wan_mcp.evolink.requests import ASPECT_RATIOS, QUALITIES
from wan_mcp.images.loader import LONGEST_CHAIN
from wan_mcp.server.app import create_server
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings
from wan_mcp.validation import plain_schema

README = (ROOT / "README.md").read_text("utf-8")
SKILL = (ROOT / "skills" / "wan-video" / "SKILL.md").read_text("utf-8")
SCHEMA = json.loads((ROOT / "tests" / "packages" / "server.schema.json").read_text("utf-8"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def published(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / name).read_text("utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_file_is_up_to_date(name: str) -> None:
    """What is committed is what the generator writes."""
    assert (ROOT / name).read_text("utf-8") == content(name), "renew it: python -m tests.packages.ecosystems"


def test_every_row_of_the_tools_says_what_the_tool_does() -> None:
    """The generator leaves that empty for a new tool: a person writes it."""
    for tool in TOOLS:
        (told,) = re.findall(rf"^\| `{tool.name}` \|[^|]*\|([^|]*)\| (?:credits|free) \|$", README, re.M)
        assert told.strip(), tool.name


def test_the_registry_takes_its_manifest() -> None:
    """By the registry's own schema."""
    jsonschema.validate(published("server.json"), SCHEMA, format_checker=jsonschema.FormatChecker())


def test_there_is_one_version_number() -> None:
    """Wherever a package states a version, it is the program's."""
    texts = [(ROOT / name).read_text("utf-8") for name in MANIFESTS]
    stated = re.findall(r'"version": "(.*?)"', "".join(texts))
    assert len(stated) == len(MANIFESTS), "the marketplace has none, server.json two"
    assert set(stated) == {__version__}


def test_the_title_is_the_server_s() -> None:
    """What a client shows before the installation is what it shows after it."""
    assert create_server(Settings.load({})).title == TITLE
    assert len(DESCRIPTION) <= 100


def test_what_a_package_asks_for_are_settings() -> None:
    """Each option fills one variable that the program reads; the key alone is secret."""
    assert {option.variable for option in OPTIONS} <= set(SETTINGS)
    assert [option for option in OPTIONS if option.more.get("sensitive")] == [KEY]


def test_no_package_starts_a_program_by_its_bare_name_from_a_registry() -> None:
    """A plugin's server comes out of the plugin's own folder."""
    for name in (".claude-plugin/plugin.json", ".codex-plugin/plugin.json", "gemini-extension.json"):
        server = published(name)["mcpServers"][SERVER]
        assert (server["command"], *server["args"][:3], server["args"][4]) == (
            *("uv", "tool", "run", "--from"),
            COMMAND,
        )
        assert server["args"][3] in ("${CLAUDE_PLUGIN_ROOT}", ".", "${extensionPath}")
    assert not re.search(rf"\b(uvx|uv tool install|pipx install|pipx run|pip install) {COMMAND}\b", README)


# The README's section for clients


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_snippet_has_the_server_of_the_shared_json(client: Client) -> None:
    """The same command in every client's own form, without the key."""
    if client.kind == "yaml":
        assert f"\n    cmd: {COMMAND}\n    args: []\n" in client.snippet
        return
    file = {"json": json.loads, "toml": tomllib.loads, "": json.loads}[client.kind](client.snippet or SHARED)
    ((servers,),) = [list(file.values())]
    assert servers[SERVER]["command"] == ENTRY["command"] == COMMAND
    assert not servers[SERVER].get("args")
    assert "env" not in servers[SERVER]


def test_a_link_adds_the_same_server() -> None:
    """Deep links hold the name and the entry of the README's JSON, and no key."""
    shared = json.loads(SHARED)["mcpServers"][SERVER]
    links = {client.name: urlsplit(client.link) for client in CLIENTS if client.link}
    assert list(links) == ["Cursor", "VS Code", "LM Studio"]
    for name in ("Cursor", "LM Studio"):
        query = parse_qs(links[name].query, strict_parsing=True)
        assert query["name"] == [SERVER]
        assert json.loads(base64.b64decode(query["config"][0], validate=True)) == shared
    (address,) = parse_qs(links["VS Code"].query, strict_parsing=True)["url"]
    scheme, _, entry = address.partition("?")
    assert scheme == "vscode:mcp/install"
    assert json.loads(unquote(entry)) == {"name": SERVER, **shared}
    assert {link.scheme for link in links.values()} == {"https"}, "GitHub removes others"


def test_the_readme_and_setup_know_the_same_of_a_client() -> None:
    """The command that adds the server, the configuration's file, and the part with the servers."""
    told = {client.name: client for client in CLIENTS}
    for client in all_clients({}):
        readme = told[client.title]
        if client.adding:
            assert readme.command == shlex.join([client.programs[0], *client.adding, COMMAND])
        if readme.place.startswith("`~/"):
            assert readme.place.startswith(f"`~/{client.path.relative_to(Path.home()).as_posix()}`")
        assert client.servers in (readme.snippet or SHARED)


# The skill


def test_the_skill_is_short_and_says_when_to_use_it() -> None:
    """It is read into a model's context: fewer than 120 lines, with the name of its folder."""
    (head,) = re.findall(r"\A---\nname: wan-video\ndescription: (.+)\n---\n", SKILL)
    assert len(head) <= 1024
    assert len(SKILL.splitlines()) < 120


def test_the_skill_names_only_what_exists() -> None:
    """Each name in code is a tool, an argument of one, or a value that an argument takes."""
    names = {tool.name for tool in TOOLS} | {"wan-mcp"}
    for tool in TOOLS:
        names |= set(plain_schema(tool.arguments)["properties"])
    for code in re.findall(r"`([^`]+)`", SKILL):
        name, _, value = code.partition(": ")
        assert name in names or code in ("file:", "~"), code
        taken = {"quality": QUALITIES, "aspect_ratio": ASPECT_RATIOS, "prompt_extend": ("true", "false")}
        assert not value or name == "take" or value.strip('"') in taken[name], code


def test_the_skill_s_advice_is_that_of_the_server() -> None:
    """Its numbers are the program's: when a chain drifts, how long a prompt may be."""
    assert LONGEST_CHAIN == 6
    assert "after about six parts" in SKILL
    (words,) = re.findall(r"in 30 to (\d+) words", SKILL)
    assert int(words) * 10 < PROMPT_MAX
