"""A browser, and in it a host page that shows the card and answers it as a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser import states
from tests.clients.programs import missing, program
from wan_mcp.generation.owners import LOCAL, Deployment
from wan_mcp.server.card import page_for

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Frame, Page, Route

HERE = Path(__file__).parent
ADDRESS = "https://host.test/"
DOMAINS = "https://*.evolink.ai"
READS = "get_task"


@asynccontextmanager
async def browsing() -> AsyncIterator["Browser"]:
    """Debian's Chromium, without a window."""
    chromium = program("chromium")
    try:
        from playwright.async_api import async_playwright
    except ModuleNotFoundError:
        missing("playwright is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


def policy(domains: str) -> str:
    """The policy that the Inspector gives a page whose resource names these domains."""
    media, code = domains or "'none'", f"'unsafe-inline' {domains}"
    return (
        f"default-src 'none'; connect-src 'none'; script-src {code}; style-src {code}; img-src {media}; "
        f"font-src {media}; media-src {media}; frame-src 'none'; base-uri 'self'; form-action 'none'"
    )


@dataclass(frozen=True)
class Host:
    """The page with the card in it; its clock stands still unless a test moves it."""

    page: "Page"
    card: "Frame"

    async def notify(self, name: str, params: Any) -> None:
        """Send the card a notification of the extension."""
        await self.post({"jsonrpc": "2.0", "method": f"ui/notifications/{name}", "params": params})

    async def post(self, message: Any) -> None:
        await self.page.evaluate("message => post(message)", message)

    async def begin(self, result: Any, prompt: str = states.PROMPT) -> None:
        """Send what a host sends once the card is ready."""
        await self.ready()
        await self.notify("tool-input", {"arguments": {"prompt": prompt}})
        await self.notify("tool-result", result)

    async def ready(self) -> None:
        await self.page.wait_for_function(
            "() => sent.some(message => message.method === 'ui/notifications/initialized')"
        )

    async def script(self, key: str, *answers: Any) -> None:
        """Set the answers to the next messages with this method, or calls of this tool."""
        await self.page.evaluate("([key, answers]) => { script[key] = answers; }", [key, list(answers)])

    async def sent(self, key: str) -> list[dict[str, Any]]:
        """The messages of the card with this method, or calls of this tool."""
        await self.settled()
        messages: list[dict[str, Any]] = await self.page.evaluate("() => sent")
        return [message for message in messages if key in (message.get("method"), _tool(message))]

    async def asked(self, key: str) -> dict[str, Any]:
        """Wait until the card has sent such a message or call, and return the last one."""
        await self.page.wait_for_function(
            "key => sent.some(({method, params}) => method === key || "
            "(method === 'tools/call' && params.name === key))",
            arg=key,
        )
        return (await self.sent(key))[-1]

    async def settled(self) -> None:
        """Wait until the card has read every message so far: it answers a ping that comes after them."""
        await self.page.evaluate(
            """() => new Promise(resolve => {
                const id = `ping ${sent.length}`;
                window.addEventListener("message", function heard({data}) {
                    if (data.id !== id) return;
                    window.removeEventListener("message", heard);
                    resolve();
                });
                post({jsonrpc: "2.0", id, method: "ping"});
            })"""
        )

    async def passes(self, seconds: float) -> None:
        """Let this time pass for the page and the card, and run all timers that are due in it."""
        await self.settled()
        await self.page.clock.run_for(int(seconds * 1000))
        await self.settled()

    async def shows(self, *texts: str) -> None:
        """Wait until the card shows each of these texts."""
        for text in texts:
            await self.card.wait_for_function(
                "text => document.querySelector('main').innerText.includes(text)", arg=text
            )

    async def plays(self) -> None:
        """Wait until the video can be played."""
        await self.card.wait_for_function("() => document.querySelector('video')?.readyState > 1")

    async def text(self) -> str:
        """All that can be read on the card."""
        await self.settled()
        return await self.card.locator("main").inner_text()

    async def buttons(self) -> list[str]:
        """The buttons; the first one that is offered is marked with a star."""
        await self.settled()
        found: list[str] = await self.card.evaluate(
            "() => [...document.querySelectorAll('button')].filter(button => button.offsetParent)"
            ".map(button => button.textContent + (button.classList.contains('primary') ? '*' : ''))"
        )
        return sorted(found)

    async def press(self, name: str) -> None:
        await self.card.get_by_role("button", name=name, exact=True).click()

    async def press_again(self, name: str) -> None:
        """Press a button that is said to be disabled, as an impatient person does."""
        await self.card.get_by_role("button", name=name, exact=True).dispatch_event("click")
        await self.settled()


def _tool(message: dict[str, Any]) -> str | None:
    return message["params"]["name"] if message.get("method") == "tools/call" else None


@asynccontextmanager
async def hosting(
    context: "BrowserContext",
    *,
    capabilities: dict[str, Any] | None = None,
    shown: dict[str, Any] | None = None,
    domains: str = DOMAINS,
    silent: bool = False,
    deployment: Deployment = LOCAL,
) -> AsyncIterator[Host]:
    """A host that shows the card.

    Args:
        context: of the browser; its clock stands still.
        capabilities: what the host can do; without a value everything.
        shown: the host's context, such as its theme.
        domains: from which media may be loaded.
        silent: whether it never answers ``ui/initialize``.
        deployment: of the server whose card it is.
    """

    async def answer(route: "Route") -> None:
        await route.fulfill(body=(HERE / "host.html").read_bytes(), content_type="text/html")

    await context.clock.install(time=states.NOW)
    await context.route(ADDRESS, answer)
    page = await context.new_page()
    await page.goto(ADDRESS)
    await page.clock.pause_at(states.NOW + 30)
    host = Host(page, page.frames[1])
    hello = {
        "hostCapabilities": states.ABLE if capabilities is None else capabilities,
        "hostContext": {"locale": "en-GB", "timeZone": "UTC"} | (shown or {}),
    }
    if not silent:
        await host.script("ui/initialize", {"result": hello})
    meta = f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(domains))}">'
    await page.evaluate(
        "html => { card.srcdoc = html; }",
        f"<!doctype html><html><head>{meta}</head><body>{page_for(deployment)}</body></html>",
    )
    await page.wait_for_function("() => sent.length > 0")
    yield host
    await page.close()
