"""Several callers of one hosted server, without HTTP: a test says whose call is being served."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl, SecretStr

from tests.server.tasks_client import TasksClient
from tests.world import KEY, World
from wan_mcp.generation.measures import UNCOUNTED
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment, Owner
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Account
from wan_mcp.server.app import Hosting, create_server
from wan_mcp.settings import Settings

NAMES = ("one", "two", "three")
DEPLOYMENTS = {"own keys": OWN_KEYS, "one account": ONE_ACCOUNT}


class Nobody:
    """A verifier for servers that are not reached over HTTP."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return None


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
        settings = Settings.load(self.world.environ | environ)
        async with self.world.runtime(settings, deployment=self.deployment, **options) as runtime:
            yield Services(runtime, self.whose)

    @asynccontextmanager
    async def client(self, **environ: str) -> AsyncIterator[tuple[Client, TasksClient]]:
        """A client of the server, which speaks the tasks extension as well."""
        hosting = Hosting(
            self.deployment,
            self.whose,
            AuthSettings(issuer_url=AnyHttpUrl("https://issuer.example.com"), resource_server_url=None),
            Nobody(),
            UNCOUNTED,
            serving=lambda services: nullcontext(),
        )
        settings = Settings.load(self.world.environ | environ)
        server = create_server(settings, make_runtime=self.world.runtime, hosting=hosting)
        extension = TasksClient()
        async with Client(server, extensions=[extension]) as client:
            yield client, extension

    def of(self, services: Services, name: str) -> VideoService:
        """The service of a caller."""
        self.name = name
        return services.current()
