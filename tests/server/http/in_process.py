"""Hosted servers without HTTP, each with a client in this process, whose requests are all one owner's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl, SecretStr

from tests.world import KEY, World
from wan_mcp.generation.measures import UNCOUNTED
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment, Owner
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.server.app import Hosting, MakeRuntime, create_server
from wan_mcp.settings import Settings

DEPLOYMENTS = pytest.mark.parametrize("deployment", [OWN_KEYS, ONE_ACCOUNT], ids=["own keys", "one account"])


class NoTokens:
    """Knows no token: in these tests no request has one."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return None


def owner(deployment: Deployment, key: str = KEY) -> Owner:
    """The caller of every request."""
    return Owner(SecretStr(key), "https://issuer.example\nalice" if deployment.operator_pays else None)


def hosted_server(
    deployment: Deployment,
    settings: Settings | None = None,
    make_runtime: MakeRuntime = Runtime,
    key: str = KEY,
) -> MCPServer[Services]:
    """A hosted server."""
    hosting = Hosting(
        deployment=deployment,
        whose=lambda: owner(deployment, key),
        auth=AuthSettings(issuer_url=AnyHttpUrl("https://issuer.example"), resource_server_url=None),
        verifier=NoTokens(),
        measures=UNCOUNTED,
        serving=lambda services: nullcontext(),
    )
    return create_server(settings or Settings.load({}), make_runtime=make_runtime, hosting=hosting)


@asynccontextmanager
async def hosted_client(
    world: World, deployment: Deployment, mode: Any = "auto", key: str = KEY, **environ: str
) -> AsyncIterator[Client]:
    """A client of a hosted server in this world."""
    settings = Settings.load(world.environ | {"WAN_MCP_AUTOSAVE": "1"} | environ)
    async with Client(hosted_server(deployment, settings, world.runtime, key), mode=mode) as client:
        yield client
