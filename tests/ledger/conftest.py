"""What the tests of this folder share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ledger.rows import owned
from wan_mcp.ledger import OwnerLedger


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[OwnerLedger]:
    async with owned(tmp_path / "data") as ledger:
        yield ledger
