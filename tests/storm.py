# ruff: noqa: T201  run by hand, it prints what happened
"""Many requests, each sent to all replicas at once, while replicas are killed: is each paid once, and kept?

For ten minutes: ``python -m tests.storm --requests 2000 --minutes 10 --kill-every 20``. The servers, the
database, the issuer and the imitated API are real processes and sockets of this machine. Answers of the paid
endpoint are late by up to a quarter of a second, so that most kills hit some in the middle.
"""

import argparse
import itertools
import json
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psycopg
from psycopg.rows import dict_row

from tests.fleet import Fleet, fleet
from tests.postgres import Postgres, running_postgres
from tests.server.http.hosted import message
from tests.server.http.live import KEY
from tests.videos.host import film
from tests.world import picture
from wan_mcp.sandbox import Fault, Sandbox

VIDEO = film(40_000)
SLOWEST = 0.25
"""Seconds by which an answer of the paid endpoint is late at most."""
CALLERS = 60
AT_ONCE = 24
"""Requests under way."""
PAUSE = 0.5
"""Seconds until a request without an answer is sent again."""
GIVEN_UP = 240.0
"""Seconds after which a request, or a video, counts as lost."""


class Hesitation(Fault):
    """An answer that is late by another time each time, after the task was made and paid."""

    @property
    def delay(self) -> float:
        return random.uniform(0, SLOWEST)


@dataclass
class Outcome:
    """What became of all requests."""

    requests: int = 0
    kills: int = 0
    answers: dict[str, set[str]] = field(default_factory=dict)
    """The ids of the tasks that callers were told, by prompt."""
    calls: Counter[str] = field(default_factory=Counter)
    """How the calls ended."""
    paid: Counter[str] = field(default_factory=Counter)
    """How often each prompt was paid."""
    kept: set[str] = field(default_factory=set)
    """The tasks that the ledger has as kept, and whose videos are in the storage, whole."""

    @property
    def paid_twice(self) -> list[str]:
        return [prompt for prompt, times in self.paid.items() if times > 1]

    @property
    def lost(self) -> list[str]:
        """Prompts of which no caller was told exactly one task."""
        prompts = {f"Request {number}." for number in range(self.requests)}
        return sorted(prompt for prompt in prompts if len(self.answers.get(prompt, ())) != 1)

    @property
    def missing(self) -> list[str]:
        """Tasks whose videos are not in the storage."""
        return sorted({task for tasks in self.answers.values() for task in tasks} - self.kept)

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {self.kills} kills, {sum(self.calls.values())} calls"
            f" ({', '.join(f'{count} {name}' for name, count in self.calls.most_common())}):"
            f" paid {sum(self.paid.values())}, paid twice {len(self.paid_twice)}, lost {len(self.lost)},"
            f" missing in storage {len(self.missing)}"
        )


async def fetch(url: str) -> bytes:
    return picture()


@asynccontextmanager
async def stormy(folder: Path, url: str, seconds: float) -> AsyncIterator[tuple[Fleet, Sandbox]]:
    """Two replicas at a sandbox whose tasks take so long."""
    sandbox = Sandbox(
        key=KEY,
        seconds=seconds,
        credits=1e9,
        fetch=fetch,
        render=lambda *given: VIDEO,
        faults=[Hesitation("submit", "slow", times=None)],
    )
    settings = {
        "WAN_MCP_TOTAL_DAILY_CREDITS": "1e9",
        "WAN_MCP_IMAGE_CHECK": "0",
        "WAN_MCP_LOG_LEVEL": "ERROR",
    }
    settings |= {"WAN_MCP_READS_PER_SECOND": "200"}
    async with fleet(sandbox, folder, [url, url], "oauth", **settings) as replicas:
        yield replicas, sandbox


class Storm:
    """Sends requests until each is answered.

    Args:
        replicas: two servers.
        requests: how many.
        spread: seconds over which they begin.
    """

    def __init__(self, replicas: Fleet, requests: int, spread: float = 0.0) -> None:
        self.outcome = Outcome(requests)
        self._replicas = replicas
        self._spread = spread
        issuer = replicas.issuer
        assert issuer is not None
        self._tokens = [issuer.token(sub=f"caller {number}") for number in range(CALLERS)]
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._addresses = itertools.count()
        self.is_over = anyio.Event()

    async def run(self) -> None:
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with (
            httpx2.AsyncClient(timeout=90, trust_env=False, limits=limits) as http,
            anyio.create_task_group() as group,
        ):
            for number in range(self.outcome.requests):
                group.start_soon(self._request, http, number)
                await anyio.sleep(self._spread / self.outcome.requests)
        self.is_over.set()

    async def _request(self, http: httpx2.AsyncClient, number: int) -> None:
        """The same request at both replicas at once, each again until it has an answer."""
        async with self._turns, anyio.create_task_group() as group:
            for replica in (0, 1):
                group.start_soon(self._ask, http, number, replica)

    async def _ask(self, http: httpx2.AsyncClient, number: int, replica: int) -> None:
        prompt = f"Request {number}."
        with anyio.move_on_after(GIVEN_UP):
            while True:
                task_id = await self._call(http, prompt, number, replica)
                if task_id is not None:
                    self.outcome.answers.setdefault(prompt, set()).add(task_id)
                    return
                await anyio.sleep(PAUSE)

    async def _call(self, http: httpx2.AsyncClient, prompt: str, number: int, replica: int) -> str | None:
        body, headers = message(
            "tools/call", "modern", name="generate_video_from_text", arguments={"prompt": prompt}
        )
        address = next(self._addresses)
        headers |= {
            "authorization": f"Bearer {self._tokens[number % CALLERS]}",
            # Many callers, not one that asks too often.
            "x-forwarded-for": f"10.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}",
        }
        try:
            server = self._replicas[replica]
            answer = await http.post(f"{server.url}/mcp", json=body, headers=headers)
        except (httpx2.HTTPError, KeyError) as error:  # it is being killed, or started again
            self.outcome.calls[type(error).__name__] += 1
            return None
        result: Any = next(iter(_events(answer)), {}).get("result", {})
        task_id = (result.get("structuredContent") or {}).get("id")
        self.outcome.calls["answered" if task_id else f"refused {answer.status_code}"] += 1
        return task_id if isinstance(task_id, str) else None


