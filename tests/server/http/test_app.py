"""The application: its probes, and how another application mounts it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.http.hosted import Hosted, hosted, message
from tests.world import KEY, World
from wan_mcp.server.http.app import create_app
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio


async def probe(server: Hosted, path: str, **headers: str) -> tuple[int, Any]:
    async with server.http() as http:
        found = await http.get(path, headers=headers)
        return found.status_code, found.json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_needs_neither_a_key_nor_a_name(world: World, path: str) -> None:
    """Probes use addresses; any number of them is answered, and nothing is asked upstream."""
    async with hosted(world) as server:
        for _ in range(700):
            assert await probe(server, path, host="10.1.2.3:8000") == (200, {"status": "ok"})
    assert world.records.calls == []


async def test_a_server_whose_ledger_cannot_be_used_is_alive_but_not_ready(
    world: World, tmp_path: Path
) -> None:
    """And is ready again once it can be."""
    folder = tmp_path / "data"
    folder.write_text("not a folder")
    async with hosted(world) as server:
        assert (await probe(server, "/healthz"))[0] == 200
        assert await probe(server, "/readyz") == (503, {"status": "the ledger does not answer"})
        folder.unlink()
        assert await probe(server, "/readyz") == (200, {"status": "ok"})


async def test_a_server_that_is_about_to_stop_is_alive_but_not_ready(world: World) -> None:
    """So that its balancer sends nobody else."""
    async with hosted(world) as server:
        server.app.state.hosted.drain()
        assert (await probe(server, "/healthz"))[0] == 200
        assert await probe(server, "/readyz") == (503, {"status": "stopping"})


async def test_another_application_can_mount_it(world: World) -> None:
    """With its lifespan, which has to run; the paths are below the mount."""
    environ = {name: value for name, value in world.environ.items() if name != "EVOLINK_API_KEY"}
    app = create_app(Settings.load(environ), make_runtime=world.runtime)

    @asynccontextmanager
    async def lifespan(outer: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    outer = Starlette(routes=[Mount("/video", app)], lifespan=lifespan)
    async with outer.router.lifespan_context(outer):
        transport = httpx2.ASGITransport(outer)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            for path in ("/video/healthz", "/video/readyz"):
                assert (await http.get(path, headers={"host": "10.1.2.3"})).status_code == 200
            body, headers = message("tools/list", "modern")
            refused = await http.post("/video/mcp", json=body, headers=headers)
            served = await http.post("/video/mcp", json=body, headers=headers | {"x-api-key": KEY})
    assert (refused.status_code, served.status_code) == (401, 200)
    assert "generate_video" in served.text
