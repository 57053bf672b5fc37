"""A ledger on PostgreSQL beside SQLite, two servers beside one: ``python -m tests.benchmarks.scale``.

Everything runs on this machine, the database too, which writes what is durable to the same disk as SQLite
does. Both sides of a comparison take turns in one run; the medians are compared. Nothing here fails because
something was slow: the aims stand beside the figures.
"""

# ruff: noqa: T201  a benchmark prints its results

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import anyio
import psycopg
from pydantic import SecretStr

from tests.callers import ADDRESS
from tests.postgres import running_postgres
from wan_mcp.evolink import Task
from wan_mcp.generation.owners import ONE_ACCOUNT, Owner
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.ledger import ClaimRules, Fingerprints, Image, Intent, Kept, OwnerLedger, Post
from wan_mcp.ledger.postgres.store import PostgresLedger
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.settings import Settings
from wan_mcp.storage.storage import Storage

API = "https://api.evolink.ai"
SECRET = "0" * 32
ROUNDS = 300
NOTICES = 200
OWNERS, CLAIMS = 16, 60
QUEUED = 400
SAMPLE = 0.002
"""Seconds between two looks at who waits for a lock."""
numbers = itertools.count()
Call = Callable[[], Awaitable[object]]


def row(name: str, figures: str, ratio: float, aim: str) -> None:
    print(f"{name:<44}{figures:<30}{ratio:<8.2f}{aim}", flush=True)


def milliseconds(*values: float) -> str:
    return " / ".join(f"{1000 * value:.2f}" for value in values) + " ms"


async def timed(call: Call) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def intent(name: object) -> Intent:
    prints = Fingerprints(f"name of {name}", f"content of {name}", f"address of {name}")
    return Intent(prints, "The cat yawns.", 5, "720p", 25.5, image=Image(800, 600, "PNG"))


async def record(ledger: OwnerLedger) -> str:
    """What the ledger does for a new request: a claim, the record of the POST, and that of its answer."""
    name = f"{next(numbers)}-{time.time_ns()}"
    entry = (await ledger.claim(intent(name), ClaimRules(time.time(), 3600))).entry
    assert entry is not None
    await ledger.mark_posted(entry.number, Post(time.time(), 0.0), {"prompt": "The cat yawns."})
    task = Task(id=f"task-unified-{name}", status="processing")
    await ledger.mark_answered(entry.number, task, time.time())
    return task.id


