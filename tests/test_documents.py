"""README, server.json and changelog: what they say is what the package does.

A table between markers is made from the code, and a failing test prints the one to put there.
"""

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from wan_mcp import __version__
from wan_mcp.cli.commands import commands
from wan_mcp.evolink import prices
from wan_mcp.server.tool import Definition
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings
from wan_mcp.validation import plain_schema

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MANIFEST: dict[str, Any] = json.loads((ROOT / "server.json").read_text("utf-8"))
PACKAGE: dict[str, Any] = MANIFEST["packages"][0]
SETTINGS = {field.alias: field for field in Settings.model_fields.values() if field.alias}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def table(name: str) -> list[str]:
    """The lines of a table of the README, without the rule under its heading."""
    found = re.search(rf"^<!-- table: {name} -->\n(.*?)^<!-- end of table -->$", README, re.M | re.S)
    assert found, f"README.md has no table {name}"
    return [line for line in found[1].splitlines() if not re.fullmatch(r"[|:-]+", line)]


def default(field: FieldInfo) -> str | None:
    """A setting's default as one writes it into an environment variable, where it is the same everywhere."""
    if field.default_factory or field.default is None:
        return None
    return f"{field.default:g}" if isinstance(field.default, int | float) else str(field.default)


def setting_row(name: str, field: FieldInfo) -> str:
    value = default(field)
    shown = "depends on the system" if field.default_factory else f"`{value}`" if value else "none"
    return f"| `{name}` | {shown} | {field.description} |"


def arguments(tool: Definition) -> str:
    """A tool's arguments as its row names them: what is required first."""
    schema = plain_schema(tool.arguments)
    required = [f"`{name}`" for name in schema.get("required", [])]
    optional = [f"`{name}`" for name in schema["properties"] if f"`{name}`" not in required]
    parts = [", ".join(required), f"optional {', '.join(optional)}" if optional else ""]
    return "; ".join(part for part in parts if part) or "none"


def price(seconds: int, quality: str) -> str:
    credits = prices.estimate(seconds, quality)
    return f"{credits:g} ({prices.dollars(credits)})"


