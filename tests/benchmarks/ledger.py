# ruff: noqa: T201
# The table that it prints is all that this program is for.
"""What the ledger costs: beside the bare paid request, and with ten thousand rows beside ten.

Run by hand: ``python tests/benchmarks/ledger.py``. The API is imitated in a child process on this machine.
The ledger's files are on the disk of the folder for temporary files, and what must be durable is. Both sides
of a comparison are measured in turns. Nothing here fails because something was slow: the aims stand beside
the figures.
"""

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from sqlite3 import connect
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, time
from typing import Any

import anyio
from pydantic import SecretStr

from wan_mcp.evolink import Connections, Evolink, Task
from wan_mcp.generation.jobs import Submitter
from wan_mcp.generation.measures import Uncounted
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import DELAYS, POSTS_AT_ONCE
from wan_mcp.generation.sending import Means
from wan_mcp.images import Picture
from wan_mcp.ledger import ClaimRules, Entry, Fingerprints, Image, Intent, OwnerLedger, Post
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger
from wan_mcp.settings import Settings

KEY = "sk-sandbox"
API = "https://api.evolink.ai"
DEADLINE = 110
"""Seconds after which the run is given up."""
SUBMISSIONS = 300
FEW, MANY = 10, 10_000
ROUNDS = 300
HOUR = 3600.0
YEAR = 365 * 24 * HOUR
REQUEST = GenerationRequest(prompt="The cat yawns.", image_urls=["https://pictures.example.com/cat.png"])
SANDBOX = """
import anyio

from wan_mcp.sandbox import Sandbox, running


async def no_picture(url):  # such a task fails at its end, which this run does not see
    return b""


async def main():
    sandbox = Sandbox(seconds=3600, key="sk-sandbox", credits=1e9, fetch=no_picture)
    async with running(sandbox) as url:
        print(url, flush=True)
        await anyio.sleep_forever()


anyio.run(main)
"""

Call = Callable[[], Awaitable[object]]
numbers = itertools.count()


def intent(name: object) -> Intent:
    prints = Fingerprints(f"name of {name}", f"content of {name}", f"address of {name}")
    return Intent(prints, "The cat yawns.", 5, "720p", 25.5, image=Image(800, 600, "PNG"))


def rules(**rules: Any) -> ClaimRules:
    return ClaimRules(time(), repeat_seconds=2 * YEAR, **rules)


