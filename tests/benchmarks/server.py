# ruff: noqa: T201
# The table that it prints is all that this program is for.
"""What wan-mcp costs beside the plainest `MCPServer` that does the same, as ratios within one run.

Run by hand, on Linux: ``python tests/benchmarks/server.py``. Both servers are child processes in the same
environment, asked in turns; the client is nothing but lines of JSON-RPC. Nothing here fails because
something was slow: the aims stand beside the figures.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep, time_ns
from typing import Any

from PIL import Image

DEADLINE = 110
"""Seconds after which the run is given up, and its child processes are ended."""
ENOUGH = 20
"""Seconds for one figure; on a machine that is busy otherwise, the repetitions end there."""
STARTS = 15
BLOCKS, CALLS_IN_BLOCK = 30, 10
BURSTS, CALLS_AT_ONCE = 12, 200
FIRSTS, A_MOMENT = 5, 1.5
KEY = "sk-sandbox"

OURS, PLAIN, PLAIN_READER, SANDBOX = "wan_mcp", "plain_server", "plain_reader", "imitated_api"
PROGRAMS = {
    PLAIN: """
from mcp.server import MCPServer

server = MCPServer("plain", log_level="WARNING")


@server.tool()
def echo(text: str) -> str:
    return text


server.run()
""",
    PLAIN_READER: """
import os

import httpx2
from mcp.server import MCPServer

server = MCPServer("plain", log_level="WARNING")
client = httpx2.AsyncClient(
    base_url=os.environ["EVOLINK_BASE_URL"],
    headers={"Authorization": "Bearer " + os.environ["EVOLINK_API_KEY"]},
)
size = int(os.environ["ANSWER_SIZE"])


@server.tool()
async def get_task(task_id: str) -> str:
    response = await client.get("/v1/tasks/" + task_id)
    return response.raise_for_status().text.ljust(size)[:size]


server.run()
""",
    SANDBOX: """
import anyio

from wan_mcp.sandbox import Sandbox, running
from wan_mcp.sandbox.orders import Order


async def no_picture(url):  # such a task fails at its end, which this run does not see
    return b""


async def main():
    sandbox = Sandbox(seconds=3600, key="sk-sandbox", fetch=no_picture)
    async with running(sandbox) as url:
        order = Order("a", "https://example.com/a.png", 5, "720p", None)
        print(url, (await sandbox.submit(order, url)).id, flush=True)
        await anyio.sleep_forever()


