"""Videos that ``wan-mcp http`` keeps, as a process that can be killed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.calls import answer
from tests.server.http.hosted import oauth_settings
from tests.server.http.issuer import live_issuer
from tests.server.http.live import GUARD, KEY, live_at
from tests.videos.host import film
from tests.world import picture
from wan_mcp.sandbox import Sandbox, running
from wan_mcp.storage.folder import STAGING

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

REQUEST: dict[str, Any] = {"prompt": "go", "image_urls": ["https://pictures.example.com/cat.png"]}
VIDEO = film(6_000_000)
PUTTING_SLOWLY = """
import os, time
from wan_mcp.storage import folder
put = folder.put
def slowly(*given):
    os.fsync = lambda descriptor: time.sleep(600)
    put(*given)
folder.put = slowly
"""
"""The process stops in the middle of making a file an object."""


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


async def fetch(url: str) -> bytes:
    return picture()


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is so."""
    with anyio.fail_after(GUARD):
        while not condition():  # noqa: ASYNC110  what another process does sets no event here
            await anyio.sleep(0.02)


async def test_a_process_that_is_killed_while_it_saves_leaves_nothing_and_the_next_one_saves(
    tmp_path: Path,
) -> None:
    """Nobody waits, and nobody calls the next process: it takes up what the ledger says is not kept."""
    sandbox = Sandbox(key=KEY, seconds=2, fetch=fetch, render=lambda *given: VIDEO)
    folder = tmp_path / "data" / "storage"

    def files(where: str) -> list[Path]:
        return [path for path in (folder / where).glob("*") if path.is_file()]

    with live_issuer() as issuer:
        settings = oauth_settings(issuer.address) | {"EVOLINK_API_KEY": KEY, "WAN_MCP_IMAGE_CHECK": "0"}
        async with running(sandbox) as url:
            async with live_at(url, tmp_path, PUTTING_SLOWLY, **settings) as server:
                async with server.client("modern", issuer.token()) as client:
                    task_id = (await answer(client, "generate_video", **REQUEST))["id"]
                await until(lambda: files(STAGING))
                server.stop(signal.SIGKILL)
                await server.ended()
            assert files("results") == []
            for path in (folder / STAGING).iterdir():
                os.utime(path, (0, 0))  # as after a day
            async with live_at(url, tmp_path, **settings) as server:
                await until(lambda: files("results"))
                async with server.client("modern", issuer.token()) as client:
                    done = await answer(client, "wait_for_task", task_id=task_id)
    (video,) = files("results")
    assert [*(folder / STAGING).iterdir()] == []
    assert video.read_bytes() == VIDEO
    assert done["file"]["bytes"] == len(VIDEO)
    assert done["results"][0].startswith(f"{server.url}/videos/")
    assert done["results"][0].split("/videos/")[1] not in server.log
