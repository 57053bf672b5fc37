# ruff: noqa: T201
# The table that it prints is all that this program is for.
"""Two hundred calls for one request, from four processes on one ledger, at a gateway that takes its time.

Run by hand: ``python -m tests.benchmarks.crowd``. Each process has a service of its own and makes fifty calls
at once. The API is imitated in a child process. Nothing here fails because something was slow: the aim stands
beside the figure.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from urllib.request import urlopen

import anyio

from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.settings import Settings

PROCESSES, CALLS = 4, 50
POST_SECONDS = 5.0
"""How long the gateway takes for the POST."""
REQUEST = GenerationRequest(prompt="The cat yawns.", image_urls=["http://127.0.0.1/cat.png"])
"""At an address that needs no look-up of a name, which can take seconds."""


async def sandbox() -> None:
    async def no_picture(url: str) -> bytes:
        return b""

    slow = Fault("submit", "slow", None, seconds=POST_SECONDS)
    async with running(Sandbox(seconds=3600, credits=1e9, fetch=no_picture, faults=[slow])) as url:
        print(url, flush=True)
        await anyio.sleep_forever()


async def calls(url: str, folder: str, begin: float) -> None:
    """One process's share: prints the task ids, and when the last call was answered."""
    environ = {
        "EVOLINK_API_KEY": "sk-sandbox",
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_DATA_DIR": folder,
        "WAN_MCP_OUTPUT_DIR": folder,
        "WAN_MCP_IMAGE_CHECK": "0",
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
    }
    found: set[str] = set()

    async with Runtime(Settings.load(environ)) as runtime:
        service = Services(runtime).current()

        async def call() -> None:
            found.add((await service.generate(REQUEST)).task.id)

        await anyio.sleep(max(begin - time(), 0))
        async with anyio.create_task_group() as group:
            for _ in range(CALLS):
                group.start_soon(call)
        print(json.dumps([sorted(found), time()]))


def measure(folder: Path) -> None:
    program = [sys.executable, __file__]
    with subprocess.Popen([*program, "sandbox"], stdout=subprocess.PIPE, text=True) as api:
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        begin = time() + 4
        arguments = [url, str(folder), str(begin)]
        processes = [
            subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        answers = [json.loads(process.communicate()[0]) for process in processes]
        records = json.load(urlopen(f"{url}/sandbox/records"))
        api.kill()
    tasks = set().union(*(ids for ids, _ in answers))
    last = max(moment for _, moment in answers) - begin
    posted = min(call["time"] for call in records["calls"] if call["at"] == "submit") - begin
    print(f"{PROCESSES * CALLS} calls, {records['posts']} POST, {len(tasks)} task (aim: 1 and 1)")
    print(f"POST sent after {posted:.2f} s, answered {POST_SECONDS:g} s later; last call after {last:.2f} s")
    print(f"beyond the POST: {last - POST_SECONDS:+.2f} s (aim: < +2 s)")


if __name__ == "__main__":
    if sys.argv[1:] == ["sandbox"]:
        anyio.run(sandbox)
    elif sys.argv[1:]:
        anyio.run(calls, sys.argv[1], sys.argv[2], float(sys.argv[3]))
    else:
        with TemporaryDirectory() as name:
            measure(Path(name))
