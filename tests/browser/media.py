"""The hosts of the videos, as the browser sees them."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.browser import states

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Route


ALWAYS = 1_000_000
"""Times that a link is broken, when it never works."""


class Media:
    """Delivers the video at every address, unless it is told otherwise."""

    def __init__(self) -> None:
        self.broken: dict[str, int] = {}
        """How often each address answers with 404 before it works."""
        self.silent: set[str] = set()
        """Addresses that never answer."""
        self.requests: Counter[str] = Counter()
        self.content: Callable[[], bytes] = states.video
        """Makes the video."""

    async def serve(self, context: "BrowserContext") -> None:
        await context.route("https://*.evolink.ai/**", self._answer)

    async def _answer(self, route: "Route") -> None:
        link = route.request.url
        self.requests[link] += 1
        if link in self.silent:
            return
        if self.requests[link] <= self.broken.get(link, 0):
            await route.fulfill(status=404)
            return
        video = self.content()
        first = int(route.request.headers.get("range", "bytes=0-")[6:].split("-")[0])
        extent = f"bytes {first}-{len(video) - 1}/{len(video)}"
        headers = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", "Content-Range": extent}
        await route.fulfill(status=206, body=video[first:], headers=headers)
