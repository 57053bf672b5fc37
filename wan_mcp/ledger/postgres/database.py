"""The database of a ledger: a few connections, each used by one thread at a time."""

import functools
import logging
import platform
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from pydantic import SecretStr

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.postgres.connections import AGAIN, CONNECTING, OPTIONS, configure, cut, translated
from wan_mcp.ledger.postgres.notices import notify
from wan_mcp.ledger.postgres.queue import FollowQueue, prepare
from wan_mcp.ledger.postgres.replicas import Replica, Replicas
from wan_mcp.ledger.postgres.schema import migrate
from wan_mcp.ledger.sql.connection import Connection, Rows

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 8
"""Connections for statements; a program has three more, and those of its jobs."""
LIMIT = 15.0
"""Seconds after which a connection that does not answer is cut."""


class PostgresDatabase:
    """The database of a ledger.

    It is connected to when it is first needed, and anew whenever it was away.

    Args:
        url: its address, which may have a password.
        secret: what this program signs links with; None where it has no links.
        queue: the jobs that follow tasks; None where nobody but the caller has the key.
    """

    def __init__(self, url: SecretStr, secret: SecretStr | None, queue: FollowQueue | None) -> None:
        self._url = url
        self._queue = queue
        self.replica = Replica(secret)
        self.working = self.replica.working
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        self._opening = threading.Lock()
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self._slot_of_beats = anyio.CapacityLimiter(1)
        self._turns: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._thread = threading.local()
        self._away: tuple[float, LedgerError | None] = (0.0, None)
        """When no connection could be had the last time, and the error."""

    @property
    def machine(self) -> str | None:
        return platform.node()

    async def open(self) -> None:
        if self._pool is None:
            await self._run(lambda connection: None)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a thread.

        Raises:
            LedgerError: when the database cannot be used.
        """
        return await self._run(lambda connection: work(Statements(connection)))

    async def write(self, work: Callable[[Connection], T], *, durable: bool, owner: str = "") -> T:
        """Run ``work`` in a transaction, alone among the writes of an owner in all programs.

        Raises:
            LedgerError: when the database cannot be used. Unless the connection broke at the very end,
                nothing was written.
        """

        def run(connection: psycopg.Connection[Any]) -> T:
            with connection.transaction():
                # What is not durable is yet written before anything durable that comes later.
                _lock(connection, f"owner {owner}" if owner else "", is_waited_for=durable)
                return work(Statements(connection))

        # In turns, so that one owner with many requests does not take all connections.
        async with self._turns.setdefault(owner, anyio.Lock()) if owner else anyio.Lock():
            return await self._run(run)

    async def beat(self) -> None:
        """Give a sign of life, and free rows whose claim is not known here."""

        def beat(connection: psycopg.Connection[Any]) -> None:
            self.replica.beat(connection)
            self.replica.free_lost(connection)

        await self._run(beat, self._slot_of_beats)  # calls that wait for each other do not delay it

    async def aclose(self) -> None:
        """Close the connections, and free the rows of this program."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await anyio.to_thread.run_sync(self._close, pool)

    def check_place(self, database: Connection) -> None:
        """Whoever has the address has the same ledger."""

    def holders(self, database: Connection) -> Replicas:
        return Replicas(self.replica, _of(database))

    def alone_at(self, database: Connection, gateway: str) -> None:
        _lock(_of(database), f"gateway {gateway}")

    def changed(self, database: Connection, owner: str, task_id: str) -> None:
        notify(_of(database), self.replica.name, owner, task_id)

    def answered(self, database: Connection, owner: str, gateway: str, task_id: str) -> None:
        if self._queue is None:
            return
        connection = _of(database)
        try:
            with connection.transaction():
                self._queue.enqueue(connection, owner, task_id)
        except psycopg.Error as error:  # that the task was paid is recorded in any case
            logger.warning("%s is followed later: no job could be made (%s)", task_id, type(error).__name__)

    async def _run(
        self, work: Callable[[psycopg.Connection[Any]], T], slots: anyio.CapacityLimiter | None = None
    ) -> T:
        """Run ``work`` in a thread with a connection, which is cut where it does not answer."""
        call = Call()

        def run() -> T:
            self._thread.call = call
            try:
                with translated(self._url), self._opened(call).connection() as connection:
                    call.use(connection)
                    return work(connection)
            except LedgerError as error:
                if isinstance(error.__context__, PoolTimeout):
                    self._away = time.monotonic(), error
                raise

        asked = time.monotonic()
        async with slots or self._slots:
            since, away = self._away
            if away is not None and since > asked:  # else hundreds of calls would try, a few at a time
                raise away.with_traceback(None)
            # A cancelled caller does not leave a thread behind that writes.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LIMIT):
                return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        call.give_up()
        raise LedgerError(f"The ledger's database did not answer within {LIMIT:g} s.", next_step=AGAIN)

    def _opened(self, call: "Call") -> "ConnectionPool[psycopg.Connection[Any]]":
        with self._opening:
            if self._pool is None and not call.is_given_up:
                conninfo = self._url.get_secret_value()
                # Once by itself: its error tells what is wrong.
                with psycopg.connect(conninfo, **OPTIONS) as connection:
                    call.use(connection)
                    configure(connection)
                    with connection.transaction():
                        migrate(connection)
                        if self._queue is not None:
                            prepare(connection)
                        self.replica.register(connection)
                self._pool = ConnectionPool(
                    conninfo,
                    kwargs=OPTIONS,
                    min_size=1,
                    max_size=AT_ONCE + 1,
                    timeout=CONNECTING - 2,
                    reconnect_timeout=1,  # whoever needs a connection tries again
                    check=self._check,
                    configure=configure,
                    open=True,
                    name="ledger",
                )
            if self._pool is None:
                raise PoolClosed
            return self._pool

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        self._thread.call.use(connection)
        ConnectionPool.check_connection(connection)

    def _close(self, pool: "ConnectionPool[psycopg.Connection[Any]]") -> None:
        self._thread.call = Call()
        with suppress(psycopg.Error, PoolTimeout), pool.connection(timeout=0.5) as connection:
            self.replica.leave(connection)
        pool.close(timeout=0.5)


