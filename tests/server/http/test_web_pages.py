"""Web pages that call a hosted server from a browser."""

import pytest

from tests.server.http.hosted import IN_BOTH_ERAS, Era, hosted
from tests.world import KEY, World

pytestmark = pytest.mark.anyio


@IN_BOTH_ERAS
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8000", 403),
        ("https://127.0.0.1:8000", 403),
        ("http://evil.example.com", 403),
        ("null", 403),
    ],
)
async def test_only_a_page_of_the_server_s_own_address_may_call(
    world: World, era: Era, origin: str, status: int
) -> None:
    """On a developer's machine; a page that another program shows there may not."""
    async with hosted(world) as server:
        answer = await server.post(era, authorization=f"Bearer {KEY}", origin=origin)
    assert answer.status_code == status


async def test_no_page_may_call_a_public_server(world: World) -> None:
    """Programs call it, and send no origin."""
    async with hosted(world, WAN_MCP_PUBLIC_URL="https://wan.example.com") as server:
        for origin in ("https://wan.example.com", "http://127.0.0.1:8000", "http://wan.example.com"):
            answer = await server.post(authorization=f"Bearer {KEY}", origin=origin)
            assert answer.status_code == 403