def _events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The JSON of an answer, in either form."""
    if answer.headers.get("content-type", "").startswith("application/json"):
        return [answer.json()]
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [event for event in map(json.loads, filter(None, lines)) if "result" in event or "error" in event]


async def kill(replicas: Fleet, storm: Storm, every: float) -> None:
    """Kill one replica after the other, and start it again."""
    for number in itertools.cycle((0, 1)):
        with anyio.move_on_after(every * random.uniform(0.7, 1.3)):
            await storm.is_over.wait()
        if storm.is_over.is_set():
            return
        await replicas.kill(number)
        storm.outcome.kills += 1
        is_running = False
        while not is_running:  # where the database is away, it does not start
            with suppress(AssertionError):
                await replicas.start(number)
                is_running = True


async def all_kept(url: str, storage: Path, outcome: Outcome) -> None:
    """Wait until all videos are kept."""
    with anyio.move_on_after(GIVEN_UP):
        while True:
            outcome.kept = await anyio.to_thread.run_sync(_kept, url, storage)
            if not outcome.missing:
                return
            await anyio.sleep(0.5)


def _kept(url: str, storage: Path) -> set[str]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = connection.execute("SELECT task_id, kept FROM entries WHERE kept IS NOT NULL").fetchall()
    sizes = {path.name: path.stat().st_size for path in (storage / "results").glob("*")}
    return {
        row["task_id"]
        for row in rows
        if sizes.get(json.loads(row["kept"])["key"].rpartition("/")[2]) == len(VIDEO)
    }


async def storm(
    postgres: Postgres,
    url: str,
    folder: Path,
    *,
    requests: int,
    spread: float = 0.0,
    kill_every: float,
    seconds: float,
    restart_database: bool = False,
) -> Outcome:
    """Let the storm rage, and wait until all is kept.

    Args:
        postgres: the server of the database.
        url: the database.
        folder: for everything else.
        requests: how many.
        spread: seconds over which they begin; else all at once, as many at a time as the callers manage.
        kill_every: seconds between two kills.
        seconds: that a task takes.
        restart_database: whether the database crashes and starts again, once.
    """
    async with stormy(folder, url, seconds) as (replicas, sandbox):
        raging = Storm(replicas, requests, spread)
        async with anyio.create_task_group() as group:
            group.start_soon(raging.run)
            group.start_soon(kill, replicas, raging, kill_every)
            if restart_database:
                with anyio.move_on_after(1.5 * kill_every):
                    await raging.is_over.wait()
                await anyio.to_thread.run_sync(postgres.restart, "immediate")
        outcome = raging.outcome
        outcome.paid = Counter(payment.prompt for payment in sandbox.records.paid)
        await all_kept(url, folder / "storage", outcome)
        outcome.paid = Counter(payment.prompt for payment in sandbox.records.paid)
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kill-every", type=float, default=20)
    parser.add_argument("--task-seconds", type=float, default=20)
    parser.add_argument("--restart-database", action="store_true")
    given = parser.parse_args()
    logging.disable()
    with (
        tempfile.TemporaryDirectory() as name,
        running_postgres(fsync=True) as postgres,
        postgres.database() as url,
    ):
        began = time.monotonic()

        async def run() -> Outcome:
            return await storm(
                postgres,
                url,
                Path(name),
                requests=given.requests,
                spread=given.minutes * 60,
                kill_every=given.kill_every,
                seconds=given.task_seconds,
                restart_database=given.restart_database,
            )

        outcome = anyio.run(run)
        print(f"{time.monotonic() - began:.0f} s; {outcome}")
        for name_of, prompts in (
            ("twice", outcome.paid_twice),
            ("lost", outcome.lost),
            ("missing", outcome.missing),
        ):
            if prompts:
                print(name_of, prompts[:20])
        raise SystemExit(bool(outcome.paid_twice or outcome.lost or outcome.missing))


if __name__ == "__main__":
    main()
