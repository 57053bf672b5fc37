"""The page of an upload address, in Chromium: picked, dropped, refused, cancelled pictures; and by axe."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tests.browser.browser import browsing
from tests.calls import answer
from tests.clients.programs import axe
from tests.server.http.live import LiveServer, live
from tests.world import fetch, picture
from wan_mcp.generation.uploads import MAX_UPLOAD
from wan_mcp.sandbox import Sandbox
from wan_mcp.server.http import uploads
from wan_mcp.storage.links import Links

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECRET = "0" * 32
HEADINGS = {
    "ready": "Upload a picture",
    "done": "The picture is uploaded",
    "used": "This address is used up",
    "expired": "This address has expired",
    "unknown": "This address does not work",
    "down": "Pictures cannot be stored now",
}
FITS = "() => document.documentElement.scrollWidth <= innerWidth"
DROP = """([name, type, text, count]) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    for (let i = 0; i < count; i++) data.items.add(new File([bytes], name, {type}));
    if (!count) data.setData("text/plain", "https://example.com/cat.png");
    for (const kind of ["dragover", "drop"])
        document.getElementById("drop").dispatchEvent(
            new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a browser is waited for."""
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LiveServer]:
    async with live(Sandbox(key="sk-sandbox", fetch=fetch), tmp_path, WAN_MCP_SECRET=SECRET) as server:
        yield server


async def prepared(server: LiveServer) -> tuple[str, str]:
    async with server.client("modern") as client:
        told = await answer(client, "prepare_upload")
        return told["upload_url"], told["image_url"]


@asynccontextmanager
async def opened(browser: "Browser", url: str, **options: Any) -> AsyncIterator["Page"]:
    """A page on which nothing is blocked by its policy, and no script fails."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None
    )
    await page.goto(url)
    yield page
    await context.close()
    assert wrong == []


async def heading(page: "Page") -> str:
    return await page.locator("h1:visible").inner_text()


async def shows(page: "Page", state: str) -> None:
    await page.wait_for_function("state => document.documentElement.dataset.state === state", arg=state)
    assert await heading(page) == HEADINGS[state]
    assert await page.title() == HEADINGS[state]


async def refused(page: "Page", said: str) -> None:
    """Wait until the page says so; the focus is where another file is chosen."""
    await page.wait_for_function(
        "said => document.getElementById('error').textContent.includes(said)", arg=said
    )
    assert await page.evaluate("document.activeElement.id") == "file"


async def test_a_picture_is_picked_after_other_files_were_refused(server: LiveServer, tmp_path: Path) -> None:
    """Each refusal is told in words, and another file can be chosen; a look again says that it is used."""
    url, name = await prepared(server)
    large = tmp_path / "<b>cat<b>.png"
    large.write_bytes(bytes(MAX_UPLOAD + 1))
    async with browsing() as browser, opened(browser, url) as page:
        await shows(page, "ready")

        async def pick(file: str, kind: str, content: bytes) -> None:
            await page.set_input_files("#file", {"name": file, "mimeType": kind, "buffer": content})

        await pick("notes.pdf", "application/pdf", b"%PDF-1.7")
        await refused(page, "notes.pdf is not a picture. Choose a JPEG or PNG file, for example.")
        await page.set_input_files("#file", large)
        await refused(page, "<b>cat<b>.png has 21.0 MB, and at most 20 MB are taken.")
        await pick("cat.png", "image/png", b"")
        await refused(page, "cat.png is empty, or a folder.")
        await pick("cat.png", "image/png", b"hello " * 99)
        await refused(page, "The file is a text, not a picture that can be used.")
        await pick("cat.heic", "", picture()[:2000])
        await refused(page, "The file is cut off: it ends in the middle of the picture.")
        await pick("cat.png", "image/png", picture())
        await shows(page, "done")
        assert await page.locator("#called").inner_text() == name
        assert await page.evaluate("document.activeElement.tagName") == "H1"
        await page.reload()
        await shows(page, "used")


async def test_a_picture_is_dropped_anywhere_on_the_page(server: LiveServer) -> None:
    """One file only; what is dropped from another page may have none."""
    import base64

    url, _ = await prepared(server)
    content = base64.b64encode(picture()).decode()
    async with browsing() as browser, opened(browser, url) as page, opened(browser, url) as late:
        await page.evaluate(DROP, ["cat.png", "image/png", content, 2])
        await refused(page, "Choose one picture only.")
        await page.evaluate(DROP, ["cat.png", "image/png", content, 0])
        await refused(page, "There is no file in that. Save the picture first.")
        await page.evaluate(DROP, ["cat.png", "image/png", content, 1])
        await shows(page, "done")
        await late.evaluate(DROP, ["cat.png", "image/png", content, 1])
        await shows(late, "used")