def command(name: str) -> str:
    """The command of the README that stands under a marker."""
    found = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.*?)\n```$", README, re.M | re.S)
    assert len(found) == 1, f"README.md has {len(found)} commands {name}"
    return str(found[0])


def test_the_table_of_settings_is_the_one_of_the_code() -> None:
    """Each setting has a row with its default and its description, in the order of the code."""
    rows = ["| variable | default | meaning |", *(setting_row(*item) for item in SETTINGS.items())]
    assert table("settings") == rows, "it should be:\n" + "\n".join(rows)


def test_the_table_of_tools_names_every_tool_with_its_arguments_and_cost() -> None:
    """What a tool does is told freely; its name, its arguments and whether it costs are the code's."""
    heading, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table("tools"))
    costs = {tool.name: "credits" if "COSTS CREDITS" in tool.description else "free" for tool in TOOLS}
    wanted = [[f"`{tool.name}`", arguments(tool), costs[tool.name]] for tool in TOOLS]
    assert heading == ["tool", "arguments", "what it does", "cost"]
    assert [[name, given, cost] for name, given, _, cost in rows] == wanted
    assert all(told for _, _, told, _ in rows)


def test_the_table_of_prices_is_the_estimate_of_the_code() -> None:
    """The numbers and the day of the price list are those that the program itself reckons with."""
    rows = [
        "| quality | 5 seconds | 10 seconds |",
        *(f"| {quality} | {price(5, quality)} | {price(10, quality)} |" for quality in prices.FACTORS),
    ]
    assert table("prices") == rows, "it should be:\n" + "\n".join(rows)
    assert f"price list of {prices.AS_OF}" in README


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_marked_command_stands_alone(name: str) -> None:
    """It checks Python, makes its own environment and installs into it, in one line, and is not silent."""
    steps = command(name).split(" && ")
    assert len(steps) == 4
    assert steps[0].startswith("python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and ")
    assert steps[1] == "python3 -m venv .venv"
    assert steps[2].startswith(".venv/bin/pip install ")
    assert steps[3].startswith(".venv/bin/")
    assert "quiet" not in command(name)


def test_an_old_python_is_refused_in_words() -> None:
    """Before anything is made: what is needed, what is there, and what to write instead."""
    check = command("demo").split(" && ")[0].removeprefix("python3 -c ").strip("'")
    imitated = "import sys; sys.version_info = (3, 9, 18); sys.version = '3.9.18 (main)'; "
    old = subprocess.run(
        [sys.executable, "-c", imitated + check], capture_output=True, text=True, check=False
    )
    assert (old.returncode, old.stdout) == (1, "")
    needed = "Python 3.11 or newer is needed, and python3 is 3.9.18"
    assert old.stderr == f"{needed}: write a newer one, such as python3.12, instead.\n"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_commands_that_the_readme_shows_exist() -> None:
    """Whatever follows `wan-mcp` in a code span or block is a command of the program."""
    code = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", README, re.M | re.S))
    assert set(re.findall(r"\bwan-mcp ([a-z]+)", code)) <= set(commands.commands)


def test_the_variables_that_the_readme_names_are_settings() -> None:
    """No row or example speaks of a setting that the program does not read."""
    assert set(re.findall(r"\b(?:EVOLINK|WAN_MCP)_[A-Z_]+\b", README)) <= set(SETTINGS)


def test_every_configuration_shown_is_well_formed_and_starts_the_server() -> None:
    """The JSON and TOML for clients can be copied as they stand: command and key are where they belong."""
    readers = {"json": json.loads, "toml": tomllib.loads}
    shown = [readers[kind](text) for kind, text in FENCE.findall(README) if kind in readers]
    servers = [part["wan"] for file in shown for part in file.values() if "wan" in part]
    assert len(servers) == len(shown) == 3
    assert {server["command"] for server in servers} == {PACKAGE["identifier"]}
    assert all(list(server["env"]) == ["EVOLINK_API_KEY"] for server in servers)


def test_the_readme_claims_the_name_of_the_manifest() -> None:
    """A registry believes a package only if its README holds the server's name."""
    assert re.findall(r"<!-- mcp-name: (\S+) -->", README) == [MANIFEST["name"]]


def test_there_is_one_version_number() -> None:
    """The manifest's two versions are the package's, and the changelog begins with it."""
    assert (MANIFEST["version"], PACKAGE["version"]) == (__version__, __version__)
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == __version__


def test_the_manifest_keeps_to_its_schema() -> None:
    """The fields that the schema requires are there, within the lengths and patterns that it sets."""
    assert MANIFEST["$schema"].endswith("/2025-12-11/server.schema.json")
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", MANIFEST["name"])
    assert 3 <= len(MANIFEST["name"]) <= 200
    assert 1 <= len(MANIFEST["title"]) <= 100
    assert 1 <= len(MANIFEST["description"]) <= 100
    assert {name: PACKAGE[name] for name in ("registryType", "runtimeHint", "transport")} == {
        "registryType": "pypi",
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
    }


def test_the_manifest_offers_exactly_the_settings() -> None:
    """Names, descriptions and defaults are the code's; the key alone is required, and secret."""
    wanted = []
    for name, field in SETTINGS.items():
        variable: dict[str, Any] = {"name": name, "description": field.description}
        if name == "EVOLINK_API_KEY":
            variable |= {"isRequired": True, "isSecret": True}
        elif (value := default(field)) is not None:
            variable["default"] = value
        wanted.append(variable)
    shown = json.dumps(wanted, indent=2, ensure_ascii=False)
    assert PACKAGE["environmentVariables"] == wanted, f"it should be:\n{shown}"


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is the reader's own configuration."""
    pieces = [("pyp", "i.org"), ("python", "hosted.org"), ("npm", "js.org"), ("npm", "js.com")]
    hosts = ["".join(piece) for piece in [*pieces, ("registry.yarn", "pkg.com"), ("deb.", "debian.org")]]
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in files(ROOT)
        if any(host in path.read_text("utf-8", errors="ignore").lower() for host in hosts)
    ]
    assert naming == []


def files(folder: Path) -> list[Path]:
    """The files of the repository: those that git is not told to ignore."""
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]
    kept = [path for path in folder.iterdir() if not any(fnmatch(path.name, name) for name in ignored)]
    return [
        file for path in kept if not path.is_symlink() for file in (files(path) if path.is_dir() else [path])
    ]
