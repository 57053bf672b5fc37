"""The server as a real process: what only the process boundary can show."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.world import KEY, render
from wan_mcp.sandbox import Sandbox, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Server:
    """A server process, and what it wrote."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin = process.stdin
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._number = 0

    async def send(self, message: dict[str, Any]) -> None:
        await self.stdin.send(json.dumps(message).encode() + b"\n")

    async def read(self) -> dict[str, Any]:
        """The next line, which must be JSON-RPC."""
        message = json.loads(await self._lines.receive_until(b"\n", 10_000_000))
        assert message["jsonrpc"] == "2.0"
        return dict(message)

    async def call(self, method: str, params: dict[str, Any] | None = None) -> int:
        self._number += 1
        await self.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params or {}})
        return self._number

    async def answer(self, number: int) -> dict[str, Any]:
        while True:
            message = await self.read()
            if message.get("id") == number:
                return message

    async def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        message = await self.answer(await self.call("tools/call", {"name": name, "arguments": arguments}))
        return dict(message["result"])


@asynccontextmanager
async def serving(
    folder: Path,
    url: str = "http://127.0.0.1:9",
    *flags: str,
    stderr: IO[bytes] | None = None,
    **environ: str,
) -> AsyncIterator[Server]:
    settings = {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
        "WAN_MCP_IMAGE_DIRS": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    process = await anyio.open_process(
        [sys.executable, *flags, "-m", "wan_mcp"], env={**os.environ, **settings, **environ}, stderr=stderr
    )
    try:
        with anyio.fail_after(50):
            server = Server(process)
            await server.send(HELLO)
            await server.answer(0)
            await server.send(READY)
            yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


@asynccontextmanager
async def imitation(**options: Any) -> AsyncIterator[tuple[Sandbox, str]]:
    sandbox = Sandbox(key=KEY, render=render, **options)
    async with running(sandbox) as url:
        yield sandbox, url


async def test_stdout_carries_the_protocol_and_nothing_else(tmp_path: Path) -> None:
    """With development mode, all warnings and debug logging on, each line is still JSON-RPC."""
    flags = ("-X", "dev", "-W", "always")
    async with serving(tmp_path, "http://127.0.0.1:9", *flags, WAN_MCP_LOG_LEVEL="DEBUG") as server:
        listed = await server.answer(await server.call("tools/list"))
        assert listed["result"]["tools"]
        refused = await server.tool("generate_video", prompt="", image_urls=[])
        assert refused["isError"] is True
        unreachable = await server.tool("get_task", task_id="task-unified-1-a")
        assert unreachable["isError"] is True


async def test_a_library_that_prints_does_not_reach_the_client(tmp_path: Path) -> None:
    """Lines that some module prints when it is imported, and again and again later, go elsewhere."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Printer(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('mcp', 'httpx2', 'pydantic', 'anyio', 'sqlite3', 'click'):\n"
        "            print('importing', name)\n"
        "sys.meta_path.insert(0, Printer())\n"
    )
    async with serving(tmp_path, PYTHONPATH=str(library)) as server:
        assert (await server.answer(await server.call("tools/list")))["result"]["tools"]
        assert (await server.tool("list_tasks"))["structuredContent"]["tasks"] == []


async def test_garbage_on_stdin_does_not_end_the_server(tmp_path: Path) -> None:
    """Lines that are no messages are answered or ignored; the next call works."""
    async with serving(tmp_path) as server:
        for line in (
            b"\n",
            b"garbage\n",
            b'{"half": \n',
            b"[]\n",
            b"\xff\xfe\n",
            b'{"jsonrpc": "2.0"}\n',
            b"x" * 1_000_000 + b"\n",
        ):
            await server.stdin.send(line)
        listed = await server.answer(await server.call("tools/list"))
    assert listed["result"]["tools"]


async def test_closing_stdin_in_the_middle_of_a_wait_ends_the_server(tmp_path: Path) -> None:
    """A client that goes away leaves no process behind."""
    async with imitation(seconds=60) as (sandbox, url), serving(tmp_path, url) as server:
        task = await server.tool("generate_video", prompt="go", image_urls=[picture_file(tmp_path)])
        await server.call(
            "tools/call", {"name": "wait_for_task", "arguments": {"task_id": task["structuredContent"]["id"]}}
        )
        while not sandbox.records.reads:  # noqa: ASYNC110  the reader is another process
            await anyio.sleep(0.01)
        await server.stdin.aclose()
        with anyio.fail_after(5):
            assert await server.process.wait() == 0


async def test_a_signal_ends_the_server(tmp_path: Path) -> None:
    """SIGTERM during a wait leaves no process behind."""
    async with imitation(seconds=60) as (_, url), serving(tmp_path, url) as server:
        task = await server.tool("generate_video", prompt="go", image_urls=[picture_file(tmp_path)])
        await server.call(
            "tools/call", {"name": "wait_for_task", "arguments": {"task_id": task["structuredContent"]["id"]}}
        )
        server.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(5):
            assert await server.process.wait() in (0, -signal.SIGTERM)


async def test_a_job_survives_the_server(tmp_path: Path) -> None:
    """Killed and started again, the same request is the same task, and it can be waited for."""
    async with imitation(seconds=0.5) as (sandbox, url):
        request = {"prompt": "go", "image_urls": [picture_file(tmp_path)]}
        async with serving(tmp_path, url) as server:
            first = (await server.tool("generate_video", **request))["structuredContent"]
            server.process.kill()
            await server.process.wait()
        async with serving(tmp_path, url) as server:
            second = (await server.tool("generate_video", **request))["structuredContent"]
            done = (await server.tool("wait_for_task", task_id=second["id"]))["structuredContent"]
    assert second["id"] == first["id"]
    assert second["repeated"] is True
    assert done["status"] == "completed"
    assert len(sandbox.records.paid) == 1


def picture_file(folder: Path) -> str:
    from tests.world import picture

    path = folder / "picture.png"
    path.write_bytes(picture())
    return str(path)
