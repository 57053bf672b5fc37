"""``wan-mcp http`` as a real process on a port of this machine, and ways to call it."""

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
from anyio.abc import Process
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.server.http.hosted import CLIENT_MODE, Era
from wan_mcp.sandbox import Sandbox, running

KEY = "sk-sandbox"
HOST = "127.0.0.1"
GUARD = 60.0
"""Seconds after which a test gives up what should take much less; a slow machine is no failure."""


class LiveServer:
    """A process that serves."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._log = log

    def http(self, key: str = KEY) -> httpx2.AsyncClient:
        """A client that sends this key."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    @asynccontextmanager
    async def client(self, era: Era, key: str = KEY) -> AsyncIterator[Client]:
        """An MCP client that sends this key."""
        async with self.http(key) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport, mode=CLIENT_MODE[era]) as client:
                yield client

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit code of the process, once it has ended."""
        with anyio.fail_after(GUARD):
            return await self.process.wait()

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text()


@asynccontextmanager
async def live(
    sandbox: Sandbox, folder: Path, program: str = "", **environ: str
) -> AsyncIterator[LiveServer]:
    """A server whose callers' keys are the sandbox's, as it is started by the command.

    Args:
        sandbox: what it calls instead of Evolink; served while the server runs.
        folder: where its data and its log are.
        program: run before the command, in the same process.
        environ: further settings.
    """
    async with running(sandbox) as url, live_at(url, folder, program, **environ) as server:
        yield server


@asynccontextmanager
async def live_at(url: str, folder: Path, program: str = "", **environ: str) -> AsyncIterator[LiveServer]:
    """The same, calling the sandbox at this address."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    foreign = ("EVOLINK_", "WAN_MCP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "NO_PROXY": HOST,
    }
    log = folder / f"log-{port}"
    run = f"{program}\nfrom wan_mcp.__main__ import main\nmain()"
    command = [sys.executable, "-c", run, "http", "--port", str(port)]
    with log.open("w") as stream:
        process = await anyio.open_process(
            command, env=inherited | own | environ, stdout=stream, stderr=stream
        )
    server = LiveServer(process, port, log)
    try:
        await _ready(server)
        yield server
    except Exception:
        sys.stderr.write(server.log)
        raise
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()
            await process.aclose()


async def _ready(server: LiveServer) -> None:
    async with server.http() as http:
        with anyio.fail_after(GUARD):
            while server.process.returncode is None:
                try:
                    if (await http.get("/readyz")).status_code == 200:
                        return
                except httpx2.ConnectError:
                    pass
                await anyio.sleep(0.05)
    raise AssertionError("the server did not start")
