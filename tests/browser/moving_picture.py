"""The README's moving picture, and a still of it: ``python -m tests.browser.moving_picture FOLDER``.

The chat is drawn for it; the card in it is the real one, and is told what a real server said.
"""

import io
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import anyio
from PIL import Image

from tests.browser.browser import HERE, READS, Host, browsing, hosting
from tests.browser.media import Media
from tests.browser.recording import PROMPT, SHOWN_PICTURE, Recording, record

if TYPE_CHECKING:
    from playwright.async_api import Browser

SIZE = (720, 664)
SCALE = 2
"""Pixels of a frame for each of the page, so that its text is sharp."""
FONT = '"Liberation Sans", Arial, sans-serif'
TRUTH = "Recorded with the embedded sandbox: an imitated video, a shortened wait, nothing charged."
STEP = 2.5
"""Seconds of the wait between two frames."""
FPS = 8
PLAYED = 4.25
"""Seconds of the video that are shown."""
PLAY = (24, -44)
"""The middle of Chromium's play button, from the video's lower left corner."""
SLOWEST = "() => { document.querySelector('video').playbackRate = 0.0625; }"
"""Lets a video that plays hardly move while a screenshot is taken."""
SEEKING = """time => new Promise(resolve => {
    const video = document.querySelector('video');
    video.requestVideoFrameCallback(resolve);
    video.currentTime = time;
})"""
QUALITY = 75
"""Of the moving picture; at 80 it has a sixth more bytes."""
STILL_SIZE = (1080, 996)

Frame = tuple[bytes, int]
"""A screenshot, and for how many milliseconds it is shown."""


@asynccontextmanager
async def chatting(browser: "Browser", recording: Recording) -> AsyncIterator[Host]:
    """The chat, in which the user has just asked for the video."""
    context = await browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=SCALE, color_scheme="light"
    )
    media = Media()
    media.content = lambda: recording.video
    await media.serve(context)
    shown = {"theme": "light", "styles": {"variables": {"--font-sans": FONT}}}
    async with hosting(context, shown=shown) as at:
        *reads, last = recording.reads
        await at.script("resources/read", {"result": recording.poster})
        await at.script(READS, *({"result": answer} for answer in reads))
        await at.script("wait_for_task", {"result": last})
        await at.page.evaluate(
            "html => document.body.insertAdjacentHTML('afterbegin', html)", (HERE / "chat.html").read_text()
        )
        await _say(at, "#user", f"Make {SHOWN_PICTURE} move: {PROMPT[0].lower()}{PROMPT[1:]}")
        await _say(at, "#truth", TRUTH)
        yield at
    await context.close()


async def frames(at: Host, recording: Recording) -> AsyncIterator[Frame]:
    """From what the user says to the end of the video."""

    async def frame(milliseconds: int) -> Frame:
        await at.settled()
        return await at.page.screenshot(), milliseconds

    facts = recording.reads[-1]["structuredContent"]
    folder = PurePosixPath(facts["saved_to"]).parent
    yield await frame(1600)
    await _say(at, "#begun", f"I'll make 5 seconds in 720p with wan-mcp. That costs {facts['dollars']}.")
    await at.page.locator("#card").evaluate("card => { card.style.visibility = 'visible'; }")
    await at.begin(recording.begun, PROMPT)
    await at.card.wait_for_function("() => document.getElementById('poster').width === 640")
    yield await frame(900)
    while True:
        await at.passes(STEP)
        if "The video is ready" in await at.text():
            break
        yield await frame(150)
    await at.passes(STEP)
    await at.shows("Saved at")
    await at.plays()
    await _say(at, "#done", f"Done: it is saved in {folder} and cost {facts['dollars']}.")
    await _stands_still(at)
    yield await frame(1200)
    await at.card.evaluate(SLOWEST)
    box = await at.card.locator("video").bounding_box()
    assert box
    # The controls stay while the pointer is on them.
    await at.page.mouse.click(box["x"] + PLAY[0], box["y"] + box["height"] + PLAY[1])
    for number in range(int(PLAYED * FPS)):
        await at.card.evaluate(SEEKING, (number + 0.1) / FPS)
        yield await frame(1000 // FPS)
    yield await frame(1500)


async def _say(at: Host, line: str, text: str) -> None:
    await at.page.locator(line).evaluate("(line, text) => { line.textContent = text; }", text)


async def _stands_still(at: Host) -> None:
    """Until the ring with which Chromium loads has ended its turn."""
    before, now = b"", await at.page.screenshot()
    while before != now:
        before, now = now, await at.page.screenshot()


async def film(recording: Recording) -> list[Frame]:
    """All frames, each picture once for as long as it stands."""
    async with browsing() as browser, chatting(browser, recording) as at:
        taken = [frame async for frame in frames(at, recording)]
    return [(png, sum(time for _, time in same)) for png, same in groupby(taken, key=itemgetter(0))]


def write(film: Sequence[Frame], folder: Path) -> None:
    """The moving picture, and its last frame as the still."""
    first, *others = (Image.open(io.BytesIO(png)).convert("RGB") for png, _ in film)
    times = [time for _, time in film]
    first.save(
        folder / "demo.webp",
        save_all=True,
        append_images=others,
        duration=times,
        loop=0,
        quality=QUALITY,
        method=4,
    )
    still = others[-1].resize(STILL_SIZE, Image.Resampling.LANCZOS)
    still.quantize(palette=still.quantize()).save(folder / "demo.png", optimize=True)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        recording = record(Path(scratch))
    write(anyio.run(film, recording), folder)
    for file in ("demo.webp", "demo.png"):
        sys.stdout.write(f"{folder / file}: {(folder / file).stat().st_size / 1000:.0f} KB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
