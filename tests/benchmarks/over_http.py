# ruff: noqa: T201  a benchmark prints its results
"""What the hosted server costs beside a bare one of the same SDK, as ratios within one run.

Run by hand, on Linux: ``python tests/benchmarks/over_http.py``. Server, bare server and sandbox are
processes of their own on this machine; the client is plain HTTP over as many connections as it has calls at
once. Nothing here fails because something was slow: the aims stand beside the figures.

It is not called http.py: in this folder, that would hide Python's own module from all the benchmarks.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.server.http.hosted import HTTP_ERAS, Era, message
from tests.server.http.live import HOST, LiveServer, live_at

CALLERS = 1001
"""Accounts of the sandbox, each with a key: no owner reaches its limit of requests."""
SINGLE, BURSTS, AT_ONCE = 60, 8, 200
WAITS = 1000
WAIT_SECONDS = 25
MANY_CONNECTIONS = httpx2.Limits(max_connections=None, max_keepalive_connections=None)

SANDBOX = """
import sys, anyio
from wan_mcp.sandbox import Account, Sandbox, running
from wan_mcp.sandbox.orders import Order

async def no_picture(url):  # such a task fails at its end, which this run does not see
    return b""

async def main():
    accounts = [Account(str(number), f"sk-caller-{number:06}") for number in range(int(sys.argv[1]))]
    sandbox = Sandbox(seconds=3600, accounts=accounts, fetch=no_picture)
    async with running(sandbox) as url:
        print(url, flush=True)
        for account in accounts:
            order = Order("a", "https://example.com/a.png", 5, "720p", None)
            print((await sandbox.submit(order, url, account=account)).id, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
"""Prints its address, and the id of a running task of each account."""
UNLIMITED = """
from wan_mcp.server.http import app, callers, limits
callers.OF_AN_OWNER = app.OF_AN_ADDRESS = 10**9
"""
"""The limits of requests are not what is measured: all calls here come from one address."""
BARE = """
import os, sys
import httpx2, uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from starlette.requests import Request
from starlette.responses import Response

server = MCPServer("bare", log_level="WARNING")
client = httpx2.AsyncClient(
    base_url=os.environ["EVOLINK_BASE_URL"],
    limits=httpx2.Limits(max_connections=40, max_keepalive_connections=20),
    timeout=60,
)
size = int(os.environ["ANSWER_SIZE"])

@server.tool()
async def get_task(task_id: str, context: Context) -> str:
    credential = context.request_context.request.headers["authorization"]
    for _ in range(2):  # the sandbox may just have closed an idle connection
        try:
            response = await client.get("/v1/tasks/" + task_id, headers={"authorization": credential})
            break
        except httpx2.TransportError:
            pass
    return response.raise_for_status().text.ljust(size)[:size]

@server.custom_route("/readyz", methods=["GET"])
async def ready(request: Request) -> Response:
    return Response("ok")

app = server.streamable_http_app(stateless_http=True)
port = int(sys.argv[sys.argv.index("--port") + 1])
uvicorn.run(app, port=port, log_level="warning", access_log=False, timeout_keep_alive=75)
"""


def key(number: int) -> str:
    return f"sk-caller-{number:06}"


class Caller:
    """All calls of one process, over kept connections."""

    def __init__(self, server: LiveServer, ids: list[str]) -> None:
        self.http = httpx2.AsyncClient(
            base_url=server.url, limits=MANY_CONNECTIONS, timeout=120, trust_env=False
        )
        self.pid = server.process.pid
        self._ids = ids

    async def call(self, era: Era, tool: str, number: int, **arguments: Any) -> str:
        """A tool's answer to the caller with this number."""
        body, headers = message("tools/call", era, name=tool, arguments=arguments)
        headers["authorization"] = f"Bearer {key(number)}"
        response = await self.http.post("/mcp", json=body, headers=headers)
        text = response.text
        line = next((line for line in text.splitlines() if line.startswith("data: {")), "data: " + text)
        result = json.loads(line.removeprefix("data: "))["result"]
        assert response.status_code == 200, text
        assert not result.get("isError"), text
        return str(result["content"][0]["text"])

    async def get_task(self, era: Era, number: int) -> str:
        return await self.call(era, "get_task", number, task_id=self._ids[number])


async def timed(work: Coroutine[Any, Any, Any]) -> float:
    began = perf_counter()
    await work
    return (perf_counter() - began) * 1000


async def compare(ours: Caller, bare: Caller) -> None:
    """One read after the other, and 200 at once, each of another caller; both servers in turns."""
    for era in HTTP_ERAS:

        async def burst(caller: Caller, first: int, era: Era = era) -> None:
            await asyncio.gather(*(caller.get_task(era, first + number) for number in range(AT_ONCE)))

        for first in range(0, 4 * AT_ONCE, AT_ONCE):  # opens the connections, and all are known
            for caller in (ours, bare):
                await burst(caller, first)
        pairs = [
            (await timed(ours.get_task(era, number)), await timed(bare.get_task(era, number)))
            for number in range(200, 200 + SINGLE)
        ]
        show(f"get_task, {era}", pairs, "<= 1.25")
        bursts = []
        for number in range(BURSTS):
            await asyncio.sleep(2)  # a state that was just read is not read again
            first = number % 4 * AT_ONCE
            bursts.append((await timed(burst(ours, first)), await timed(burst(bare, first))))
        show(f"{AT_ONCE} get_task at once, {era}", bursts, "<= 1.25")


async def hold_waits(caller: Caller) -> None:
    """Waits of as many callers, half in each era, and meanwhile the credits of one more."""
    last = CALLERS - 1

    async def credits(times: int) -> float:
        return median([await timed(caller.call("modern", "get_credits", last)) for _ in range(times)])

    for number in range(WAITS):  # each is known, and has its connection
        await caller.call(HTTP_ERAS[number % 2], "get_task", number, task_id=caller._ids[number])
    quiet, before = await credits(30), resident(caller.pid)
    waits = [
        asyncio.create_task(
            caller.call(
                HTTP_ERAS[number % 2],
                "wait_for_task",
                number,
                task_id=caller._ids[number],
                timeout_seconds=WAIT_SECONDS,
            )
        )
        for number in range(WAITS)
    ]
    await asyncio.sleep(WAIT_SECONDS / 2)
    busy, held = await credits(30), resident(caller.pid) - before
    answers = [answer for answer in await asyncio.gather(*waits) if "wait_for_task" in answer]
    print(f"{len(answers)} of {WAITS} waits answered; {held / WAITS / 1024:.0f} KB each (aim: at most 130)")
    print(f"get_credits meanwhile: {busy:.1f} ms, quiet {quiet:.1f} ms: {busy / quiet:.2f} (aim: at most 3)")


async def meet(caller: Caller) -> None:
    """What is kept of callers: first all are new, then all are known."""
    await caller.get_task("modern", CALLERS - 1)
    before = resident(caller.pid)
    kept = []
    for _ in range(2):
        for number in range(WAITS):
            await caller.get_task("modern", number)
        kept.append(resident(caller.pid) - before)
    new, known = kept[0] / WAITS / 1024, (kept[1] - kept[0]) / WAITS / 1024
    print(f"a new caller: {new:.1f} KB (aim: at most 60); a known one: {known:.1f} KB (aim: 0)")


def resident(pid: int) -> int:
    """Bytes of a process that are in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError("the process has no resident memory")


def show(name: str, pairs: list[tuple[float, float]], aim: str) -> None:
    ratios = [ours / bare for ours, bare in pairs]
    medians = f"{median(ours for ours, _ in pairs):.1f} / {median(bare for _, bare in pairs):.1f} ms"
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{name:<32}{medians:<22}{spread:<26}{aim}", flush=True)


@contextmanager
def sandbox() -> Iterator[tuple[str, list[str]]]:
    command = [sys.executable, "-c", SANDBOX, str(CALLERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            yield url, [process.stdout.readline().strip() for _ in range(CALLERS)]
        finally:
            process.kill()


@asynccontextmanager
async def started(program: str, url: str, ids: list[str], **environ: str) -> AsyncIterator[Caller]:
    with TemporaryDirectory() as folder:
        async with live_at(url, Path(folder), program, **environ) as server:
            caller = Caller(server, ids)
            async with caller.http:
                yield caller


async def main() -> None:
    os.environ.setdefault("NO_PROXY", HOST)
    print(f"{'':<32}{'wan-mcp / bare':<22}{'ratio':<26}aim")
    with sandbox() as (url, ids):
        async with started(UNLIMITED, url, ids) as ours:
            size = str(len(await ours.get_task("modern", 0)))
            async with started(BARE, url, ids, ANSWER_SIZE=size) as bare:
                await compare(ours, bare)
        for measure in (meet, hold_waits):
            async with started(UNLIMITED, url, ids) as ours:
                await measure(ours)


if __name__ == "__main__":
    asyncio.run(main())
