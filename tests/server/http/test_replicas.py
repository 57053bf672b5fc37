"""Several ``wan-mcp http`` with one database: a kill, an outage, and what they must not share."""

import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psycopg
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextResourceContents

from tests.calls import answer, call, text
from tests.fleet import Fleet, Mode, fleet
from tests.postgres import Postgres
from tests.server.http.hosted import HTTP_ERAS, Era
from tests.server.http.live import GUARD, KEY, LiveServer
from tests.server.tasks_client import TasksClient, ask
from tests.world import fetch, render
from wan_mcp.sandbox import Fault, Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

QUICKLY_DEAD = """
from wan_mcp.generation import services
from wan_mcp.ledger.postgres import database, replicas, store
replicas.DEAD_AFTER, replicas.BEAT_EVERY, store.BEAT_EVERY, services.RESUME_EVERY = 3.0, 0.5, 0.5, 0.5
"""
"""A replica that gives signs of life more often, so that a dead one is noticed sooner."""
FOLLOWS_NOTHING = """
import anyio
from wan_mcp.ledger.postgres.queue import FollowQueue
async def run(self, step):
    await anyio.sleep_forever()
FollowQueue.run = run
"""
"""A replica whose worker does nothing."""
PLAIN = {"WAN_MCP_IMAGE_CHECK": "0", "WAN_MCP_READS_PER_SECOND": "200"}


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


def sandbox(seconds: float = 8.0, **options: Any) -> Sandbox:
    return Sandbox(key=KEY, seconds=seconds, credits=1e6, fetch=fetch, render=render, **options)


async def begin(server: LiveServer, credential: str, prompt: str = "A cat.", era: Era = "modern") -> str:
    async with server.client(era, credential) as client:
        return str((await answer(client, "generate_video_from_text", prompt=prompt))["id"])


def clock_shifted_by(seconds: float) -> str:
    """A replica on a machine whose clock is wrong."""
    return f"import time\nright = time.time\ntime.time = lambda: right() + {seconds}\n"


def kept(url: str) -> set[str]:
    """The tasks whose videos the ledger has as kept."""
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT task_id FROM entries WHERE kept IS NOT NULL")}


async def all_kept(url: str, task_ids: set[str]) -> None:
    while await anyio.to_thread.run_sync(kept, url) != task_ids:  # noqa: ASYNC110 - other processes work
        await anyio.sleep(0.2)


