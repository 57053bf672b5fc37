"""Saving a video beside a plain streamed copy of it: ``python -m tests.benchmarks.saving``.

A server in a process of its own sends the same 20 MB over loopback. The plain copy is an HTTP client that
writes each chunk to a file, and ``fsync`` at the end. Both take turns in one process; the medians are
compared. "Saved" is all of ``VideoService.save``: the task read, the locks, the examination, the digest,
the name and the ledger.
"""

# ruff: noqa: T201  a benchmark prints its results

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import httpx2

from tests.calls import ARGUMENTS
from tests.videos.host import film, silent
from tests.videos.real import settings
from tests.world import KEY, fetch
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Sandbox, running

SIZE = 20_000_000
ROUNDS = 40


async def serve() -> None:
    """The sandbox, until its parent ends it."""
    content = film(SIZE)
    sandbox = Sandbox(seconds=0, key=KEY, credits=1e9, fetch=fetch, render=lambda *order: content)
    async with running(sandbox) as url:
        print(url, flush=True)
        await anyio.sleep_forever()


async def copy(link: str, target: Path) -> None:
    """A plain copy."""
    async with httpx2.AsyncClient(trust_env=False) as client, client.stream("GET", link) as response:
        with target.open("wb") as file:
            async for chunk in response.aiter_raw():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())


async def measure(url: str, folder: Path) -> None:
    saved, copied = [], []
    async with Runtime(settings(url, folder)) as runtime:
        service = Services(runtime).current()
        for number in range(ROUNDS + 1):
            request = GenerationRequest.model_validate(ARGUMENTS | {"prompt": f"Film {number}"})
            task = (await service.generate(request)).task
            link = (await service.get_task(task.id)).task.results[0]
            await copy(link, folder / "warm.mp4")  # the server makes the file when it is first requested
            start = time.perf_counter()
            await copy(link, folder / "copy.mp4")
            middle = time.perf_counter()
            found = (await service.save(task.id, None, silent)).saved
            end = time.perf_counter()
            assert found is not None
            assert found.size == SIZE
            if number:  # the first one of each warms up
                copied.append(middle - start)
                saved.append(end - middle)
    ours, plain = statistics.median(saved), statistics.median(copied)
    print(f"saved {ours * 1000:.0f} ms, plain copy {plain * 1000:.0f} ms, ratio {ours / plain:.2f}")


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        anyio.run(serve)
        return
    os.environ["NO_PROXY"] = "127.0.0.1"
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.saving", "serve"], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        try:
            assert server.stdout is not None
            anyio.run(measure, server.stdout.readline().strip(), Path(folder))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