async def compare_records(url: str, folder: Path) -> None:
    ledgers = PostgresLedger(SecretStr(url), follows_at=API), SqliteLedger(folder)
    one, other = (ledger.for_owner(API, "me") for ledger in ledgers)
    pairs = [(await timed(lambda: record(one)), await timed(lambda: record(other))) for _ in range(ROUNDS)]
    ours, plain = (median(pair[side] for pair in pairs[ROUNDS // 10 :]) for side in (0, 1))
    row("claim + record, PostgreSQL / SQLite", milliseconds(ours, plain), ours / plain, "<= 3")
    for ledger in ledgers:
        await ledger.aclose()


@asynccontextmanager
async def server(url: str, folder: Path) -> AsyncIterator[Services]:
    """A server in mode ``oauth``, as far as waits need it: no job reads or saves anything."""
    settings = Settings.load(
        {
            "EVOLINK_API_KEY": "sk-sandbox",
            "WAN_MCP_DATABASE_URL": url,
            "WAN_MCP_SECRET": SECRET,
            "WAN_MCP_STORAGE_URL": (folder / "storage").as_uri(),
            "WAN_MCP_DATA_DIR": str(folder),
        }
    )
    storage = Storage.open(settings, ADDRESS, time.time)
    owner = Owner(settings.require_key(), "0123456789abcdef")
    async with Runtime(settings, deployment=ONE_ACCOUNT, storage=storage) as runtime:
        yield Services(runtime, lambda: owner)


async def compare_notices(url: str, folder: Path) -> None:
    """From the moment at which one server has a result to the answer of a wait on the other one."""
    async with AsyncExitStack() as stack:
        knows = (await stack.enter_async_context(server(url, folder))).current()
        waits = (await stack.enter_async_context(server(url, folder))).current()
        listener = await psycopg.AsyncConnection.connect(url, autocommit=True)
        sender = await psycopg.AsyncConnection.connect(url, autocommit=True)
        stack.push_async_callback(listener.close)
        stack.push_async_callback(sender.close)
        await listener.execute("LISTEN bare")
        ledger = knows._ledger
        kept = Kept("results/a.mp4", "a.mp4", time.time(), 1, "digest")

        async def bare() -> float:
            began = time.perf_counter()
            await sender.execute("NOTIFY bare")
            async for _ in listener.notifies(stop_after=1):
                pass
            return time.perf_counter() - began

        async def result(status: Any) -> float:
            task_id = await record(ledger)
            done = Task(id=task_id, status=status, results=("https://a.example/b.mp4",))
            if status == "completed":
                await ledger.observe(done, time.time())
            answered = anyio.Event()
            ends: list[float] = []

            async def wait() -> None:
                snapshot = await waits.wait(task_id, 40, heard)
                ends.append(time.perf_counter())
                assert snapshot.task.status == status
                assert (snapshot.kept is not None) == (status == "completed")
                answered.set()

            async def heard(progress: object) -> None:
                """What is known of the task."""

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.sleep(0.1)  # by then it waits
                began = time.perf_counter()
                if status == "completed":
                    await ledger.mark_kept(task_id, kept)
                else:
                    await ledger.observe(done, time.time())
                await answered.wait()
            return ends[0] - began

        for status in ("failed", "completed"):
            pairs = [(await result(status), await bare()) for _ in range(NOTICES)]
            ours, plain = (median(pair[side] for pair in pairs[10:]) for side in (0, 1))
            what = "a failure" if status == "failed" else "a kept video"
            row(f"{what}, answer elsewhere / NOTIFY", milliseconds(ours, plain), ours / plain, "<= 20")


async def claim_often(url: str, owners: list[str], claims: int) -> None:
    """Claims of several owners at the same time, each of them one after the other."""
    ledger = PostgresLedger(SecretStr(url))
    await ledger.open()
    print("ready", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    times: list[float] = []

    async def one(name: str) -> None:
        owner = ledger.for_owner(API, name)
        for _ in range(claims):
            times.append(await timed(lambda: claim(owner)))

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for name in owners:
            group.start_soon(one, name)
    print(json.dumps([time.perf_counter() - began, times]), flush=True)
    await ledger.aclose()


async def claim(owner: OwnerLedger) -> None:
    name = f"{next(numbers)}-{time.time_ns()}"
    made = await owner.claim(intent(name), ClaimRules(time.time(), 3600, daily_credits=1e12))
    assert made.kind == "fresh"
    assert made.entry is not None
    await owner.release(made.entry.number)


def processes(url: str, *shares: list[str]) -> list[tuple[float, list[float]]]:
    """What each process reports that claims for its owners, all at the same time."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", "claims", url, str(CLAIMS)]
    started = [
        subprocess.Popen([*command, *share], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for share in shares
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    reports = [json.loads(process.communicate()[0]) for process in started]
    return [(seconds, times) for seconds, times in reports]


@contextmanager
def watched_locks(url: str) -> Iterator[list[int]]:
    """How many sessions waited for a lock, at each look."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not over.wait(SAMPLE):
                found = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
                seen.append(found[0] if found else 0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def compare_servers(url: str) -> None:
    names = [f"owner {number}" for number in range(OWNERS)]
    alone, both = [], []
    with watched_locks(url) as seen:
        for _ in range(3):
            alone.append(max(seconds for seconds, _ in processes(url, names)))
            both.append(max(seconds for seconds, _ in processes(url, names[::2], names[1::2])))
    count = OWNERS * CLAIMS
    figures = f"{count / median(both):.0f} / {count / median(alone):.0f} a second"
    row("claims of many owners, two servers / one", figures, median(alone) / median(both), ">= 1")
    print(f"{'  sessions that waited for a lock':<44}{max(seen)} in {len(seen)} looks; the aim is 0")


async def compare_hot_owner(url: str) -> None:
    """The claims of others while one owner has many queued."""
    ledger = PostgresLedger(SecretStr(url))
    others = [ledger.for_owner(API, f"other {number}") for number in range(4)]
    hot = ledger.for_owner(API, "hot")

    async def quiet() -> list[float]:
        return [await timed(partial(claim, others[number % 4])) for number in range(200)]

    await quiet()
    before = await quiet()
    async with anyio.create_task_group() as group:
        for _ in range(QUEUED):
            group.start_soon(claim, hot)
        during = await quiet()
    (plain, ours) = (quantiles(times, n=100)[98] for times in (before, during))
    row("others' 99th percentile, hot owner / quiet", milliseconds(ours, plain), ours / plain, "<= 5")
    await ledger.aclose()


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        running_postgres(fsync=True) as postgres,
        postgres.database() as url,
    ):
        print(f"{'':<44}{'medians':<30}{'ratio':<8}aim", flush=True)
        anyio.run(compare_records, url, Path(name) / "sqlite")
        anyio.run(compare_notices, url, Path(name))
        anyio.run(compare_hot_owner, url)
        compare_servers(url)


if __name__ == "__main__":
    if sys.argv[1:2] == ["claims"]:
        anyio.run(claim_often, sys.argv[2], sys.argv[4:], int(sys.argv[3]))
    else:
        main()
