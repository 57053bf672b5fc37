"""Pictures of the card in each of its states: ``python -m tests.browser.screenshots FOLDER``."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from tests.browser import states
from tests.browser.browser import READS, Host, browsing, hosting
from tests.browser.media import ALWAYS, Media
from tests.browser.states import SAVED, completed, dead, failed, part, refused, saved, working

if TYPE_CHECKING:
    from playwright.async_api import Browser


async def _work(at: Host) -> None:
    await at.begin(working(40, left=100))
    await at.shows("40 %")


async def _work_without_poster(at: Host) -> None:
    await at.script("resources/read", states.NO_POSTER)
    await at.begin(working(None, left=None), prompt=" ".join([states.PROMPT] * 8))
    await at.shows("Mist")


async def _play(at: Host) -> None:
    await at.begin(saved())
    await at.plays()
    await at.card.evaluate("() => document.querySelector('video').play()")
    await at.card.wait_for_function("() => document.querySelector('video').currentTime > 1")


async def _work_on_a_part(at: Host) -> None:
    await at.begin(working(40, left=100, **part()))
    await at.shows("Part 3")


async def _end_a_part(at: Host) -> None:
    await at.begin(completed(**part()))
    await at.plays()
    await at.shows("Join the parts")


async def _end_unsaved(at: Host) -> None:
    await at.begin(completed())
    await at.plays()


async def _fail(at: Host) -> None:
    await at.begin(failed())
    await at.shows("could not be made")


async def _expire(at: Host) -> None:
    await at.begin(dead(saved_to=SAVED))
    await at.shows("no longer works")


async def _not_play(at: Host) -> None:
    await at.script(READS, {"result": completed()})
    await at.begin(completed())
    await at.shows("does not play")


async def _read_in_vain(at: Host) -> None:
    await at.script(READS, {"result": refused("Evolink did not answer within 60 s.")})
    await at.begin(working(40, left=None))
    await at.passes(11)
    await at.shows("failed")


async def _refuse(at: Host) -> None:
    text = "The prompt has 1204 characters; at most 1000 are allowed. Shorten it, then call it again. "
    await at.begin(refused(text + "Nothing was sent or charged."))
    await at.shows("No video yet")


STATES: dict[str, Callable[[Host], Awaitable[None]]] = {
    "working": _work,
    "working-without-poster": _work_without_poster,
    "working-on-a-part": _work_on_a_part,
    "playing": _play,
    "part": _end_a_part,
    "unsaved": _end_unsaved,
    "failed": _fail,
    "expired": _expire,
    "not-playing": _not_play,
    "reading-in-vain": _read_in_vain,
    "refused": _refuse,
}
WIDTHS = {"320": (320, 100), "800": (800, 100), "320-large": (320, 200), "800-large": (800, 200)}
"""The width in pixels, and the size of the text in percent."""
THEMES = ("light", "dark")


@asynccontextmanager
async def shown(browser: "Browser", state: str, theme: str, size: str) -> AsyncIterator[Host]:
    """The card in a state."""
    width, percent = WIDTHS[size]
    scheme: Any = theme
    context = await browser.new_context(viewport={"width": width, "height": 1400}, color_scheme=scheme)
    media = Media()
    media.broken = {states.LINK: ALWAYS} if state == "not-playing" else {}
    await media.serve(context)
    async with hosting(context, shown={"theme": theme}) as at:
        await at.script("resources/read", states.poster())
        await at.card.evaluate(f"() => {{ document.documentElement.style.fontSize = '{percent}%'; }}")
        await STATES[state](at)
        if state != "refused" and "without" not in state:
            await at.card.wait_for_function("() => document.getElementById('poster').width === 640")
        await at.settled()
        await at.card.wait_for_function("() => document.documentElement.scrollHeight <= innerHeight")
        yield at
    await context.close()


async def take_all(folder: Path) -> None:
    async with browsing() as browser:
        for state in STATES:
            for theme in THEMES:
                for size in WIDTHS:
                    async with shown(browser, state, theme, size) as at:
                        if state in ("unsaved", "part"):
                            await anyio.sleep(2)  # the ring with which Chromium loads ends its turn
                        file = folder / f"{state}-{theme}-{size}.png"
                        await at.page.locator("#card").screenshot(path=file)
                        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    anyio.run(take_all, Path(sys.argv[1]))
