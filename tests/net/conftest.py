"""These tests have real sockets, so time must pass as it does."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
