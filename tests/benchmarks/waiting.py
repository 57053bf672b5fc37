"""2,000 tasks waited for at once in one process: ``python tests/benchmarks/waiting.py``.

Each figure comes from a process of its own, on a clock that jumps over idle time: the sandbox, the server
and the client talk in memory, so what is counted is what a wait costs here. Beside it stands a naive
tool that reads its task every 8 seconds in a loop, and one that only sleeps: the SDK's own share.
"""

# ruff: noqa: T201  a benchmark prints its results

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.server import MCPServer

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.clock import JumpingLoop, now
from tests.world import World
from wan_mcp.evolink import ImageToVideoRequest
from wan_mcp.sandbox import Sandbox

TASKS = 2000
SECONDS = 120
PER_SECOND = 100
PAGE = resource.getpagesize()

Wait = Callable[[str], Awaitable[Any]]


def resident() -> int:
    """Bytes of this process that are in memory now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def naive_server(world: World, *, reads: bool) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("naive", log_level="ERROR")
    evolink = world.evolink()

    @server.tool()
    async def wait_for_task(task_id: str, timeout_seconds: float) -> str:
        end = anyio.current_time() + timeout_seconds
        while anyio.current_time() < end:
            await anyio.sleep(8)
            if reads and (await evolink.task(task_id)).is_over:
                return "completed"
        return "completed"

    return server


async def submit_all(sandbox: Sandbox, world: World) -> list[str]:
    evolink, ids = world.evolink(), []
    for number in range(TASKS):
        request = ImageToVideoRequest(prompt=f"{number}", image_urls=["https://pictures.example.com/a.png"])
        ids.append((await evolink.submit(request, idempotency_key=f"benchmark-{number:012}")).task.id)
    return ids


async def measure(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), seconds=SECONDS, credits=1e9)
        limits = {
            "WAN_MCP_READS_PER_SECOND": str(PER_SECOND),
            "WAN_MCP_READS_AT_ONCE": "50",
            "WAN_MCP_MAX_WAIT_SECONDS": "3600",
        }
        ids = await submit_all(world.sandbox, world)
        server = world.server(**limits) if kind == "ours" else naive_server(world, reads=kind == "naive")
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(Client(server))
            await wait_all(client, ids, world)


async def wait_all(client: Client, ids: list[str], world: World) -> None:
    seen = 0

    async def wait(task_id: str) -> None:
        nonlocal seen
        result = await client.call_tool("wait_for_task", {"task_id": task_id, "timeout_seconds": 600})
        seen += "completed" in str(result)

    before, cpu, start, reads = resident(), time.process_time(), now(), world.records.reads
    peak = 0
    async with anyio.create_task_group() as group:
        for task_id in ids:
            group.start_soon(wait, task_id)
        await anyio.sleep(60)
        peak = resident()
    figures = {
        "seen": seen,
        "bytes": (peak - before) / TASKS,
        "cpu": (time.process_time() - cpu) / TASKS,
        "reads": (world.records.reads - reads) / TASKS,
        "rate": (world.records.reads - reads) / (now() - start),
        "seconds": now() - start,
    }
    print(json.dumps(figures))


def child(kind: str) -> dict[str, float]:
    command = [sys.executable, __file__, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    print(f"{TASKS} tasks of {SECONDS} s, waited for at once; at most {PER_SECOND} reads a second")
    print(f"{'':<12} {'seen':>6} {'KB/call':>8} {'ms CPU':>7} {'reads':>6} {'reads/s':>8} {'all seen':>9}")
    rows = {kind: child(kind) for kind in ("sleep", "naive", "ours")}
    for kind, row in rows.items():
        figures = f"{row['seen']:>6.0f} {row['bytes'] / 1024:>8.1f} {row['cpu'] * 1000:>7.2f}"
        print(f"{kind:<12} {figures} {row['reads']:>6.1f} {row['rate']:>8.1f} {row['seconds']:>7.0f} s")
    beyond = (rows["ours"]["bytes"] - rows["sleep"]["bytes"]) / 1024
    print(f"beyond the SDK's own: {beyond:.1f} KB a call (aim: at most 40)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(measure, sys.argv[1], backend_options={"loop_factory": JumpingLoop})
    else:
        main()
