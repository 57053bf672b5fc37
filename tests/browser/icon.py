"""The icon as a PNG, drawn by Chromium from its SVG: ``python -m tests.browser.icon FOLDER``."""

import sys
from pathlib import Path

import anyio

from tests.browser.browser import browsing

SIZE = 512


async def render(svg: str, size: int = SIZE) -> bytes:
    """A PNG with these pixels a side; what the SVG leaves free is transparent."""
    async with browsing() as browser:
        page = await browser.new_page(viewport={"width": size, "height": size})
        await page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{svg}")
        return await page.screenshot(omit_background=True)


def main(folder: Path) -> None:
    svg = (folder / "icon.svg").read_text("utf-8")
    (folder / "icon.png").write_bytes(anyio.run(render, svg))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
