"""A database for each test, under the names that the tests of the queue use."""

import pytest

from tests.postgres import Postgres


@pytest.fixture
def server(postgres: Postgres) -> str:
    """The address of the server's own database."""
    return postgres.url


@pytest.fixture
def url(database_url: str) -> str:
    return database_url
