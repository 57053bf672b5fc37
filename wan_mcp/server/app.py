"""The MCP server: the tools, and the studio that serves them all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
from mcp.server import MCPServer

from wan_mcp import __version__
from wan_mcp.server.tool import StrictTool
from wan_mcp.server.tools import TOOLS
from wan_mcp.server.words import INSTRUCTIONS
from wan_mcp.settings import Settings
from wan_mcp.studio import Studio

OpenStudio = Callable[[Settings], Studio]


def create_server(
    settings: Settings,
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
    open_studio: OpenStudio | None = None,
) -> MCPServer[Studio]:
    """Build a server; nothing is opened before it runs.

    Args:
        settings: as loaded. Without a key the server starts, and every call that needs one says so.
        transport: replaces the network, for tests.
        open_studio: replaces the studio that serves the calls.
    """
    make = open_studio or (lambda settings: Studio(settings, transport=transport))

    @asynccontextmanager
    async def lifespan(server: MCPServer[Studio]) -> AsyncIterator[Studio]:
        async with make(settings) as studio:
            yield studio

    return MCPServer(
        "wan-mcp",
        title="Wan image to video",
        version=__version__,
        instructions=INSTRUCTIONS,
        website_url="https://evolink.ai",
        tools=[StrictTool.build(definition) for definition in TOOLS],
        lifespan=lifespan,
        log_level=settings.log_level,
    )
