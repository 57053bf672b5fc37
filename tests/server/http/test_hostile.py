"""Callers who try to slow, fill or stop a hosted server for the others."""

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
from mcp import MCPError

from tests.server.http.hosted import IN_BOTH_ERAS, Era, Hosted, hosted, message
from tests.server.http.issuer import Issuer
from tests.server.http.test_refusals import IN_BOTH_MODES, Mode
from tests.world import KEY, World
from wan_mcp.sandbox import Fault
from wan_mcp.server.http.bodies import LARGE, LARGE_OF_AN_OWNER, MAX_VALUES
from wan_mcp.server.notifier import MAX_STREAMS

pytestmark = pytest.mark.anyio

OTHER_KEY = "sk-another-0123456789abcdef"


async def ping(server: Hosted, key: str, number: int = 1) -> httpx2.Response:
    return await server.post(
        method="prompts/list", address=f"192.0.2.{number}", authorization=f"Bearer {key}"
    )


async def test_no_invented_key_takes_long_to_be_told_from_a_placeholder(world: World) -> None:
    """It was a matter of hours for a pattern with two readings of the same letters; anybody could send it."""
    async with hosted(world) as server:
        assert (await ping(server, "x" * 511 + "1")).status_code == 401
        assert (await ping(server, "keys" * 127 + "1")).status_code == 401


async def test_callers_who_wait_for_the_check_of_one_key_are_not_kept_one_after_another(world: World) -> None:
    """While Evolink does not answer, the tenth caller waits no longer than the first."""
    world.sandbox.faults.add(Fault.parse("credits:slow,seconds=3600*always"))
    refused: list[int] = []

    async def call(server: Hosted, number: int) -> None:
        refused.append((await ping(server, KEY, number)).status_code)

    async with hosted(world) as server:
        with anyio.fail_after(15):
            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(call, server, number)
    assert refused == [503] * 10


async def test_callers_who_ask_whether_it_is_ready_do_not_make_it_unready(world: World) -> None:
    """Anybody may ask, and whoever directs callers to this server asks the same."""
    statuses: list[int] = []

    async def ask(server: Hosted) -> None:
        async with server.http() as http:
            statuses.append((await http.get("/readyz")).status_code)

    async with hosted(world) as server, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask, server)
    assert statuses == [200] * 20


async def test_one_caller_cannot_take_all_streams_of_changes(world: World) -> None:
    """The SDK has room for 1,024 of all callers; one caller may open 20, and others are not affected."""
    world.sandbox.other_keys = (OTHER_KEY,)

    async def listen(server: Hosted, key: str) -> httpx2.Response:
        body, headers = message(
            "subscriptions/listen", "modern", notifications={"resourceSubscriptions": ["wan://tasks"]}
        )
        async with server.http() as http:
            return await http.post("/mcp", json=body, headers=headers | {"x-api-key": key})

    async with hosted(world) as server, anyio.create_task_group() as group:
        for _ in range(MAX_STREAMS):
            group.start_soon(listen, server, KEY)
        await anyio.sleep(1)
        refused = await listen(server, KEY)
        assert refused.json()["error"]["message"] == "20 streams are open for you; end one first."
        with anyio.move_on_after(5) as listening:
            await listen(server, OTHER_KEY)
        assert listening.cancelled_caught
        group.cancel_scope.cancel()


async def test_subscriptions_without_a_session_are_not_kept(world: World) -> None:
    """Nobody would hear of a change, and the address may be as long as a request."""
    async with hosted(world) as server, server.http() as http:
        tracemalloc.start()
        for number in range(20):
            body, headers = message("resources/subscribe", "legacy", uri=f"wan://tasks/{number:01000000}")
            answered = await http.post("/mcp", json=body, headers=headers | {"x-api-key": KEY})
            assert answered.status_code == 200
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 5_000_000


async def large(server: Hosted, key: str, method: str, **params: Any) -> httpx2.Response:
    """A request with a megabyte that nobody reads."""
    body, headers = message(method, "modern", **params)
    body["params"]["_meta"]["padding"] = " " * LARGE
    async with server.http() as http:
        return await http.post("/mcp", json=body, headers=headers | {"x-api-key": key})


async def without_length(server: Hosted, key: str) -> httpx2.Response:
    """A small request as some proxies pass it on, in chunks."""
    body, headers = message("prompts/list", "modern")

    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps(body).encode()

    async with server.http() as http:
        return await http.post("/mcp", content=chunks(), headers=headers | {"x-api-key": key})


async def test_large_requests_of_one_caller_wait_for_each_other_alone(world: World) -> None:
    """What they hold in memory is bounded; small ones, and those of others, are served meanwhile."""
    world.sandbox.other_keys = (OTHER_KEY,)
    async with hosted(world) as server, anyio.create_task_group() as group:
        for key in (KEY, OTHER_KEY):
            assert (await large(server, key, "prompts/list")).status_code == 200
        world.sandbox.faults.add(Fault.parse("credits:slow,seconds=3600*always"))
        for _ in range(LARGE_OF_AN_OWNER):
            group.start_soon(partial(large, server, KEY, "tools/call", name="get_credits", arguments={}))
        await anyio.sleep(1)
        with anyio.move_on_after(5) as waiting:
            await large(server, KEY, "prompts/list")
        assert waiting.cancelled_caught
        assert (await ping(server, KEY)).status_code == 200
        assert (await without_length(server, KEY)).status_code == 200
        assert (await large(server, OTHER_KEY, "prompts/list")).status_code == 200
        group.cancel_scope.cancel()
        await anyio.sleep(1)


@IN_BOTH_ERAS
async def test_a_request_of_very_many_values_is_refused_unread(world: World, era: Era) -> None:
    """Sixteen megabytes of empty lists would stop everything for seconds, and take half a gigabyte."""
    async with hosted(world) as server, server.http() as http:
        body, headers = message("prompts/list", era)
        body["params"].setdefault("_meta", {})["padding"] = [[]] * (MAX_VALUES // 2)
        refused = await http.post("/mcp", json=body, headers=headers | {"x-api-key": KEY})
        assert (refused.status_code, refused.json()) == (
            413,
            {"error": "too_many_values", "error_description": "A request may have 10000 values."},
        )
        body["params"]["_meta"]["padding"] = [[]] * (MAX_VALUES // 2 - 100)
        served = await http.post("/mcp", json=body, headers=headers | {"x-api-key": KEY})
        assert served.status_code == 200


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("name", ["a" * 10_000, "..%2Fcredits", "task-unified-1%2F..", "task-unified-1?x"])
async def test_no_address_of_a_resource_is_sent_on_as_another_one(
    world: World, era: Era, mode: Mode, name: str
) -> None:
    """Nothing is read upstream, and a long one is not remembered."""
    issuer = Issuer("https://login.example.com") if mode == "oauth" else None
    credential = issuer.token() if issuer else KEY
    async with hosted(world, issuer=issuer) as server, server.client(credential, era) as client:
        before = len(world.records.calls)
        for uri in (f"wan://tasks/{name}", f"wan://tasks/{name}/poster"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
    assert len(world.records.calls) == before
