"""What the tests of this folder share."""

from pathlib import Path
from typing import Any

import pytest

from wan_mcp.ledger.sqlite.store import SqliteLedger


@pytest.fixture
async def ledger(tmp_path: Path) -> Any:
    ledger = SqliteLedger(tmp_path / "data")
    yield ledger
    await ledger.aclose()
