"""The icon's PNG is its SVG, and the README's moving picture shows the card with a video that plays."""

import io
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image, ImageChops, ImageStat

from tests.browser import icon, moving_picture
from tests.browser.browser import browsing
from tests.browser.moving_picture import FPS, PLAYED, SCALE, SIZE, TRUTH, Frame
from tests.browser.recording import Recording, record

pytestmark = pytest.mark.slow

ASSETS = Path(__file__).parents[2] / "assets"
STATE = (
    "() => { const {paused, currentTime} = document.querySelector('video'); return [paused, currentTime]; }"
)


async def watched(recording: Recording) -> tuple[list[Frame], list[Any], str, str]:
    """All frames; then whether the video is paused and where it is, and what card and chat say."""
    async with browsing() as browser, moving_picture.chatting(browser, recording) as at:
        frames = [frame async for frame in moving_picture.frames(at, recording)]
        return frames, await at.card.evaluate(STATE), await at.text(), await at.page.inner_text("body")


def test_the_png_of_the_icon_is_what_chromium_makes_of_the_svg() -> None:
    """Without one that was drawn since, and only one of the two renewed."""
    svg = (ASSETS / "icon.svg").read_text("utf-8")
    drawn = Image.open(io.BytesIO(anyio.run(icon.render, svg))).convert("RGBA")
    kept = Image.open(ASSETS / "icon.png").convert("RGBA")
    assert max(ImageStat.Stat(ImageChops.difference(drawn, kept)).mean) < 0.5


def test_the_moving_picture_shows_the_card_from_the_request_to_the_playing_video(tmp_path: Path) -> None:
    """It says what is imitated; each frame of the playing video is another picture; the still is its end."""
    recording = record(tmp_path)
    frames, (paused, seconds), card, chat = anyio.run(watched, recording)
    playing = [png for png, _ in frames[-int(PLAYED * FPS) :]]
    assert (paused, seconds) == (False, pytest.approx(PLAYED, abs=2 / FPS))
    assert len(set(playing)) > len(playing) - 2
    assert "Saved at ~/Videos/wan-mcp/drift-slowly-towards-the-sun.mp4" in card
    for words in ("Make ~/Pictures/lake.png move", "costs $0.38", "saved in ~/Videos/wan-mcp", TRUTH):
        assert words in chat
    moving_picture.write(frames, tmp_path)
    with Image.open(tmp_path / "demo.webp") as film:
        assert film.size == (SIZE[0] * SCALE, SIZE[1] * SCALE)
    with Image.open(tmp_path / "demo.png") as still:
        assert still.size == moving_picture.STILL_SIZE
