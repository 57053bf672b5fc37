"""What the tests of this folder share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.ledger.rows import Place, owned
from tests.postgres import Postgres
from wan_mcp.ledger import OwnerLedger


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a new ledger can be, on each database."""
    if request.param == "sqlite":
        return tmp_path / "data"
    url: str = request.getfixturevalue("database_url")
    return url


@pytest.fixture
def other_place(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where another one can be."""
    if isinstance(place, Path):
        yield tmp_path / "other"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture
async def ledger(place: Place) -> AsyncIterator[OwnerLedger]:
    async with owned(place) as ledger:
        yield ledger
