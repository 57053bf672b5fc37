"""Advisory locks of one session of the database: others have them only once it released them, or ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import anyio
import psycopg

ANSWER = 4.0
"""Seconds that the database has for one answer, before it counts as lost."""


class SessionLocks:
    """The locks of a session, each known by a name.

    Args:
        session: commits by itself, and is used for nothing else.
    """

    def __init__(self, session: psycopg.AsyncConnection[Any]) -> None:
        self._session = session
        self._held: set[str] = set()  # the database would give a session the same lock twice

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[bool]:
        """Hold the lock in the context, if nobody has it: the value tells whether.

        Raises:
            psycopg.Error: when the session is lost, and with it all locks.
            TimeoutError: when the database does not answer.
        """
        if name in self._held:
            yield False
            return
        self._held.add(name)
        try:
            held = await self._ask("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name)
            try:
                yield held
            finally:
                if held:
                    await self._ask("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)
        finally:
            self._held.discard(name)

    async def check(self) -> None:
        """Find out whether the session still has its locks.

        Raises:
            psycopg.Error: when the session is lost.
            TimeoutError: when the database does not answer.
        """
        await self._ask("SELECT true")

    async def _ask(self, query: LiteralString, *names: str) -> bool:
        with anyio.fail_after(ANSWER):
            row = await (await self._session.execute(query, names)).fetchone()
        assert row is not None
        return bool(row[0])
