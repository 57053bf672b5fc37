"""The ledger in a database: how its methods become statements, for whichever database it is."""

import hashlib
from collections.abc import Callable
from functools import partial

import anyio

from wan_mcp.ledger.base import OnChange, Step
from wan_mcp.ledger.entries import Entry
from wan_mcp.ledger.sql import claims, forgetting, queries, uploads
from wan_mcp.ledger.sql.connection import Connection, Database
from wan_mcp.ledger.sql.owner_ledger import Cache, SqlOwnerLedger


class SqlLedger:
    """The ledger of all owners; see ``Ledger`` for what its methods do.

    Args:
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: Cache = {}
        self._salt: bytes | None = None

    def for_owner(self, gateway: str, identity: str) -> SqlOwnerLedger:
        identify = partial(self.digest, gateway, identity)
        return SqlOwnerLedger(self._database, self._cache, gateway, identify)

    def for_digest(self, gateway: str, digest: str) -> SqlOwnerLedger:
        return SqlOwnerLedger(self._database, self._cache, gateway, digest)

    async def owners_of_unkept(self, gateway: str, *, since: float) -> list[str]:
        return await self._database.read(lambda database: queries.owners_of_unkept(database, gateway, since))

    async def abandoned(self, gateway: str) -> list[tuple[str, int]]:
        def read(database: Connection) -> list[tuple[str, int]]:
            return claims.abandoned(database, gateway, self._database.holders(database))

        return await self._database.read(read)

    async def digest(self, gateway: str, identity: str) -> str:
        if self._salt is None:  # it never changes: a line of a log does not wait for the database
            self._salt = await self._database.read(queries.salt)
        return hashlib.blake2b(f"{gateway}\n{identity}".encode(), key=self._salt, digest_size=16).hexdigest()

    def clock(self, local: Callable[[], float]) -> Callable[[], float]:
        return local

    async def watch(self, told: OnChange) -> None:
        await anyio.sleep_forever()

    async def run_jobs(self, step: Step) -> None:
        await anyio.sleep_forever()

    async def check(self) -> None:
        await self._database.write(self._database.check_place, durable=False)

    async def open(self) -> None:
        await self._database.read(lambda database: None)

    async def entries(self, *, limit: int = 50) -> list[Entry]:
        return await self._database.read(lambda database: queries.newest(database, None, None, limit))

    async def count(self) -> int:
        return await self._database.read(queries.count)

    async def keys(self, numbers: list[int]) -> dict[int, str]:
        def read(database: Connection) -> dict[int, str]:
            self._database.check_place(database)  # another ledger has none of the rows that count now
            return queries.keys(database, numbers)

        return await self._database.read(read)

    async def named(self, task_id_or_number: str) -> list[Entry]:
        return await self._database.read(lambda database: forgetting.named(database, task_id_or_number))

    async def expired(self, before: float, now: float, *, limit: int) -> list[Entry]:
        return await self._database.read(lambda database: forgetting.expired(database, before, now, limit))

    async def remove(self, entries: list[Entry]) -> None:
        numbers = [entry.number for entry in entries]
        await self._database.write(lambda database: forgetting.remove(database, numbers), durable=False)
        self._cache.clear()

    async def remove_uploads(self, now: float) -> None:
        await self._database.write(lambda database: uploads.remove_expired(database, now), durable=False)
