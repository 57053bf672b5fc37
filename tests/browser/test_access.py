"""The card is accessible: axe finds nothing serious, nothing is cut off, and its buttons work by keyboard."""

import pytest

from tests.browser import states
from tests.browser.browser import READS, browsing
from tests.browser.conftest import MakeHost
from tests.browser.screenshots import STATES, THEMES, WIDTHS, shown
from tests.clients.programs import axe

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CUT_OFF = """() => [...document.querySelectorAll("main, main *")].filter(element => element.offsetParent
    && !["prompt", "spoken", "bar"].includes(element.id) && !["CANVAS", "VIDEO"].includes(element.tagName)
    && (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline"))
    .map(element => element.id || element.tagName)"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("state", STATES)
async def test_each_state_is_accessible_and_fits(state: str, theme: str) -> None:
    """In both themes, narrow and wide, with large text: no serious finding, nothing wider than the card."""
    checker = axe()
    async with browsing() as browser:
        for size in WIDTHS:
            async with shown(browser, state, theme, size) as at:
                await at.page.clock.resume()  # axe uses timers
                await at.card.evaluate(checker)
                findings = await at.card.evaluate(
                    "async () => (await axe.run()).violations.map(({id, impact, nodes}) =>"
                    " [impact, id, nodes.map(node => node.html + ' ' + node.failureSummary)])"
                )
                assert [finding for finding in findings if finding[0] in ("serious", "critical")] == [], size
                assert await at.card.evaluate(CUT_OFF) == [], size


async def test_the_progress_is_seen_in_forced_colours(host: MakeHost) -> None:
    """Where the system's colours replace the card's."""
    colour = "() => getComputedStyle(document.querySelector('#bar div')).backgroundColor"
    async with host() as at:
        await at.page.emulate_media(forced_colors="active")
        await at.begin(states.working(40))
        await at.shows("40 %")
        canvas = await at.card.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert await at.card.evaluate(colour) not in (canvas, "rgba(0, 0, 0, 0)")


async def test_the_buttons_work_by_keyboard(host: MakeHost) -> None:
    """They are reached in order, show that they have the focus, and are pressed with Enter."""
    async with host(capabilities={"serverTools": {}, "openLinks": {}, "message": {}}) as at:
        await at.script(READS, {"result": states.completed()})
        await at.script("save_video", {"result": states.saved()})
        await at.begin(states.completed())
        await at.shows("The video is ready")
        await at.card.locator("#save").focus()
        await at.page.keyboard.press("Tab")
        assert await at.card.evaluate("() => document.activeElement.id") == "open"
        assert (
            await at.card.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
        )
        await at.page.keyboard.press("Shift+Tab")
        await at.page.keyboard.press("Enter")
        await at.shows(f"Saved at {states.SAVED}")


async def test_the_buttons_of_a_part_are_reached_in_the_order_in_which_they_stand(host: MakeHost) -> None:
    """Each keeps the focus while it waits for the chat, so that one step leads to the next."""
    reached = []
    async with host() as at:
        await at.begin(states.completed(**states.part()))
        await at.shows("Join the parts")
        await at.card.locator("#save").focus()
        for _ in range(4):
            await at.page.keyboard.press("Tab")
            await at.page.keyboard.press("Enter")
            await at.settled()
            reached.append(await at.card.evaluate("() => document.activeElement.textContent"))
        assert reached == ["Open", "Continue", "Join the parts", "Another take"]
        assert len(await at.sent("ui/open-link")) == 1
        assert len(await at.sent("ui/message")) == 3
