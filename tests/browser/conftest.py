"""One browser for each test, and a host in it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tests.browser.browser import Host, browsing, hosting
from tests.browser.media import Media

MakeHost = Callable[..., AbstractAsyncContextManager[Host]]


@pytest.fixture(autouse=True)
def wanted() -> None:
    """Not where another session has these tests."""
    if os.environ.get("WAN_MCP_BROWSER") == "0":
        pytest.skip("nox -s browser runs it")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def media() -> Media:
    """Where the videos come from."""
    return Media()


@pytest.fixture
def host(media: Media) -> MakeHost:
    """Makes the host of a test, in a browser of its own."""

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Host]:
        async with browsing() as browser:
            context = await browser.new_context(viewport={"width": 640, "height": 800})
            await media.serve(context)
            async with hosting(context, **options) as host:
                yield host

    return make
