"""The replicas of the tests: callers reach one of them, whichever is paused or was stopped."""

from pathlib import Path

import anyio
import pytest

from tests.calls import answer
from tests.fleet import fleet
from tests.server.http.live import GUARD, KEY
from wan_mcp.sandbox import Sandbox

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


async def test_callers_reach_the_replicas_that_run(tmp_path: Path, database_url: str) -> None:
    """Both at first, then each of them alone."""
    async with fleet(Sandbox(key=KEY), tmp_path, [database_url] * 2, "oauth") as replicas:

        async def credits() -> object:
            with anyio.fail_after(GUARD):
                async with replicas.client("modern") as client:
                    return await answer(client, "get_credits")

        at_first = await credits()
        replicas.pause(0)
        replicas.balancer.remove(replicas[0].port)
        assert await credits() == at_first
        replicas.resume(0)
        replicas.balancer.add(replicas[0].port)
        assert await replicas.stop(1) == 0
        assert await credits() == at_first
