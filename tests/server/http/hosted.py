"""A hosted server without a network: the whole application, its callers, and a sandbox behind it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

from tests.callers import IN_MEMORY
from tests.clock import now
from tests.server.http.issuer import AUDIENCE, Issuer
from tests.world import KEY, World
from wan_mcp.server.http.app import MakeTokens, create_app
from wan_mcp.server.http.oauth import Tokens
from wan_mcp.settings import Settings

ADDRESS = "http://127.0.0.1:8000"
Era = Literal["modern", "legacy"]
HTTP_ERAS: tuple[Era, ...] = ("modern", "legacy")
IN_BOTH_ERAS = pytest.mark.parametrize("era", HTTP_ERAS)
CLIENT_MODE: Mapping[Era, str] = {"modern": "auto", "legacy": "legacy"}
MODERN = "2026-07-28"
ACCEPTED = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def message(method: str, era: Era, **params: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A JSON-RPC request of an era, and the headers that belong to it."""
    headers = dict(ACCEPTED)
    if era == "modern":
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": method}
        if "name" in params:
            headers["mcp-name"] = params["name"]
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {**params, "_meta": meta}
    else:
        headers["mcp-protocol-version"] = "2025-11-25"
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers


class Hosted:
    """A hosted server that runs, and ways to call it."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def http(self, address: str = "192.0.2.1", **options: Any) -> httpx2.AsyncClient:
        """An HTTP client at that address."""
        transport = httpx2.ASGITransport(self.app, client=(address, 50_000))
        return httpx2.AsyncClient(transport=transport, base_url=ADDRESS, **options)

    @asynccontextmanager
    async def client(
        self, credential: str, era: Era = "modern", address: str = "192.0.2.1"
    ) -> AsyncIterator[Client]:
        """An MCP client that sends this key or token."""
        headers = {"Authorization": f"Bearer {credential}"}
        async with self.http(address, headers=headers) as http:
            transport = streamable_http_client(f"{ADDRESS}/mcp", http_client=http)
            async with Client(transport, mode=CLIENT_MODE[era]) as client:
                yield client

    async def post(
        self, era: Era = "modern", method: str = "tools/list", address: str = "192.0.2.1", **headers: str
    ) -> httpx2.Response:
        """One request, with these headers besides those that it needs; ``_`` stands for ``-``."""
        body, needed = message(method, era)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http(address) as http:
            return await http.post("/mcp", json=body, headers=needed | given)


@asynccontextmanager
async def hosted(
    world: World, *, host: str = "127.0.0.1", issuer: Issuer | None = None, **environ: str
) -> AsyncIterator[Hosted]:
    """A server in ``key`` mode, whose callers' keys are the sandbox's; with an issuer, in ``oauth`` mode."""
    given = {name: value for name, value in world.environ.items() if name != "EVOLINK_API_KEY"} | IN_MEMORY
    make_tokens: MakeTokens = Tokens
    if issuer is not None:
        given |= oauth_settings(issuer.address)
        make_tokens = partial(Tokens, transport=httpx2.ASGITransport(issuer.app))
    settings = Settings.load(given | environ)
    app = create_app(settings, host=host, make_runtime=world.runtime, make_tokens=make_tokens, clock=now)
    async with app.router.lifespan_context(app):
        yield Hosted(app)


def oauth_settings(issuer: str) -> dict[str, str]:
    """What an operator sets so that callers with tokens of this issuer share the account of the sandbox."""
    return {
        "EVOLINK_API_KEY": KEY,
        "WAN_MCP_AUTH": "oauth",
        "WAN_MCP_OAUTH_ISSUER": issuer,
        "WAN_MCP_OAUTH_AUDIENCE": AUDIENCE,
        "WAN_MCP_OAUTH_SCOPE": "videos",
        "WAN_MCP_TOTAL_DAILY_CREDITS": "100000",
    }
