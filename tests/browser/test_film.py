"""Films of parts that the sandbox made play in Chromium, over both seams."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.browser import browsing
from tests.browser.media import Media
from tests.browser.states import LINK
from tests.videos.likeness import ssim
from tests.videos.made import textured, watched
from wan_mcp.sandbox.render import FPS, render
from wan_mcp.videos.frames import last_frame
from wan_mcp.videos.join import join

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SIZE = (854, 480)
SECONDS = 15
MOMENTS = (4.9, 5.1, 9.9, 10.1)
"""Around both seams."""
RATE = 4
"""How much faster it plays."""
PLAYING = """async rate => {
    const video = document.querySelector('video');
    video.playbackRate = rate;
    await video.play();
    await new Promise(resolve => { video.onended = video.onerror = resolve; });
    const {played, duration, videoWidth, videoHeight} = video;
    const spans = [...Array(played.length).keys()].map(at => [played.start(at), played.end(at)]);
    const error = video.error?.message ?? null;
    return {spans, duration, size: [videoWidth, videoHeight], error};
}"""
"""Plays a video to its end: what was played, and what it is."""
SEEKING = """time => new Promise(resolve => {
    const video = document.querySelector('video');
    video.requestVideoFrameCallback(() => requestAnimationFrame(resolve));
    video.currentTime = time;
})"""
"""Shows the picture of a moment."""


def picture(size: tuple[int, int]) -> bytes:
    file = BytesIO()
    textured(size).save(file, "PNG")
    return file.getvalue()


def alike(folder: Path) -> list[Path]:
    """Three parts, each from the last frame of the one before."""
    paths: list[Path] = []
    for number in range(3):
        path = folder / f"{number}.mp4"
        path.write_bytes(render(last_frame(paths[-1]) if paths else picture((1280, 720)), 5, "480p"))
        paths.append(path)
    return paths


def different(folder: Path) -> list[Path]:
    """A landscape, a portrait, and a larger landscape."""
    paths: list[Path] = []
    for size, quality in (((1280, 720), "480p"), ((720, 1280), "480p"), ((1280, 720), "720p")):
        path = folder / f"{len(paths)}.mp4"
        path.write_bytes(render(picture(size), 5, quality))
        paths.append(path)
    return paths


@pytest.mark.parametrize(("parts", "lossless"), [(alike, True), (different, False)])
async def test_a_film_plays_over_its_seams(
    parts: Callable[[Path], list[Path]], lossless: bool, media: Media, tmp_path: Path
) -> None:
    """From its beginning to its end without a gap; around each seam it shows what PyAV finds there."""
    film = tmp_path / "film.mp4"
    media.content = film.read_bytes
    async with browsing() as browser:
        assert join(parts(tmp_path), film, lambda share: None, lambda: False).lossless is lossless
        context = await browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        await media.serve(context)
        page = await context.new_page()
        await page.set_content(f"<style>* {{ margin: 0 }}</style><video muted src='{LINK}'></video>")
        played = await page.evaluate(PLAYING, RATE)
        shown: list[bytes] = []
        for seconds in MOMENTS:
            await page.evaluate(SEEKING, seconds)
            shown.append(await page.screenshot())
    assert played == {
        "spans": [[0, pytest.approx(SECONDS, abs=0.1)]],
        "duration": pytest.approx(SECONDS, abs=0.1),
        "size": [*SIZE],
        "error": None,
    }
    images = watched(film).images
    likeness = [
        ssim(Image.open(BytesIO(content)), images[int(seconds * FPS)])
        for content, seconds in zip(shown, MOMENTS, strict=True)
    ]
    assert min(likeness) > 0.995, likeness
