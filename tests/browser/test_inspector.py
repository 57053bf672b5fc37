"""The Inspector as the host: a real server process, the sandbox over real sockets, and the card."""

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import Client

from tests.browser.browser import browsing
from tests.calls import answer
from tests.clients.programs import program, started
from tests.clients.scene import Scene, scene
from wan_mcp.sandbox.results import render_video
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import FrameLocator, Page

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CARD = "iframe[title='Generate a video from a picture']"
VIDEO = "document.querySelector('video')"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@asynccontextmanager
async def inspector(at: Scene) -> AsyncIterator["Page"]:
    """The Inspector's page, not yet connected to the server."""
    command = (program("mcp-inspector"), "--web", "--config", at.configuration)
    port, token = free_port(), secrets.token_hex(16)
    environ = {
        "HOST": "127.0.0.1",
        "CLIENT_PORT": port,
        "MCP_SANDBOX_PORT": free_port(),
        "MCP_AUTO_OPEN_ENABLED": "false",
        "MCP_INSPECTOR_API_TOKEN": token,
        "MCP_INSPECTOR_SECRET_STORE": "memory",
    }
    async with browsing() as browser:
        with (at.folder / "inspector.log").open("wb") as log:
            async with started(*command, folder=at.folder, environ=environ, stdout=log, stderr=log):
                with anyio.fail_after(60):
                    await _listens(int(port))
                context = await browser.new_context(viewport={"width": 1280, "height": 1000})
                page = await context.new_page()
                await page.goto(f"http://127.0.0.1:{port}/?MCP_INSPECTOR_API_TOKEN={token}")
                yield page


async def _listens(port: int) -> None:
    while True:
        try:
            stream = await anyio.connect_tcp("127.0.0.1", port)
        except OSError:
            await anyio.sleep(0.1)
        else:
            return await stream.aclose()


async def open_card(page: "Page", arguments: dict[str, Any]) -> "FrameLocator":
    """What a user does to get to the card."""
    await page.get_by_label('Connect or disconnect "wan"').click(force=True)
    await page.wait_for_selector("[data-testid=connection-status][data-status=connected]")
    await page.get_by_text("Apps", exact=True).first.click()
    await page.get_by_role("button", name="Generate a video from a picture").click()
    form = page.get_by_test_id("apps-form")
    await form.get_by_label("prompt", exact=False).first.fill(arguments["prompt"])
    await form.get_by_role("textbox", name="image_urls").fill(str(arguments["image_urls"]).replace("'", '"'))
    await page.get_by_test_id("open-app").click()
    return page.frame_locator(CARD).frame_locator("iframe")


async def test_the_card_follows_a_task_in_the_inspector_and_plays_its_video(tmp_path: Path) -> None:
    """From the call to moving pictures, under the policy that the Inspector makes of the server's domains."""
    async with scene(tmp_path, render_video, seconds=16) as at, inspector(at) as page:
        card = await open_card(page, at.request)
        await card.get_by_role("progressbar").wait_for()
        await card.get_by_role("heading", name="Making the video").wait_for()
        await card.get_by_role("img").wait_for()
        await card.get_by_role("heading", name="The video is ready").wait_for(timeout=60_000)
        await card.get_by_text(str(at.saved)).wait_for()
        (frame,) = [frame for frame in page.frames if await frame.locator("#poster").count()]
        await frame.wait_for_function(f"() => {VIDEO}?.readyState > 1")
        assert await frame.evaluate(f"() => {VIDEO}.src") == at.link
        assert await frame.evaluate(f"() => {VIDEO}.videoWidth") > 0
        assert await frame.evaluate(f"() => {VIDEO}.paused")
        size = "() => (({ width, height }) => [width, height])(document.getElementById('poster'))"
        assert await frame.evaluate(size) == [640, 480]  # of a picture of 800 by 600 pixels
        await frame.evaluate(f"() => {VIDEO}.play()")
        await frame.wait_for_function(f"() => {VIDEO}.currentTime > 0.5")
        assert at.saved.is_file()
    assert len(at.sandbox.records.paid) == 1


async def test_the_save_button_works_in_the_inspector(tmp_path: Path) -> None:
    """Where the server does not save by itself."""
    async with scene(tmp_path, render_video, WAN_MCP_AUTOSAVE="0") as at, inspector(at) as page:
        card = await open_card(page, at.request)
        await card.get_by_role("button", name="Save").click()
        await card.get_by_text(str(at.saved)).wait_for()
        assert at.saved.is_file()


async def test_a_part_is_shown_as_one_in_the_inspector(tmp_path: Path) -> None:
    """Its picture is the last frame of the video that it continues."""
    async with scene(tmp_path, render_video) as at:
        async with Client(create_server(Settings.load(at.server["env"]))) as client:
            first = (await answer(client, "generate_video", **at.request))["id"]
            await answer(client, "wait_for_task", task_id=first)
        async with inspector(at) as page:
            card = await open_card(page, {"prompt": "The sun comes up.", "image_urls": [first]})
            await card.get_by_text(f"Part 2, continues {first}").wait_for()
            await card.get_by_role("heading", name="The video is ready").wait_for(timeout=60_000)
            (frame,) = [frame for frame in page.frames if await frame.locator("#poster").count()]
            await frame.wait_for_function(f"() => {VIDEO}?.readyState > 1")
            await frame.wait_for_function("() => !document.getElementById('poster').hidden")
    assert len(at.sandbox.records.paid) == 2
