"""The MCP server: the tools, and the studio that serves them all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from mcp.server import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus

from wan_mcp import __version__, logs
from wan_mcp.generation.service import Studio
from wan_mcp.server.prompts import add_prompts
from wan_mcp.server.resources import Announcer, add_resources
from wan_mcp.server.text import INSTRUCTIONS
from wan_mcp.server.tool import StrictTool
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings

OpenStudio = Callable[[Settings], Studio]


def create_server(
    settings: Settings, *, local: bool = True, open_studio: OpenStudio | None = None
) -> MCPServer[Studio]:
    """Build a server; nothing is opened before it runs.

    Args:
        settings: as loaded. Without a key the server starts, and every call that needs one says so.
        local: whether it runs on the user's own machine; only then may a call name a local picture.
        open_studio: replaces the studio that serves the calls.
    """
    make = open_studio or partial(Studio, local=local)
    bus = InMemorySubscriptionBus()
    announcer = Announcer(bus)

    @asynccontextmanager
    async def lifespan(server: MCPServer[Studio]) -> AsyncIterator[Studio]:
        async with make(settings) as studio, announcer.serving(studio):
            yield studio

    server = MCPServer(
        "wan-mcp",
        title="Wan image to video",
        version=__version__,
        instructions=INSTRUCTIONS,
        website_url="https://evolink.ai",
        tools=[StrictTool.build(definition) for definition in TOOLS],
        lifespan=lifespan,
        log_level=settings.log_level,
        subscriptions=bus,
    )
    add_resources(server, announcer)
    add_prompts(server)
    logs.quieten()
    return server