class Call:
    """Work that runs in a thread, and whose caller may give it up."""

    def __init__(self) -> None:
        self.is_given_up = False
        self._connections: list[psycopg.Connection[Any]] = []

    def use(self, connection: psycopg.Connection[Any]) -> None:
        """Begin to use a connection.

        Raises:
            psycopg.OperationalError: when the caller was told already that nothing was written.
        """
        self._connections.append(connection)
        if self.is_given_up:
            raise psycopg.OperationalError("given up")

    def give_up(self) -> None:
        """Break the connections, so that the thread ends with an error."""
        self.is_given_up = True
        for connection in self._connections:
            cut(connection)


class Statements:
    """A connection that takes the statements of all databases.

    Args:
        connection: a connection.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        return self.connection.execute(_translated(statement), [_storable(value) for value in values])


@functools.lru_cache(maxsize=256)
def _translated(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _storable(value: Any) -> Any:
    """A value as PostgreSQL takes it: it has no zero characters, and columns for numbers take no booleans."""
    if isinstance(value, bool):
        return int(value)
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _of(database: Connection) -> psycopg.Connection[Any]:
    assert isinstance(database, Statements)
    return database.connection


def _lock(connection: psycopg.Connection[Any], name: str, *, is_waited_for: bool = True) -> None:
    """Wait for all other transactions that have this lock; the transaction's end frees it.

    Args:
        connection: in a transaction.
        name: the lock's; empty for none.
        is_waited_for: whether the transaction's end waits for the disk.
    """
    parts = [] if is_waited_for else ["set_config('synchronous_commit', 'off', true)"]
    values = [f"wan-mcp {name}"] if name else []
    parts += ["pg_advisory_xact_lock(hashtextextended(%s, 0))"] if name else []
    if parts:
        connection.execute(f"SELECT {', '.join(parts)}".encode(), values)