@asynccontextmanager
async def api() -> AsyncIterator[Evolink]:
    """The imitated API in a process of its own."""
    async with await anyio.open_process(
        [sys.executable, "-c", SANDBOX], stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            url = (await process.stdout.receive()).decode().strip()
            async with Connections() as connections:
                yield Evolink(SecretStr(KEY), connections, base_url=url, files_url=url)
        finally:
            process.kill()


async def in_turns(one: Call, other: Call, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each call of both, after a few that do not count."""
    measured = [(await timed(one), await timed(other)) for _ in range(times + times // 10)][times // 10 :]
    return [pair[0] for pair in measured], [pair[1] for pair in measured]


async def timed(call: Call) -> float:
    began = perf_counter()
    await call()
    return (perf_counter() - began) * 1000


async def compare_submissions(folder: Path) -> None:
    """One request with all that the ledger writes for it, beside nothing but its request."""
    ledger = SqliteLedger(folder)
    picture = Picture("a picture", "a place", address=REQUEST.image_urls[0])

    async with api() as evolink, anyio.create_task_group() as background:
        slots = anyio.CapacityLimiter(POSTS_AT_ONCE)
        means = Means(evolink, ledger.for_owner(API, KEY), time, slots, DELAYS, Uncounted())
        submitter = Submitter(means, Settings.load({}), background, lambda submitted, sent: None)

        async def bare() -> None:
            await evolink.submit(REQUEST, idempotency_key=f"bare-submission-{next(numbers)}")

        async def kept() -> None:
            request = REQUEST.model_copy(update={"prompt": f"The cat yawns {next(numbers)} times."})
            await submitter.submit(request, picture, DEADLINE, unheard)

        ours, plain = await in_turns(kept, bare, SUBMISSIONS)
    await ledger.aclose()
    more = [with_ledger - without for with_ledger, without in zip(ours, plain, strict=True)]
    row("one submission", medians(ours, plain), f"{median(more):+.2f} ms", "< +5 ms")


async def unheard(stage: str) -> None:
    """What is being done, which nobody wants to know here."""


async def posted(ledger: OwnerLedger, name: str, now: float) -> Entry:
    """A request that was sent."""
    entry = (await ledger.claim(intent(name), ClaimRules(now, HOUR))).entry
    assert entry is not None
    return await ledger.mark_posted(entry.number, Post(now, 0.0), REQUEST.body())


async def filled(folder: Path, rows: int) -> SqliteLedger:
    """A ledger with tasks of a year, some of which failed, and one of which has no answer."""
    shared = SqliteLedger(folder)
    ledger = shared.for_owner(API, KEY)
    began = time() - YEAR
    first = await posted(ledger, "first", began)
    task = Task(id="task-unified-first", status="completed", results=("https://a.example/b.mp4",))
    await ledger.mark_answered(first.number, task, began)
    lost = await posted(ledger, "lost", time() - HOUR)
    await ledger.release(lost.number)
    await shared.aclose()
    _multiply(folder, rows - 2)
    return shared


def _multiply(folder: Path, times: int) -> None:
    changed = {
        "number": "NULL",
        "reference": "'name of ' || n",
        "content": "'content of ' || n",
        "address": "'address of ' || n",
        "idempotency_key": "'wan-mcp-' || n",
        "task_id": "'task-unified-' || n",
        "task": "replace(task, 'task-unified-first', 'task-unified-' || n)",
        "status": "CASE WHEN n % 4 = 0 THEN 'failed' ELSE status END",
        "asked_at": f"asked_at + n * {YEAR / times}",
        "posted_at": f"asked_at + n * {YEAR / times}",
        "reposted_at": f"asked_at + n * {YEAR / times}",
        "answered_at": f"asked_at + n * {YEAR / times}",
    }
    with closing(connect(folder / FILE_NAME)) as database, database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(entries)")]
        database.execute(
            "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)"
            f" INSERT INTO entries SELECT {', '.join(changed.get(name, name) for name in columns)}"
            " FROM entries, counted WHERE task_id = 'task-unified-first'",
            (times,),
        )


async def compare_sizes(folder: Path) -> None:
    """The same questions to a full ledger and to a nearly empty one."""
    ledgers = await filled(folder / "many", MANY), await filled(folder / "few", FEW)
    many, few = (ledger.for_owner(API, KEY) for ledger in ledgers)
    assert (len(await many.entries(limit=2 * MANY)), len(await few.entries())) == (MANY, FEW)

    async def repeat(ledger: OwnerLedger) -> None:
        claim = await ledger.claim(intent(FEW - 3), rules())
        assert claim.kind == "repeat"

    async def new(ledger: OwnerLedger, **caps: float) -> None:
        claim = await ledger.claim(intent("new"), rules(**caps))
        assert claim.kind == "fresh"
        assert claim.entry is not None
        await ledger.release(claim.entry.number)

    async def resume(ledger: OwnerLedger) -> None:
        claim = await ledger.claim(intent("lost"), rules())
        assert claim.kind == "resume"
        assert claim.entry is not None
        await ledger.release(claim.entry.number)

    questions: dict[str, Callable[[OwnerLedger], Awaitable[object]]] = {
        "list": lambda ledger: ledger.entries(limit=10),
        "list of what failed": lambda ledger: ledger.entries(status="failed", limit=2),
        "list of what is unknown": lambda ledger: ledger.entries(status="unknown", limit=10),
        "repeat check": repeat,
        "claim of a new request": new,
        "new request under a cap": lambda ledger: new(ledger, daily_credits=1e9),
        "claim of an open request": resume,
        "all open requests": lambda ledger: ledger.rivals(),
        "50 ids of a list": lambda ledger: ledger.taken_ids([f"task-{n}" for n in range(50)]),
        "one task": lambda ledger: ledger.find(f"task-unified-{FEW - 3}"),
        "durations of its kind": lambda ledger: ledger.durations(f"task-unified-{FEW - 3}"),
    }
    for name, ask in questions.items():
        ours, plain = await in_turns(lambda ask=ask: ask(many), lambda ask=ask: ask(few), ROUNDS)  # type: ignore[misc]
        row(f"{MANY:,} rows: {name}", medians(ours, plain), f"{median(ours) / median(plain):.2f}", "<= 1.50")
    for ledger in ledgers:
        await ledger.aclose()


def medians(ours: list[float], plain: list[float]) -> str:
    return f"{median(ours):.2f} / {median(plain):.2f} ms"


def row(name: str, times: str, result: str, aim: str) -> None:
    print(f"{name:<38}{times:<22}{result:<12}{aim}", flush=True)


async def main() -> None:
    row("", "with / without", "difference", "aim")
    with TemporaryDirectory() as name, anyio.fail_after(DEADLINE):
        await compare_submissions(Path(name) / "submissions")
        row("", f"{MANY:,} / {FEW}", "ratio", "aim")
        await compare_sizes(Path(name))


if __name__ == "__main__":
    anyio.run(main)
