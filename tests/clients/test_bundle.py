"""The MCP bundle: what the user chooses reaches the server, and the packed file is enough to run it."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.clients.programs import environment, let_uv_install, program, run
from tests.packages.facts import ICON, ROOT
from tests.packages.manifests import bundle
from wan_mcp import __version__
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings

MANIFEST: dict[str, Any] = bundle()
CONFIG: dict[str, Any] = MANIFEST["server"]["mcp_config"]
ENVIRON: dict[str, str] = CONFIG["env"]
OFFERED: dict[str, dict[str, Any]] = MANIFEST["user_config"]
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
    """The package, what it takes to install it, the manifest and its icon."""
    await pack(tmp_path)
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "wan_mcp").rglob("*") if path.is_file()}
    wanted = {name for name in package if "__pycache__" not in name}
    names = set(zipfile.ZipFile(tmp_path / "wan-mcp.mcpb").namelist())
    assert names == wanted | {"manifest.json", "pyproject.toml", "README.md", "LICENSE", ICON}


@pytest.mark.anyio
async def test_the_bundle_runs(tmp_path: Path) -> None:
    """Unpacked anywhere and started as its manifest says, it serves; uv installs what it needs."""
    uv = program("uv")
    await pack(tmp_path)
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(tmp_path / "wan-mcp.mcpb").extractall(unpacked)
    filled_in = [part.replace("${__dirname}", str(unpacked)) for part in CONFIG["args"]]
    let_uv_install(tmp_path)
    environ = environment(tmp_path, filled(api_key=KEY) | {"UV_PYTHON": sys.executable})
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
