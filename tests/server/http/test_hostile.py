"""Callers who try to slow, fill or stop a hosted server for the others."""

import anyio
import httpx2
import pytest

from tests.server.http.hosted import Hosted, hosted
from tests.world import KEY, World
from wan_mcp.sandbox import Fault

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
