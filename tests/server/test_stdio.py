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
from wan_mcp.sandbox import Fault, Sandbox, running

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
    hello: bool = True,
    **environ: str,
) -> AsyncIterator[Server]:
    settings = {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
        "WAN_MCP_IMAGE_DIRS": str(folder),
        "WAN_MCP_OUTPUT_DIR": str(folder / "videos"),
        "PYTHONUNBUFFERED": "1",
    }
    process = await anyio.open_process(
        [sys.executable, *flags, "-m", "wan_mcp"], env={**os.environ, **settings, **environ}, stderr=stderr
    )
    try:
        with anyio.fail_after(50):
            server = Server(process)
            if hello:
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


META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALL = (
    '{"jsonrpc": "2.0", "id": 7, "method": "tools/call",'
    ' "params": {"name": "generate_video", "arguments": %s}}'
)
UNREADABLE: dict[str, tuple[str, int | str | None, int, str]] = {
    "half a character": (CALL % r'{"prompt": "a cat \ud83d"}', 7, -32600, "half of a character"),
    "the other half": (CALL % r'{"prompt": "\ude00 a cat"}', 7, -32600, "half of a character"),
    "half in a name": (CALL % r'{"\ud83d": 1}', 7, -32600, "half of a character"),
    "many digits": (CALL % ('{"duration": %s}' % ("1" * 5000)), 7, -32600, "too many digits"),
    "many digits, negative": (CALL % ('{"duration": -%s}' % ("1" * 5000)), 7, -32600, "too many digits"),
    "deep": (CALL % ("[" * 500 + "]" * 500), 7, -32600, "nested too deeply"),
    "a text as id": (r'{"jsonrpc": "2.0", "id": "a", "method": "ping", "x": "\ud83d"}', "a", -32600, "half"),
    "a character as id": (
        r'{"jsonrpc": "2.0", "id": "🐱", "method": "ping", "x": "\ud83d"}',
        "🐱",
        -32600,
        "half",
    ),
    "half an id": (r'{"jsonrpc": "2.0", "id": "\ud83d", "method": "ping"}', None, -32600, "half of"),
    "a long id": ('{"jsonrpc": "2.0", "id": %s, "method": "ping"}' % ("1" * 5000), None, -32600, "digits"),
    "no id": ('{"jsonrpc": "2.0", "id": null, "method": "ping"}', None, -32600, "not a valid JSON-RPC"),
    "half a number": ('{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', None, -32600, "not a valid"),
    "true": ('{"jsonrpc": "2.0", "id": true, "method": "ping"}', None, -32600, "not a valid JSON-RPC"),
    "no method": ('{"jsonrpc": "2.0", "id": 7}', 7, -32600, "not a valid JSON-RPC"),
    "a list of parameters": (
        '{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": [1]}',
        7,
        -32600,
        "not a",
    ),
    "another version": ('{"jsonrpc": "1.0", "id": 7, "method": "ping"}', 7, -32600, "not a valid JSON-RPC"),
    "a batch": ("[%s]" % (CALL % "{}"), None, -32600, "not a valid JSON-RPC"),
    "half a line": ('{"jsonrpc": "2.0", "id": 7, ', None, -32700, "not JSON"),
}


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_a_request_that_cannot_be_read_is_answered(tmp_path: Path, era: str) -> None:
    """With an error under its id, or without an id where it cannot be read; the server goes on."""
    modern = era == "2026-07-28"
    async with imitation() as (sandbox, url), serving(tmp_path, url, hello=not modern) as server:
        for _ in range(2):  # before the first request, and after one
            for name, (line, number, code, said) in UNREADABLE.items():
                await server.stdin.send(line.encode() + b"\n")
                answer = await server.read()
                assert (answer["id"], answer["error"]["code"]) == (number, code), name
                assert said in answer["error"]["message"], name
                assert "Nothing was sent or charged." in answer["error"]["message"], name
            listed = await server.answer(await server.call("tools/list", {"_meta": META} if modern else {}))
            assert listed["result"]["tools"]
        assert ("resultType" in listed["result"]) == modern
    assert sandbox.records.calls == []


