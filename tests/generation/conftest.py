"""What the tests of this folder share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client

from tests.generation.gateway import gateway
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return gateway(tmp_path)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with world.client() as client:
        yield client
