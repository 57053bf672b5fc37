"""Locks of a session are held by nobody else."""

import psycopg
import pytest

from wan_mcp.ledger.postgres.session_locks import SessionLocks

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Time does not jump: the database's does not."""
    return "asyncio"


async def test_a_lock_is_held_once_until_it_is_released(url: str) -> None:
    """Neither another session has it meanwhile, nor the same one again."""
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as session,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other_session,
    ):
        ours, theirs = SessionLocks(session), SessionLocks(other_session)
        async with ours.hold("a") as first, ours.hold("a") as again, theirs.hold("a") as other:
            assert (first, again, other) == (True, False, False)
            async with theirs.hold("b") as different:
                assert different
        async with theirs.hold("a") as later:
            assert later


async def test_the_loss_of_a_session_is_noticed(url: str) -> None:
    """Its locks may be another one's by then."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as session:
        locks = SessionLocks(session)
        await locks.check()
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            await locks.check()
