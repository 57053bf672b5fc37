"""Imports only go down: the layers that CONTRIBUTING.md lists are those of the code."""

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "wan_mcp"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOR_MCP = ("cli", "server")
ALONE = "sandbox"
MAX_ENTRIES = 16
MAX_LINES = 300
NOT_LOADED = {
    *("av", "obstore", "pillow_heif", "opentelemetry.metrics", "procrastinate", "psycopg"),
    *("wan_mcp.cli", "wan_mcp.sandbox"),
}


def layers() -> dict[str, set[str]]:
    """The layers from the top down, each with the words after its name."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.search(r"^<!-- layers -->\n```\n(.*?)^```$", text, re.M | re.S)
    assert found, "CONTRIBUTING.md has no layers"
    rows = re.findall(r"^(\w+)(.*\n(?: .*\n)*)", found[1], re.M)
    return {name: set(re.findall(r"\w+", rest)) for name, rest in rows}


LAYERS = layers()


def layer(name: str) -> str:
    """The layer of a module, by its dotted name; empty for the package itself and its entry."""
    part = name.split(".")[1] if "." in name else ""
    return part.removesuffix("__main__")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, by its dotted name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_the_layers_are_all_that_there_is() -> None:
    """Every file and folder of the package is in the list, and fits on one screen."""
    entries = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert entries == {*LAYERS, "__init__", "__main__"}
    assert len(entries) <= MAX_ENTRIES


def test_the_list_names_every_module_of_a_layer() -> None:
    """A folder in a layer is named as a whole."""
    parts = [name_of(path).split(".") for path in MODULES]
    assert [part for part in parts if len(part) > 2 and part[2] not in LAYERS[part[1]]] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    """Of the package; ``mcp`` is for two layers, and the sandbox stands alone."""
    here = layer(name_of(path))
    names = list(LAYERS)
    allowed = names[names.index(here) :] if here else names
    if here == ALONE:
        allowed = [ALONE]
    elif here not in ("", *FOR_MCP):
        allowed = [name for name in allowed if name != ALONE]
    for imported in imports(path):
        top, _, rest = imported.partition(".")
        if top == "wan_mcp" and rest != "__version__":
            below = layer(imported)
            assert below in allowed, imported
        if top in ("mcp", "mcp_types"):
            assert here in FOR_MCP, imported


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even inside of a layer, nor by an import inside of a function."""
    names = {name_of(path) for path in MODULES}
    graph = {
        name_of(path): {
            name if name in names else name.rpartition(".")[0]
            for name in imports(path)
            if name.startswith("wan_mcp.")
        }
        for path in MODULES
    }
    assert set(TopologicalSorter(graph).static_order()) == names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_long(path: Path) -> None:
    """A module is one concept; where it needs more lines, there are two."""
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", ["generate", "tasks", "setup", "doctor", "commands"])
def test_commands_for_people_do_not_load_the_sdk(module: str) -> None:
    """It would take most of their time."""
    program = f"import sys, wan_mcp.cli.{module}; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
def test_the_server_starts_without_what_only_some_calls_need() -> None:
    """Until its tools were listed: no decoder, no video library, no sandbox, no metrics."""
    client = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a", "version": "1"},
    }
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "wan_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(f"{json.dumps(message)}\n" for message in messages))
        server.stdin.flush()
        answers = [server.stdout.readline() for _ in range(2)]
        _, log = server.communicate()
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", log, re.M))
    assert '"generate_video"' in answers[1]
    assert "wan_mcp.server.tools" in imported
    assert imported & NOT_LOADED == set()