async def test_tasks_of_a_killed_replica_are_followed_and_kept_by_the_other_one(
    tmp_path: Path, database_url: str
) -> None:
    """Each video is kept once; ten callers that wait for one task on both replicas cost no reads."""
    box = sandbox(10.0)
    async with fleet(box, tmp_path, [database_url] * 2, "oauth", **PLAIN) as replicas:
        token = replicas.credential
        waited_for = await begin(replicas[1], token)
        task_ids, ended = {waited_for}, list[str]()

        async def start(number: int) -> None:
            task_ids.add(await begin(replicas[number % 2], token, f"Cat {number}."))

        async def wait(number: int) -> None:
            try:
                async with replicas[number % 2].client(HTTP_ERAS[number // 2 % 2], token) as client:
                    ended.append((await answer(client, "wait_for_task", task_id=waited_for))["status"])
            except (httpx2.HTTPError, ExceptionGroup):  # its replica was killed
                assert number % 2 == 0

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as waiting:
                for number in range(10):
                    waiting.start_soon(wait, number)
                async with anyio.create_task_group() as starting:
                    for number in range(29):
                        starting.start_soon(start, number)
                await replicas.kill(0)
            assert len(ended) >= 5
            assert set(ended) == {"completed"}
            with anyio.fail_after(30):  # the last of them were due when the wait ended, or a little later
                await all_kept(database_url, task_ids)
        reads = [made.path for made in box.records.calls if made.at == "task"]
        fetched = [made.path for made in box.records.calls if made.at == "result"]
    assert len(task_ids) == len(box.records.paid) == 30
    assert len([path for path in reads if path.endswith(waited_for)]) <= 5
    assert 30 <= len(fetched) <= 33
    assert len(set(fetched)) == 30  # a few were being fetched at the kill


@pytest.mark.parametrize("mode", ["oauth", "key"])
async def test_a_request_of_a_killed_replica_goes_on_at_the_other_one(
    tmp_path: Path, database_url: str, mode: Mode
) -> None:
    """Unasked where the operator pays, else when its caller asks; it is paid once, under one key."""
    box = sandbox(offers_list=False, faults=[Fault("submit", "slow", seconds=5)])
    programs = [QUICKLY_DEAD] * 2
    if mode == "key":
        programs = [clock_shifted_by(15) + QUICKLY_DEAD, clock_shifted_by(-15) + QUICKLY_DEAD]
    async with fleet(box, tmp_path, [database_url] * 2, mode, programs, **PLAIN) as replicas:

        async def ask() -> None:
            with pytest.raises((httpx2.HTTPError, ExceptionGroup)):
                await begin(replicas[0], replicas.credential)

        def posts() -> list[str | None]:
            return [made.idempotency_key for made in box.records.calls if made.at == "submit"]

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as asking:
                asking.start_soon(ask)
                while not box.records.paid:  # noqa: ASYNC110 - another process sends
                    await anyio.sleep(0.05)
                await replicas.kill(0)
            if mode == "oauth":
                while len(posts()) < 2:  # noqa: ASYNC110 - another process sends
                    await anyio.sleep(0.1)
            else:
                await anyio.sleep(4)  # it counts as dead
                assert len(posts()) == 1
            task_id = await begin(replicas[1], replicas.credential)
    assert len(set(posts())) == 1  # it may be told that its first POST is still being worked on
    assert [paid.task_id for paid in box.records.paid] == [task_id]


async def test_while_the_database_is_away_nothing_is_paid_and_afterwards_all_goes_on(
    tmp_path: Path, postgres: Postgres, database_url: str
) -> None:
    """A task that is known is still told of, and followed afterwards; no server has to be started again."""
    box = sandbox(6.0)
    async with fleet(box, tmp_path, [database_url] * 2, "oauth", **PLAIN) as replicas:
        token = replicas.credential
        with anyio.fail_after(GUARD):
            task_id = await begin(replicas[0], token)
            await anyio.to_thread.run_sync(postgres.stop, "immediate")
            try:
                async with replicas[0].client("modern", token) as client:
                    refused = await call(client, "generate_video_from_text", prompt="A dog.")
                    told = await answer(client, "get_task", task_id=task_id)
                async with replicas[0].http() as http:
                    ready, healthy = await http.get("/readyz"), await http.get("/healthz")
            finally:
                await anyio.to_thread.run_sync(postgres.start)
            assert refused.is_error
            assert "othing was sent" in text(refused)
            assert told["id"] == task_id
            assert (ready.status_code, healthy.status_code) == (503, 200)
            assert len(box.records.paid) == 1
            other = await begin(replicas[0], token, "A dog.")
            await all_kept(database_url, {task_id, other})
            async with replicas[1].http() as http:
                assert (await http.get("/readyz")).status_code == 200
    assert len(box.records.paid) == 2


async def test_the_cap_of_all_callers_is_used_up_and_not_exceeded_by_two_replicas(
    tmp_path: Path, database_url: str
) -> None:
    """Twenty callers ask at once; as many are served as the cap allows."""
    box = sandbox(60.0)
    cap = {"WAN_MCP_TOTAL_DAILY_CREDITS": "300"}
    async with fleet(box, tmp_path, [database_url] * 2, "oauth", **PLAIN, **cap) as replicas:
        assert replicas.issuer is not None
        tokens = [replicas.issuer.token(sub=f"caller {number}") for number in range(20)]
        answers = []

        async def ask(number: int) -> None:
            async with replicas[number % 2].client("modern", tokens[number]) as client:
                answers.append(await call(client, "generate_video_from_text", prompt="A cat."))

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(ask, number)
    price = box.records.paid[0].credits
    served = [one for one in answers if not one.is_error]
    assert len(served) == len(box.records.paid) == int(300 // price)
    assert [one for one in answers if one.is_error and "othing was sent" not in text(one)] == []


async def refusal(folder: Path, **environ: str) -> str:
    """What a server says that does not start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WAN_MCP_")}
    settings = {
        "WAN_MCP_DATA_DIR": str(folder / "data"),
        "WAN_MCP_STORAGE_URL": (folder / "storage").as_uri(),
        "WAN_MCP_SECRET": "1" * 32,
    }
    command = [sys.executable, "-m", "wan_mcp", "http", "--port", "0"]
    with anyio.fail_after(GUARD):
        ended = await anyio.run_process(command, check=False, env=inherited | settings | environ)
    assert ended.returncode == 1
    said = (ended.stdout + ended.stderr).decode()
    assert "Traceback" not in said
    return said


@pytest.fixture
async def one(tmp_path: Path, database_url: str) -> AsyncIterator[Fleet]:
    async with fleet(sandbox(), tmp_path, [database_url]) as replicas:
        yield replicas


async def test_a_server_with_another_secret_does_not_start(
    one: Fleet, tmp_path: Path, database_url: str
) -> None:
    """Its links would be refused by the server that runs."""
    said = await refusal(tmp_path, WAN_MCP_DATABASE_URL=database_url)
    assert "has another WAN_MCP_SECRET" in said
    assert len(said.strip().splitlines()) == 1


async def test_a_database_that_cannot_be_used_is_said_at_the_start_without_the_password(
    tmp_path: Path, database_url: str
) -> None:
    """A port at which nothing listens, a database and a user that do not exist."""
    place = database_url.partition("?")[2]
    urls = [
        "postgresql://wan:pass-canary@127.0.0.1:9/wan",
        f"postgresql://postgres:pass-canary@/missing?{place}",
        f"postgresql://nobody:pass-canary@/postgres?{place}",
    ]
    said: list[str] = []

    async def start(url: str) -> None:
        said.append(await refusal(tmp_path, WAN_MCP_DATABASE_URL=url))

    async with anyio.create_task_group() as group:
        for url in urls:
            group.start_soon(start, url)
    assert [one for one in said if "The server does not start. The ledger's database" not in one] == []
    assert [one for one in said if "pass-canary" in one or len(one.strip().splitlines()) > 1] == []


async def test_clients_of_a_replica_that_does_not_follow_a_task_learn_of_its_end(
    tmp_path: Path, database_url: str
) -> None:
    """A stream of changes, a client that waits without its model, and a card that asks again and again."""
    box = sandbox(6.0)
    programs = [FOLLOWS_NOTHING, ""]
    async with fleet(box, tmp_path, [database_url] * 2, "oauth", programs, **PLAIN) as replicas:
        server, token = replicas[0], replicas.credential
        task_id = await begin(server, token)
        uri, states = f"wan://tasks/{task_id}", dict[str, dict[str, Any]]()

        async def read(client: Client) -> dict[str, Any]:
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, TextResourceContents)
            state: dict[str, Any] = json.loads(content.text)
            return state

        async def listen() -> None:
            async with (
                server.client("modern", token) as client,
                client.listen(resource_subscriptions=[uri]) as stream,
            ):
                async for _ in stream:
                    if (state := await read(client))["status"] == "completed":
                        states["stream"] = state
                        return

        async def poll() -> None:
            async with server.client("modern", token) as client:
                states["card"] = await read(client)
                while states["card"]["status"] != "completed":
                    await anyio.sleep(1)
                    states["card"] = await read(client)

        async def ask_for_task() -> None:
            async with server.http(token) as http:
                transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
                async with Client(transport, extensions=[TasksClient()]) as client:
                    state = await ask(client.session, "tasks/get", task_id)
                    while state["status"] == "working":
                        await anyio.sleep(state["pollIntervalMs"] / 1000)
                        state = await ask(client.session, "tasks/get", task_id)
                    states["task"] = state["result"]["structuredContent"]

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                for work in (listen, poll, ask_for_task):
                    group.start_soon(work)
    assert {name: state["status"] for name, state in states.items()} == dict.fromkeys(
        ("stream", "card", "task"), "completed"
    )
    assert box.records.reads <= 3


async def test_replicas_whose_clocks_differ_pay_once_and_tell_the_same(
    tmp_path: Path, database_url: str
) -> None:
    """The first answers are lost, and each request is made at both; links expire when they should."""
    box = sandbox(4.0, offers_list=False, faults=[Fault("submit", "lost", times=2)])
    programs, off = [clock_shifted_by(15), clock_shifted_by(-15)], {"WAN_MCP_AUTOSAVE": "0"}
    async with fleet(box, tmp_path, [database_url] * 2, "key", programs, **PLAIN, **off) as replicas:
        answers: list[list[dict[str, Any]]] = [[], []]

        async def ask(number: int) -> None:
            for replica in (number % 2, 1 - number % 2):
                task_id = await begin(replicas[replica], KEY, f"Cat {number}.")
                async with replicas[replica].client("modern") as client:
                    answers[replica].append(await answer(client, "wait_for_task", task_id=task_id))

        with anyio.fail_after(GUARD):
            async with anyio.create_task_group() as group:
                for number in range(2):
                    group.start_soon(ask, number)
    tasks = [{one["id"]: one for one in told} for told in answers]
    assert len(box.records.paid) == len(tasks[0]) == 2
    assert tasks[0].keys() == tasks[1].keys() == {paid.task_id for paid in box.records.paid}
    for paid in box.records.paid:
        for told in tasks:
            expires = datetime.fromisoformat(told[paid.task_id]["expires_at"]).timestamp()
            assert expires == pytest.approx(paid.time + 4 + 24 * 3600, abs=10)
