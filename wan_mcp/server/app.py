"""The MCP server: tools, resources, prompts, and the runtime behind them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio
from mcp.server import MCPServer
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import ServerMiddleware

from wan_mcp import __version__, logs
from wan_mcp.errors import SettingsError
from wan_mcp.generation.following import TAKE_UP_EVERY
from wan_mcp.generation.measures import UNCOUNTED, Measures
from wan_mcp.generation.owners import LOCAL, Deployment, Owner
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services, Whose
from wan_mcp.generation.status import TaskChanged
from wan_mcp.server.card import card
from wan_mcp.server.notifier import OwnersBus, TaskNotifier
from wan_mcp.server.prompts import add_prompts
from wan_mcp.server.resources import TaskResources, add_resources
from wan_mcp.server.task_extension import TaskExtension
from wan_mcp.server.text import instructions_for
from wan_mcp.server.tool import StrictTool
from wan_mcp.server.tools import tools_for
from wan_mcp.settings import Settings

if TYPE_CHECKING:
    from wan_mcp.storage.storage import Storage  # loads what only a hosted server has

WARM_UP_AFTER = 0.5
"""Seconds after the start: the client's first requests come first."""
TAKE_UP_AFTER = 3.0
"""Seconds after the start."""


class MakeRuntime(Protocol):
    """Makes the runtime: ``Runtime``, or one with another network or clock."""

    def __call__(
        self,
        settings: Settings,
        *,
        changed: TaskChanged,
        deployment: Deployment,
        measures: Measures,
        storage: "Storage | None" = None,
    ) -> Runtime: ...


@dataclass(frozen=True)
class Hosting:
    """What differs where a server serves many callers over HTTP."""

    deployment: Deployment
    whose: Whose
    """Tells whose call is being served."""
    auth: AuthSettings
    verifier: TokenVerifier
    """Tells who calls."""
    measures: Measures
    storage: "Storage"
    """Where videos, posters and uploads are kept."""
    serving: Callable[[Services], AbstractAsyncContextManager[None]]
    """Entered with the services while they can be used."""
    middleware: Sequence[ServerMiddleware[Services]] = ()
    video_domains: Sequence[str] = ()
    """From where the links to kept videos come."""


def create_server(
    settings: Settings, *, make_runtime: MakeRuntime = Runtime, hosting: Hosting | None = None
) -> MCPServer[Services]:
    """Build a server; nothing is opened before it runs.

    Args:
        settings: as loaded. Without a key the server starts, and every call that needs one says so.
        make_runtime: replaces ``Runtime``.
        hosting: what differs where the server serves many callers over HTTP; None on the user's machine.
    """
    whose = hosting.whose if hosting else lambda: Owner(settings.require_key())
    deployment = (hosting.deployment if hosting else LOCAL).under(settings)
    measures = hosting.measures if hosting else UNCOUNTED
    bus = OwnersBus(whose)
    notifier, tasks = TaskNotifier(bus, has_sessions=hosting is None), TaskResources()
    storage = hosting.storage if hosting else None
    make = partial(make_runtime, settings, deployment=deployment, measures=measures, storage=storage)

    @asynccontextmanager
    async def lifespan(server: MCPServer[Services]) -> AsyncIterator[Services]:
        async with (
            notifier.running(),
            make(changed=notifier.changed) as runtime,
            tasks.serving(Services(runtime, whose, notifier.listen.close)) as services,
        ):
            if hosting is None:
                runtime.run_until_exit(partial(_prepare, runtime, services))
                yield services
            else:
                from wan_mcp.generation.retention import Retention  # loads what only a hosted server has

                runtime.run_until_exit(runtime.warm_up)
                runtime.run_until_exit(services.take_up)
                runtime.run_until_exit(Retention(runtime).run)
                async with hosting.serving(services):
                    yield services

    server = MCPServer(
        "wan-mcp",
        title="Wan 2.5 video",
        version=__version__,
        instructions=instructions_for(deployment),
        website_url="https://evolink.ai",
        tools=[StrictTool.build(definition) for definition in tools_for(deployment)],
        lifespan=lifespan,
        log_level=settings.log_level,
        subscriptions=bus,
        extensions=[card(settings, deployment, hosting.video_domains if hosting else ()), TaskExtension()],
        auth=hosting.auth if hosting else None,
        token_verifier=hosting.verifier if hosting else None,
        middleware=hosting.middleware if hosting else (),
    )
    add_resources(server, tasks, notifier, deployment)
    add_prompts(server, deployment)
    logs.quieten()
    return server


async def _prepare(runtime: Runtime, services: Services) -> None:
    """Do what no call should wait for, a little later, so that the start is not slower."""
    with suppress(SettingsError):
        runtime.settings.require_key()  # without a key, no call needs any of this
        await anyio.sleep(WARM_UP_AFTER)
        await runtime.warm_up()
        await anyio.sleep(TAKE_UP_AFTER - WARM_UP_AFTER)
        # Again and again: another program may end later than this one began, and the ledger may be locked.
        while True:
            await services.current().take_up()
            await anyio.sleep(TAKE_UP_EVERY)
