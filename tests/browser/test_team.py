"""The whole way of a caller with a browser: a picture goes up, and its video plays from the signed link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.browser.browser import browsing
from tests.calls import answer
from tests.clients.scene import scene
from tests.server.http.hosted import oauth_settings
from tests.server.http.issuer import live_issuer
from tests.server.http.live import LiveServer, live_at
from tests.world import KEY, picture
from wan_mcp.sandbox.results import render_video

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VIDEO = "document.querySelector('video')"


@asynccontextmanager
async def served(folder: Path, mode: str) -> AsyncIterator[tuple[LiveServer, str]]:
    """A server in this mode, and the credential of a caller."""
    async with scene(folder, render_video) as at:
        if mode == "key":
            async with live_at(at.url, folder) as server:
                yield server, KEY
            return
        with live_issuer() as issuer:
            async with live_at(at.url, folder, **oauth_settings(issuer.address)) as server:
                yield server, issuer.token()


async def upload(page: "Page", address: str, file: Path) -> None:
    await page.goto(address)
    await page.set_input_files("input[type=file]", file)
    await page.get_by_role("heading", name="The picture is uploaded").wait_for()


async def played(page: "Page") -> None:
    """Play the video on the page; its scripts are off there, so that only the test can look."""
    await page.evaluate(f"() => {{ {VIDEO}.muted = true; return {VIDEO}.play() }}")
    with anyio.fail_after(30):
        while not await page.evaluate(f"() => {VIDEO}.currentTime > 0.2"):  # noqa: ASYNC110  it cannot tell
            await anyio.sleep(0.05)
    assert await page.evaluate(f"() => {VIDEO}.videoWidth > 0")


@pytest.mark.parametrize("mode", ["key", "oauth"])
async def test_a_picture_goes_from_the_browser_to_a_video_that_plays(mode: str, tmp_path: Path) -> None:
    """From the upload page to the signed link, which has nothing to do with Evolink."""
    file = tmp_path / "My cat.png"
    file.write_bytes(picture())
    async with served(tmp_path, mode) as (server, credential), browsing() as browser:
        page = await browser.new_page()
        async with server.client("modern", credential) as client:
            prepared = await answer(client, "prepare_upload")
            await upload(page, prepared["upload_url"], file)
            request: dict[str, Any] = {"prompt": "Mist drifts.", "image_urls": [prepared["image_url"]]}
            begun = await answer(client, "generate_video", **request)
            done = await answer(client, "wait_for_task", task_id=begun["id"])
        [link] = done["results"]
        assert link.startswith(f"{server.url}/videos/")
        await page.goto(link)  # the browser makes a page of it
        await played(page)
    assert prepared["upload_url"].rpartition("/")[2] not in server.log
    assert link.rpartition("/")[2] not in server.log
