"""Hosted servers without HTTP: a test says whose call is being served."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl, SecretStr

from tests.clock import now
from tests.server.tasks_client import TasksClient
from tests.world import KEY, World
from wan_mcp.generation.measures import UNCOUNTED
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment, Owner
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services, Whose
from wan_mcp.sandbox import Account
from wan_mcp.server.app import Hosting, MakeRuntime, create_server
from wan_mcp.settings import Settings
from wan_mcp.storage.storage import Storage

ADDRESS = "http://127.0.0.1:8000"
IN_MEMORY = {"WAN_MCP_STORAGE_URL": "memory:", "WAN_MCP_SECRET": "0" * 32}
"""Storage that needs no folder, so that a server starts whose data folder cannot be used."""
NAMES = ("one", "two", "three")
IN_BOTH_DEPLOYMENTS = pytest.mark.parametrize(
    "deployment", [OWN_KEYS, ONE_ACCOUNT], ids=["own keys", "one account"]
)


class Nobody:
    """A verifier for servers that are not reached over HTTP."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return None


def owner_of(deployment: Deployment) -> Owner:
    """The one caller where a test has no other."""
    return Owner(SecretStr(KEY), "https://issuer.example.com\nalice" if deployment.operator_pays else None)


def hosted_server(
    deployment: Deployment,
    settings: Settings | None = None,
    make_runtime: MakeRuntime = Runtime,
    whose: Whose | None = None,
    clock: Callable[[], float] = time.time,
) -> MCPServer[Services]:
    """A hosted server; by default all its calls are one caller's."""
    settings = settings or Settings.load(IN_MEMORY)
    hosting = Hosting(
        deployment=deployment,
        storage=Storage.open(settings, ADDRESS, clock),
        whose=whose or (lambda: owner_of(deployment)),
        auth=AuthSettings(issuer_url=AnyHttpUrl("https://issuer.example.com"), resource_server_url=None),
        verifier=Nobody(),
        measures=UNCOUNTED,
        serving=lambda services: nullcontext(),
    )
    return create_server(settings, make_runtime=make_runtime, hosting=hosting)


@asynccontextmanager
async def hosted_client(world: World, deployment: Deployment, mode: Any = "auto") -> AsyncIterator[Client]:
    """The client of one caller of a hosted server in this world."""
    settings = Settings.load(world.environ | IN_MEMORY | {"WAN_MCP_AUTOSAVE": "1"})
    async with Client(hosted_server(deployment, settings, world.runtime, clock=now), mode=mode) as client:
        yield client


class Callers:
    """The callers of a hosted server, at a sandbox where each has an account, or all share one.

    Args:
        folder: for the server's data.
        deployment: who pays.
        options: of the sandbox.
    """

    def __init__(self, folder: Path, deployment: Deployment, **options: Any) -> None:
        self.deployment = deployment
        accounts = [Account(name, f"{KEY}-{name}") for name in NAMES]
        defaults = {"seconds": 60, "accounts": [] if deployment.operator_pays else accounts}
        self.world = World(folder, **(defaults | options))
        self.name = NAMES[0]
        """Whose call is being served."""

    def whose(self) -> Owner:
        if self.deployment.operator_pays:
            return Owner(SecretStr(KEY), f"https://issuer.example.com\n{self.name}")
        return Owner(SecretStr(f"{KEY}-{self.name}"))

    @asynccontextmanager
    async def services(self, options: Mapping[str, Any] = {}, **environ: str) -> AsyncIterator[Services]:
        settings = Settings.load(self.world.environ | IN_MEMORY | environ)
        storage = Storage.open(settings, ADDRESS, now)
        deployed: Any = {"deployment": self.deployment, "storage": storage}
        async with self.world.runtime(settings, **deployed, **options) as runtime:
            yield Services(runtime, self.whose)

    @asynccontextmanager
    async def client(self, **environ: str) -> AsyncIterator[tuple[Client, TasksClient]]:
        """A client of the server, which speaks the tasks extension as well."""
        settings = Settings.load(self.world.environ | IN_MEMORY | environ)
        server = hosted_server(self.deployment, settings, self.world.runtime, self.whose, now)
        extension = TasksClient()
        async with Client(server, extensions=[extension]) as client:
            yield client, extension

    def of(self, services: Services, name: str) -> VideoService:
        """The service of a caller."""
        self.name = name
        return services.current()
