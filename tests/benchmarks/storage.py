"""Keeping a result in storage beside a plain streamed copy of it: ``python -m tests.benchmarks.storage``.

A server in a process of its own sends the same 20 MB over loopback. The plain copy streams the answer of an
HTTP client into the same store. Both take turns in one process; the medians are compared. "Kept" is all of
``VideoService.save``: the task read, the download, the examination, the digest, the object, the link and the
ledger. Then ten videos are kept at once: how much more memory that takes than keeping one after the other,
and for how long the event loop does not turn.
"""

# ruff: noqa: T201  a benchmark prints its results

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx2
import obstore

from tests.benchmarks.saving import SIZE
from tests.calls import ARGUMENTS
from tests.s3 import running_s3
from tests.videos.host import silent
from tests.videos.real import settings
from wan_mcp.generation.owners import ONE_ACCOUNT, Owner
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.storage import stores
from wan_mcp.storage.storage import Storage

ROUNDS = 20
AT_ONCE = 10
STATUS = Path("/proc/self/status")


async def copy(link: str, store: stores.Store) -> None:
    """A plain copy."""

    async def chunks(response: httpx2.Response) -> AsyncIterator[bytes]:
        async for chunk in response.aiter_raw():
            yield chunk

    async with httpx2.AsyncClient(trust_env=False) as client, client.stream("GET", link) as response:
        await obstore.put_async(store, "copy", chunks(response))


async def finished(service: VideoService, name: str) -> tuple[str, str]:
    """A task that is over: its id, and the link of its result."""
    request = GenerationRequest.model_validate(ARGUMENTS | {"prompt": name})
    task = (await service.generate(request)).task
    return task.id, (await service.get_task(task.id)).task.results[0]


async def compare(service: VideoService, store: stores.Store) -> None:
    """Print how long a video takes to be kept, and to be copied."""
    kept, copied = [], []
    for number in range(ROUNDS + 1):
        task_id, link = await finished(service, f"Film {number}")
        await copy(link, store)  # the server makes the file when it is first requested
        start = time.perf_counter()
        await copy(link, store)
        middle = time.perf_counter()
        found = (await service.save(task_id, None, silent)).kept
        end = time.perf_counter()
        assert found is not None
        assert found.size == SIZE
        if number:  # the first one of each warms up
            copied.append(middle - start)
            kept.append(end - middle)
    ours, plain = statistics.median(kept), statistics.median(copied)
    print(f"  kept {ours * 1000:.0f} ms, plain copy {plain * 1000:.0f} ms, ratio {ours / plain:.2f}")


async def crowd(service: VideoService) -> None:
    """Print what ten at once take."""
    tasks = [await finished(service, f"Crowd {number}") for number in range(AT_ONCE + 1)]
    await service.save(tasks.pop()[0], None, silent)
    before, longest = peak(reset=True), 0.0
    async with anyio.create_task_group() as group:
        over = anyio.Event()

        async def turn() -> None:
            nonlocal longest
            last = time.perf_counter()
            while not over.is_set():
                await anyio.sleep(0.001)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        group.start_soon(turn)
        async with anyio.create_task_group() as saves:
            for task_id, _ in tasks:
                saves.start_soon(service.save, task_id, None, silent)
        over.set()
    more = (peak() - before) / 1e6
    print(f"  {AT_ONCE} at once: {more:.0f} MB more, longest turn of the event loop {longest * 1000:.0f} ms")


def peak(*, reset: bool = False) -> int:
    """Bytes of memory: the most since the last reset, or now where it is reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(found.split()[1]) * 1024


async def measure(url: str, folder: Path, storage_url: str) -> None:
    wanted = settings(url, folder).model_copy(update={"storage_url": storage_url})
    storage = Storage.open(wanted, url, time.time)
    async with Runtime(wanted, deployment=ONE_ACCOUNT, storage=storage) as runtime:
        owner = Owner(wanted.require_key(), "https://issuer.example.com\nalice")
        service = Services(runtime, lambda: owner).current()
        await compare(service, stores.opened(storage_url))
        await crowd(service)


def main() -> None:
    os.environ |= {"NO_PROXY": "127.0.0.1"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        s3 = stack.enter_context(running_s3())
        os.environ |= s3.environ
        serve = [sys.executable, "-m", "tests.benchmarks.saving", "serve"]
        server = stack.enter_context(subprocess.Popen(serve, stdout=subprocess.PIPE, text=True))
        stack.callback(server.terminate)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        for place in ((folder / "storage").as_uri(), s3.storage_url):
            print(place.partition(":")[0])
            anyio.run(measure, url, folder / place.partition(":")[0], place)


if __name__ == "__main__":
    main()
