"""What the tests of this folder share."""

from pathlib import Path

import pytest

from tests.conftest import World
from tests.generation.gateway import gateway


@pytest.fixture
def world(tmp_path: Path) -> World:
    return gateway(tmp_path)