anyio.run(main)
""",
}


class Server:
    """A child process that speaks MCP on its standard streams."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid = process.pid
        self._stdin, self._stdout = process.stdin, process.stdout

    def shake_hands(self) -> None:
        client = {"name": "benchmark", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self.ask(_request(0, "initialize", params))
        self._write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def tools(self) -> list[dict[str, Any]]:
        tools: list[dict[str, Any]] = _result(self.ask(_request(1, "tools/list", {})))["tools"]
        return tools

    def ask(self, *requests: bytes) -> list[bytes]:
        """Send all requests at once, and read as many answers."""
        assert self._stdout is not None
        self._write(b"".join(requests))
        answers = [self._stdout.readline() for _ in requests]
        if not all(answers):
            raise RuntimeError("the server ended instead of answering")
        return answers

    def _write(self, lines: bytes) -> None:
        assert self._stdin is not None
        self._stdin.write(lines)
        self._stdin.flush()


@dataclass(frozen=True)
class Workplace:
    """Where the child processes run, and with which environment."""

    folder: Path
    environ: dict[str, str]

    @contextmanager
    def process(self, module: str, **environ: str) -> Iterator["subprocess.Popen[bytes]"]:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environ | environ,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def server(self, module: str, **environ: str) -> Iterator[Server]:
        with self.process(module, **environ) as process:
            server = Server(process)
            server.shake_hands()
            yield server

    @contextmanager
    def sandbox(self) -> Iterator[tuple["Workplace", str]]:
        """The same workplace with an imitated API in it, and the id of a task there."""
        with self.process(SANDBOX) as process:
            assert process.stdout is not None
            url, task_id = process.stdout.readline().decode().split()
            addresses = {"EVOLINK_BASE_URL": url, "EVOLINK_FILES_URL": url}
            yield Workplace(self.folder, self.environ | addresses), task_id


@contextmanager
def workplace() -> Iterator[Workplace]:
    foreign = ("EVOLINK_", "WAN_MCP_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for module, source in PROGRAMS.items():
            (folder / f"{module}.py").write_text(source)
        own = {"EVOLINK_API_KEY": KEY, "WAN_MCP_DATA_DIR": name, "WAN_MCP_OUTPUT_DIR": name}
        common = {"PYTHONPYCACHEPREFIX": name, "NO_PROXY": "127.0.0.1"}
        yield Workplace(folder, inherited | own | common)


@dataclass(frozen=True)
class Pairs:
    """What was measured of both, in turns."""

    ours: list[float]
    plain: list[float]

    @classmethod
    def measure(cls, ours: Callable[[], float], plain: Callable[[], float], times: int) -> "Pairs":
        measured: list[tuple[float, float]] = []
        end = perf_counter() + ENOUGH
        while len(measured) < times and perf_counter() < end:
            measured.append((ours(), plain()))
        return cls([pair[0] for pair in measured], [pair[1] for pair in measured])

    def show(self, name: str, unit: str, aim: str) -> None:
        quotients = [ours / plain for ours, plain in zip(self.ours, self.plain, strict=True)]
        spread = f"{median(quotients):.2f} ({min(quotients):.2f} to {max(quotients):.2f})"
        _row(name, self._medians(unit), spread, aim)

    def show_difference(self, name: str, unit: str, aim: str) -> None:
        more = [ours - plain for ours, plain in zip(self.ours, self.plain, strict=True)]
        spread = f"{median(more):+.1f} ({min(more):+.1f} to {max(more):+.1f})"
        _row(name, self._medians(unit), spread, aim)

    def _medians(self, unit: str) -> str:
        return f"{median(self.ours):.1f} / {median(self.plain):.1f} {unit}"


def compare_starts(place: Workplace) -> None:
    """From spawning to the first answered ``tools/list``, and the memory in use then."""
    resident: dict[str, list[float]] = {OURS: [], PLAIN: []}

    def start(module: str) -> float:
        began = perf_counter()
        with place.server(module) as server:
            server.tools()
            seconds = perf_counter() - began
            resident[module].append(_resident_megabytes(server.pid))
        return seconds * 1000

    for module in resident:  # compiles everything once
        start(module)
        resident[module].clear()
    Pairs.measure(lambda: start(OURS), lambda: start(PLAIN), STARTS).show("start", "ms", "<= 1.10")
    Pairs(resident[OURS], resident[PLAIN]).show_difference("memory", "MB", "<= +10")


def compare_calls(place: Workplace, task_id: str) -> None:
    """Asking for one running task, one call after the other and many at once.

    The plain server reads it for each call, ours once in five seconds.
    """
    with place.server(OURS) as ours:
        call = {"name": "get_task", "arguments": {"task_id": task_id}}
        [block] = _result(ours.ask(_request(1, "tools/call", call)))["content"]
        with place.server(PLAIN_READER, ANSWER_SIZE=str(len(block["text"]))) as plain:
            requests = [_request(number, "tools/call", call) for number in range(CALLS_AT_ONCE)]
            _compare_calls(ours, plain, requests)


def _compare_calls(ours: Server, plain: Server, requests: list[bytes]) -> None:
    block = requests[:CALLS_IN_BLOCK]
    for server in (ours, plain):  # opens the connections
        _one_by_one(server, block)
        _at_once(server, requests)
    Pairs.measure(lambda: _one_by_one(ours, block), lambda: _one_by_one(plain, block), BLOCKS).show(
        "get_task", "ms", "<= 1.25"
    )
    Pairs.measure(lambda: _at_once(ours, requests), lambda: _at_once(plain, requests), BURSTS).show(
        f"{len(requests)} get_task at once", "ms", "<= 1.25"
    )


def show_first_calls(place: Workplace, task_id: str) -> None:
    """The first call a moment after the start, beside the later ones: what is prepared meanwhile."""
    picture = place.folder / "picture.bmp"
    Image.new("RGB", (400, 400)).save(picture)

    def requests(name: str) -> list[bytes]:
        return [
            _request(
                number,
                "tools/call",
                {"name": "get_task", "arguments": {"task_id": task_id}}
                if name == "get_task"
                else {
                    "name": "generate_video",
                    "arguments": {
                        "prompt": f"{time_ns()} {number}",
                        "quality": "480p",
                        "image_urls": [str(picture)],
                    },
                },
            )
            for number in range(CALLS_IN_BLOCK)
        ]

    for name in ("get_task", "generate_video"):
        first, later = [], []
        for _ in range(FIRSTS):
            with place.server(OURS) as server:
                server.tools()
                sleep(A_MOMENT)
                one, *others = (_timed(server, [request]) for request in requests(name))
            first.append(one)
            later.append(median(others))
        Pairs(first, later).show(f"{name}, first / later", "ms", "<= 4, first <= 25 ms")


def show_sizes(place: Workplace) -> None:
    """What the tools cost in a conversation, before one of them is called."""
    with place.server(OURS) as server:
        tools = server.tools()
    shown = [{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in tools]
    _row(f"{len(tools)} tools, input side", f"{len(_compact(shown)):,} bytes", "", "< 7,000")
    for_models = [{key: tool[key] for key in tool if key != "_meta"} for tool in tools]
    whole = f"{len(_compact({'tools': for_models})):,} bytes"
    _row(f"{len(tools)} tools, whole answer without _meta", whole, "", "< 20,000")


def _one_by_one(server: Server, requests: list[bytes]) -> float:
    """The median of the calls, in milliseconds."""
    return median(_timed(server, [request]) for request in requests)


def _at_once(server: Server, requests: list[bytes]) -> float:
    """Milliseconds until all are answered."""
    return _timed(server, requests)


def _timed(server: Server, requests: list[bytes]) -> float:
    began = perf_counter()
    answers = server.ask(*requests)
    milliseconds = (perf_counter() - began) * 1000
    for answer in answers:
        assert not _result([answer]).get("isError"), answer
    return milliseconds


def _request(number: int, method: str, params: dict[str, Any]) -> bytes:
    return _compact({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + b"\n"


def _result(answers: list[bytes]) -> dict[str, Any]:
    [answer] = answers
    result: dict[str, Any] = json.loads(answer)["result"]
    return result


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("the process has no resident memory")


def _row(name: str, medians: str, ratio: str, aim: str) -> None:
    print(f"{name:<26}{medians:<24}{ratio:<26}{aim}", flush=True)


def _give_up(number: int, frame: object) -> None:
    raise SystemExit(f"not done after {DEADLINE} s")


def main() -> None:
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE)
    _row("", "wan-mcp / plain", "ratio or difference", "aim")
    with workplace() as place:
        compare_starts(place)
        with place.sandbox() as (reachable, task_id):
            compare_calls(reachable, task_id)
            show_first_calls(reachable, task_id)
        show_sizes(place)


if __name__ == "__main__":
    main()
