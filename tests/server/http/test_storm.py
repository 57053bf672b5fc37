"""A thousand requests, each sent to both of two servers at once, which are killed in the middle."""

from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.storm import storm

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


async def test_each_request_is_paid_once_and_its_video_kept_whatever_is_killed(
    postgres: Postgres, database_url: str, tmp_path: Path
) -> None:
    """Either server around the POST, and once the database; every caller is told the same task."""
    outcome = await storm(
        postgres, database_url, tmp_path, requests=1000, kill_every=8, seconds=5, restart_database=True
    )
    assert outcome.kills > 1
    assert (outcome.paid_twice, outcome.lost, outcome.missing) == ([], [], []), str(outcome)
    assert sum(outcome.paid.values()) == 1000
