"""The MCP bundle: ``manifest.json`` says what the package is, and the packed file is enough to run it."""

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.clients.programs import environment, program, run
from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings, environment_names

ROOT = Path(__file__).parents[2]
MANIFEST: dict[str, Any] = json.loads((ROOT / "manifest.json").read_text("utf-8"))
CONFIG: dict[str, Any] = MANIFEST["server"]["mcp_config"]
ENVIRON: dict[str, str] = CONFIG["env"]
OFFERED: dict[str, dict[str, Any]] = MANIFEST["user_config"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REGISTRY = json.loads((ROOT / "server.json").read_text("utf-8"))
KEY = "sk-of-the-user"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def filled(**chosen: str) -> dict[str, str]:
    """The environment that a host makes: without a choice or a default, the placeholder stays."""
    defaults = {name: json.dumps(spec["default"]) for name, spec in OFFERED.items() if "default" in spec}
    environ = dict(ENVIRON)
    for name, value in (defaults | chosen).items():
        environ = {key: text.replace(f"${{user_config.{name}}}", value) for key, text in environ.items()}
    return environ


def test_the_manifest_describes_this_package() -> None:
    """Version, name, description, licence, keywords and Python are the same as elsewhere."""
    assert MANIFEST["manifest_version"] == "0.4"
    assert MANIFEST["version"] == __version__
    assert (MANIFEST["name"], MANIFEST["license"]) == (PROJECT["name"], PROJECT["license"])
    assert (MANIFEST["display_name"], MANIFEST["description"]) == (REGISTRY["title"], REGISTRY["description"])
    assert set(MANIFEST["keywords"]) <= set(PROJECT["keywords"])
    assert MANIFEST["compatibility"]["runtimes"]["python"] == PROJECT["requires-python"]


def test_the_manifest_lists_every_tool() -> None:
    """Under its name, with its title: what a person reads before installing."""
    assert MANIFEST["tools"] == [{"name": tool.name, "description": tool.title} for tool in TOOLS]


def test_the_manifest_starts_the_program_that_the_package_installs() -> None:
    """With uv, in the folder that the bundle was unpacked into."""
    assert MANIFEST["server"]["type"] == "uv"
    assert (ROOT / MANIFEST["server"]["entry_point"]).is_file()
    assert CONFIG["command"] == "uv"
    assert CONFIG["args"] == ["run", "--directory", "${__dirname}", *PROJECT["scripts"]]


def test_what_the_user_may_set_are_settings() -> None:
    """Each field fills one variable that the program reads; the key alone is required, and kept secret."""
    assert set(ENVIRON) <= set(environment_names())
    assert re.findall(r"\$\{user_config\.(\w+)\}", " ".join(ENVIRON.values())) == list(OFFERED)
    assert ENVIRON["EVOLINK_API_KEY"] == "${user_config.api_key}"
    assert [name for name, spec in OFFERED.items() if spec.get("required")] == ["api_key"]
    assert [name for name, spec in OFFERED.items() if spec.get("sensitive")] == ["api_key"]


def test_the_key_alone_is_enough() -> None:
    """What the user left empty reaches the server as a placeholder, and counts as not set."""
    assert Settings.load(filled(api_key=KEY)) == Settings.load({"EVOLINK_API_KEY": KEY})


def test_what_the_user_chose_is_used(tmp_path: Path) -> None:
    """Folders, numbers and switches in the words in which a host writes them."""
    folder = str(tmp_path)
    settings = Settings.load(
        filled(api_key=KEY, output_dir=folder, autosave="true", image_dir=folder, daily_credits="100")
    )
    assert settings.problems == ()
    assert (settings.output_dir, settings.image_dirs) == (tmp_path, (tmp_path,))
    assert (settings.autosave, settings.daily_credits) == (True, 100)


@pytest.mark.anyio
async def test_the_bundle_is_valid_and_holds_the_package_alone(tmp_path: Path) -> None:
    """The package, what it takes to install it, and the manifest."""
    await pack(tmp_path)
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "wan_mcp").rglob("*") if path.is_file()}
    wanted = {name for name in package if "__pycache__" not in name}
    names = set(zipfile.ZipFile(tmp_path / "wan-mcp.mcpb").namelist())
    assert names == wanted | {"manifest.json", "pyproject.toml", "README.md", "LICENSE"}


@pytest.mark.anyio
async def test_the_bundle_runs(tmp_path: Path) -> None:
    """Unpacked anywhere and started as its manifest says, it serves; uv installs what it needs."""
    uv = program("uv")
    await pack(tmp_path)
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(tmp_path / "wan-mcp.mcpb").extractall(unpacked)
    filled_in = [part.replace("${__dirname}", str(unpacked)) for part in CONFIG["args"]]
    # The system's certificates, as everywhere else: a company's machine may have its own authority.
    installing = {"UV_PYTHON": sys.executable, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    environ = environment(tmp_path, filled(api_key=KEY) | installing)
    server = StdioServerParameters(command=uv, args=filled_in, env=environ)
    with anyio.fail_after(300):
        async with Client(server, read_timeout_seconds=240) as client:
            listed = (await client.list_tools()).tools
            assert client.server_info is not None
            assert client.server_info.version == __version__
    assert [tool.name for tool in listed] == [tool.name for tool in TOOLS]


async def pack(folder: Path) -> None:
    """Validate the manifest and pack the bundle into a folder."""
    mcpb = program("mcpb")
    for arguments in (["validate", str(ROOT)], ["pack", str(ROOT), str(folder / "wan-mcp.mcpb")]):
        ran = await run(mcpb, *arguments, folder=folder)
        assert ran.code == 0, ran.said
