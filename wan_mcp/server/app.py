"""The MCP server: tools, resources, prompts, and the runtime behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Protocol

import anyio
from mcp.server import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus

from wan_mcp import __version__, logs
from wan_mcp.errors import SettingsError
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import Services
from wan_mcp.generation.status import TaskChanged
from wan_mcp.server.card import card
from wan_mcp.server.prompts import add_prompts
from wan_mcp.server.resources import TaskNotifier, TaskResources, add_resources
from wan_mcp.server.task_extension import TaskExtension
from wan_mcp.server.text import INSTRUCTIONS
from wan_mcp.server.tool import StrictTool
from wan_mcp.server.tools import TOOLS
from wan_mcp.settings import Settings

WARM_UP_AFTER = 0.5
"""Seconds after the start: the client's first requests come first."""
TAKE_UP_AFTER = 3.0
"""Seconds after the start."""


class MakeRuntime(Protocol):
    """Makes the runtime: ``Runtime``, or one with another network or clock."""

    def __call__(self, settings: Settings, *, changed: TaskChanged) -> Runtime: ...


def create_server(
    settings: Settings, *, local: bool = True, make_runtime: MakeRuntime | None = None
) -> MCPServer[Services]:
    """Build a server; nothing is opened before it runs.

    Args:
        settings: as loaded. Without a key the server starts, and every call that needs one says so.
        local: whether it runs on the user's own machine; only then may a call name a local picture.
        make_runtime: replaces ``Runtime``.
    """
    make = make_runtime or partial(Runtime, local=local)
    bus = InMemorySubscriptionBus()
    notifier, tasks = TaskNotifier(bus), TaskResources()

    @asynccontextmanager
    async def lifespan(server: MCPServer[Services]) -> AsyncIterator[Services]:
        async with (
            notifier.running(),
            make(settings, changed=notifier.changed) as runtime,
            tasks.serving(Services(runtime)) as services,
        ):
            runtime.run_until_exit(partial(_prepare, runtime, services))
            yield services

    server = MCPServer(
        "wan-mcp",
        title="Wan 2.5 video",
        version=__version__,
        instructions=INSTRUCTIONS,
        website_url="https://evolink.ai",
        tools=[StrictTool.build(definition) for definition in TOOLS],
        lifespan=lifespan,
        log_level=settings.log_level,
        subscriptions=bus,
        extensions=[card(settings), TaskExtension()],
    )
    add_resources(server, tasks, notifier)
    add_prompts(server)
    logs.quieten()
    return server


async def _prepare(runtime: Runtime, services: Services) -> None:
    """Do what no call should wait for, a little later, so that the start is not slower."""
    with suppress(SettingsError):
        runtime.settings.require_key()  # without a key, no call needs any of this
        await anyio.sleep(WARM_UP_AFTER)
        await runtime.warm_up()
        await anyio.sleep(TAKE_UP_AFTER - WARM_UP_AFTER)
        await services.own().take_up()
