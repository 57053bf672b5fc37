"""``wan-mcp http`` as a process of its own, for programs that call it over a real socket."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from tests.clients.programs import started
from wan_mcp.sandbox.serving import HOST

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def hosted(folder: Path, sandbox: str, **settings: str) -> AsyncIterator[str]:
    """Run the command in ``key`` mode, unless the settings say otherwise, and yield its MCP address.

    Args:
        folder: its home; its log is there.
        sandbox: the address of the imitated API.
        settings: of the server, besides those that a sandbox needs.
    """
    environ = {
        "EVOLINK_BASE_URL": sandbox,
        "EVOLINK_FILES_URL": sandbox,
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    port = _free_port()
    command = (sys.executable, "-m", "wan_mcp", "http", "--port", str(port))
    log = folder / "server.log"
    try:
        with log.open("wb") as stderr:
            async with started(*command, folder=folder, environ=environ, stderr=stderr) as process:
                with anyio.fail_after(60):
                    while not await _listens(port):
                        assert process.returncode is None, "the server did not start"
                        await anyio.sleep(0.05)
                yield f"http://{HOST}:{port}/mcp"
    except BaseException:
        sys.stderr.write(log.read_text("utf-8", errors="replace"))
        raise


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        await (await anyio.connect_tcp(HOST, port)).aclose()
    except OSError:
        return False
    return True
