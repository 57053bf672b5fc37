"""What the tests of this folder share."""

from pathlib import Path

import pytest

from tests.generation.gateway import gateway
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return gateway(tmp_path)
