"""The link of a kept video, opened in Chromium as a person does."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.browser.browser import browsing
from tests.server.http.live import KEY, live
from tests.videos.real import video
from wan_mcp.sandbox import Sandbox
from wan_mcp.storage.links import Links

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECRET = "s" * 32
LOADED = """() => new Promise(resolve => {
    const video = document.querySelector('video');
    const tell = () => resolve([video.duration, video.error?.message ?? null]);
    if (video.readyState || video.error) tell();
    video.onloadedmetadata = video.onerror = tell;
})"""


async def test_a_browser_plays_it(tmp_path: Path) -> None:
    """Although the page that the browser makes of it may do nothing else."""
    folder = tmp_path / "data" / "storage" / "results"
    folder.mkdir(parents=True)
    (folder / "a.webm").write_bytes(video("webm"))
    async with browsing() as browser, live(Sandbox(key=KEY), tmp_path, WAN_MCP_SECRET=SECRET) as server:
        links = Links(SecretStr(SECRET), server.url, lambda: 0)
        page = await browser.new_page()
        await page.goto(links.sign("videos", "results/a.webm", 4e9, name="a.webm", type="video/webm"))
        assert await page.evaluate(LOADED) == [1, None]