async def test_the_progress_is_shown_and_an_upload_can_be_cancelled(server: LiveServer) -> None:
    """On a slow network, by keyboard; and where the connection is lost, the picture can be sent again."""
    url, _ = await prepared(server)
    large: Any = {"name": "cat.png", "mimeType": "image/png", "buffer": picture() + bytes(4_000_000)}
    async with browsing() as browser, opened(browser, url) as page:
        network = await page.context.new_cdp_session(page)

        async def at_speed(upload: int, *, offline: bool = False) -> None:
            limits = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
            await network.send("Network.emulateNetworkConditions", limits)

        await at_speed(500_000)
        await page.set_input_files("#file", large)
        await page.wait_for_function("() => document.getElementById('bar').value > 10")
        assert await page.locator("#name").inner_text() == "Uploading cat.png, 4.0 MB"
        assert "% sent" in await page.locator("#spoken").inner_text()
        assert await page.evaluate("document.activeElement.id") == "cancel"
        await page.keyboard.press("Enter")
        await refused(page, "Cancelled.")
        await at_speed(-1, offline=True)
        await page.set_input_files("#file", large)
        await refused(page, "The connection failed before the picture was stored.")
        await at_speed(-1)
        await page.set_input_files("#file", large)
        await shows(page, "done")


async def test_an_address_that_takes_nothing_says_why(server: LiveServer) -> None:
    """Expired before or while the page is open, or invented; without JavaScript, curl is named."""
    links = Links(SecretStr(SECRET), server.url, time.time)
    over = links.sign("uploads", "uploads/x", time.time() - 1, id="x", by="x")
    soon = links.sign("uploads", "uploads/x", time.time() + 900, id="x", by="x")
    async with browsing() as browser:
        async with opened(browser, over) as page:
            await shows(page, "expired")
        async with opened(browser, f"{server.url}/uploads/invented") as page:
            await shows(page, "unknown")
        async with opened(browser, "about:blank") as page:
            await page.clock.install()
            await page.goto(soon)
            await shows(page, "ready")
            await page.clock.fast_forward(901_000)
            await shows(page, "expired")
        async with opened(browser, soon, java_script_enabled=False) as page:
            said = await page.locator("main").inner_text()
            assert "This page needs JavaScript." in said
            assert "curl -T FILE" in said
            assert not await page.locator("#file").is_visible()


@asynccontextmanager
async def state_of(browser: "Browser", state: str, theme: Any, width: int) -> AsyncIterator["Page"]:
    """The page in a state, without a server."""

    async def serve(route: "Route") -> None:
        known: Any = state if state in uploads.STATUS else "ready"
        await route.fulfill(
            body=uploads.page(known, 900),
            content_type="text/html",
            headers={"content-security-policy": uploads.policy()},
        )

    context = await browser.new_context(
        viewport={"width": width, "height": 700}, color_scheme=theme, locale="en-GB"
    )
    await context.route("https://upload.test/", serve)
    page = await context.new_page()
    await page.goto("https://upload.test/")
    if state == "done":
        await page.evaluate("turn('done'); at('called').textContent = 'upload:0123456789abcdef'")
    if state == "sending":
        await page.evaluate(
            "at('name').textContent = 'Uploading cat.png, 4.0 MB'; sending(true); progress(.4)"
        )
    if state == "refused":
        await page.evaluate(
            "refuse('cat.png has 21.0 MB, and at most 20 MB are taken. Choose a smaller one.')"
        )
    yield page
    await context.close()


STATES = (*HEADINGS, "sending", "refused")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_page_is_accessible_in_each_state(theme: str) -> None:
    """Axe finds nothing; narrow and wide, nothing is wider than the page."""
    checker = axe()
    async with browsing() as browser:
        for state in STATES:
            async with state_of(browser, state, theme, 800) as page:
                assert await page.evaluate(FITS), state
            async with state_of(browser, state, theme, 320) as page:
                assert await page.evaluate(FITS), state
                await page.evaluate(checker)
                found = await page.evaluate(
                    "async () => (await axe.run()).violations.map(({id, nodes}) =>"
                    " [id, nodes.map(node => node.html + ' ' + node.failureSummary)])"
                )
                assert found == [], state