@pytest.mark.parametrize(
    "line",
    [
        r'{"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": "\ud83d"}}',
        '{"jsonrpc": "2.0", "method": "notifications/x", "params": [1]}',
        r'{"jsonrpc": "2.0", "id": 1, "result": {"a": "\ud83d"}}',
        '{"jsonrpc": "2.0", "id": 1, "result": 5}',
        '{"jsonrpc": "2.0", "id": 1, "error": {}}',
        " ",
    ],
)
async def test_what_expects_no_answer_gets_none(tmp_path: Path, line: str) -> None:
    """A notification or a response: an error under its id would seem to answer another request."""
    async with serving(tmp_path) as server:
        await server.stdin.send(line.encode() + b"\n")
        number = await server.call("tools/list")
        assert (await server.read())["id"] == number


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["before the first message", "idle", "waiting", "downloading"])
async def test_a_signal_ends_the_server_at_once_and_quietly(
    tmp_path: Path, number: signal.Signals, when: str
) -> None:
    """Over pipes and in a terminal: no traceback, no partial file, and the exit status names the signal."""
    faults = [Fault("result", "slow", seconds=30)] if when == "downloading" else []
    async with (
        await anyio.open_file(tmp_path / "log", "w+b") as log,
        imitation(seconds=0 if faults else 60, faults=faults) as (sandbox, url),
        serving(tmp_path, url, stderr=log.wrapped, hello=when != "before the first message") as server,
    ):
        if when == "before the first message":
            await server.send(HELLO | {"method": "ping"})  # it is up when it reads this
            await server.read()
        if when in ("waiting", "downloading"):
            task = await server.tool("generate_video", prompt="go", image_urls=[picture_file(tmp_path)])
            task_id = task["structuredContent"]["id"]
            await server.call("tools/call", {"name": "wait_for_task", "arguments": {"task_id": task_id}})
            place = "result" if faults else "task"
            while not any(one.at == place for one in sandbox.records.calls):  # noqa: ASYNC110  another process
                await anyio.sleep(0.01)
        server.process.send_signal(number)
        with anyio.fail_after(5):
            assert await server.process.wait() == -number
        await log.seek(0)
        assert await log.read() == b""
    assert [path.name async for path in anyio.Path(tmp_path).rglob("*.part")] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_video_that_is_followed_is_kept_by_the_next_server(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The client ends the server in any way, and starts another one, which gets no call."""
    async with imitation(seconds=1) as (sandbox, url):
        async with serving(tmp_path, url) as server:
            await server.tool("generate_video", prompt="go", image_urls=[picture_file(tmp_path)])
            server.process.send_signal(number)
            await server.process.wait()
        async with serving(tmp_path, url):
            while not [path async for path in anyio.Path(tmp_path).glob("videos/*.mp4")]:  # noqa: ASYNC110  another process writes
                await anyio.sleep(0.05)
    assert sandbox.records.posts == 1


async def test_a_job_survives_the_server(tmp_path: Path) -> None:
    """After a kill and a new start, the same request has the same task, and a wait for it works."""
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


async def test_a_server_that_is_killed_between_two_polls_loses_no_task(tmp_path: Path) -> None:
    """The next server does not know the client or its wait, and answers with the result."""
    declared: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    meta = META | {"io.modelcontextprotocol/clientCapabilities": declared}

    async def ask(server: Server, method: str, **params: Any) -> dict[str, Any]:
        answered = await server.answer(await server.call(method, {**params, "_meta": meta}))
        return dict(answered["result"])

    async with imitation(seconds=3) as (sandbox, url):
        async with serving(tmp_path, url, hello=False) as server:
            request = {"prompt": "go", "image_urls": [picture_file(tmp_path)]}
            begun = await ask(server, "tools/call", name="generate_video", arguments=request)
            task = {"task_id": begun["structuredContent"]["id"]}
            created = await ask(server, "tools/call", name="wait_for_task", arguments=task)
            assert created["resultType"] == "task"
            assert (await ask(server, "tasks/get", taskId=created["taskId"]))["status"] == "working"
            server.process.kill()
            await server.process.wait()
        async with serving(tmp_path, url, hello=False) as server:
            state = created
            while state["status"] == "working":
                await anyio.sleep(state["pollIntervalMs"] / 1000)
                state = await ask(server, "tasks/get", taskId=created["taskId"])
    done = state["result"]["structuredContent"]
    assert done["status"] == "completed"
    assert await anyio.Path(done["saved_to"]).is_file()
    assert len(sandbox.records.paid) == 1


def picture_file(folder: Path) -> str:
    from tests.world import picture

    path = folder / "picture.png"
    path.write_bytes(picture())
    return str(path)
