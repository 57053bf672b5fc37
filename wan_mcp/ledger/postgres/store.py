"""The ledger on PostgreSQL: see ``Ledger`` for what its methods do."""

import time
from collections.abc import Callable
from contextlib import suppress

import anyio
from pydantic import SecretStr

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.base import OnChange, Step
from wan_mcp.ledger.postgres.connections import OPTIONS
from wan_mcp.ledger.postgres.database import PostgresDatabase
from wan_mcp.ledger.postgres.notices import listen
from wan_mcp.ledger.postgres.queue import FollowQueue
from wan_mcp.ledger.postgres.replicas import BEAT_EVERY
from wan_mcp.ledger.sql.ledger import SqlLedger


class PostgresLedger(SqlLedger):
    """The ledger of all owners.

    Args:
        url: the database's address, which may have a password.
        secret: what this program signs links with; None where it has no links.
        follows_at: the API at which jobs follow the tasks; None where there are no jobs.
    """

    def __init__(
        self, url: SecretStr, *, secret: SecretStr | None = None, follows_at: str | None = None
    ) -> None:
        self._url = url
        self.queue = (
            FollowQueue(url.get_secret_value(), follows_at, self.clock(time.time)) if follows_at else None
        )
        self._postgres = PostgresDatabase(url, secret, self.queue)
        super().__init__(self._postgres)

    def clock(self, local: Callable[[], float]) -> Callable[[], float]:
        return lambda: local() + self._postgres.replica.offset

    async def watch(self, told: OnChange) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(listen, self._url, OPTIONS, self._postgres.replica.name, told)
            while True:
                await anyio.sleep(BEAT_EVERY)
                with suppress(LedgerError):  # whoever needs the ledger is told
                    await self._postgres.beat()

    async def check(self) -> None:
        await self._postgres.beat()  # a database that can only be read would fail

    async def run_jobs(self, step: Step) -> None:
        if self.queue is not None:
            await self.queue.run(step)

    async def aclose(self) -> None:
        await self._postgres.aclose()
