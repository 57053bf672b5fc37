"""Connections to PostgreSQL: a few, each used by one thread at a time; their errors say what to do."""

import functools
import logging
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from pydantic import SecretStr

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.postgres.notices import notify
from wan_mcp.ledger.postgres.queue import FollowQueue, prepare
from wan_mcp.ledger.postgres.replicas import Replica, Replicas
from wan_mcp.ledger.postgres.schema import migrate
from wan_mcp.ledger.sql.connection import Connection, Rows

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 8
"""Connections for statements; a program has three more, and those of its jobs."""
CONNECTING = 5
"""Seconds in which a connection must be there."""
LIMIT = 15.0
"""Seconds after which a connection that does not answer is cut."""
SESSION = {
    "lock_timeout": "10s",
    "statement_timeout": "10s",
    # A program that was paused in the middle of a transaction does not keep its locks.
    "idle_in_transaction_session_timeout": "10s",
}
AGAIN = (
    "Try again in a minute. If it stays so, whoever runs this server has to check the database and "
    "WAN_MCP_DATABASE_URL."
)


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
        self._turns: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._thread = threading.local()

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
                if not durable:  # it is written before anything that is durable and comes later
                    connection.execute("SET LOCAL synchronous_commit = off")
                if owner:
                    _lock(connection, f"owner {owner}")
                return work(Statements(connection))

        # In turns, so that one owner with many requests does not take all connections.
        async with self._turns.setdefault(owner, anyio.Lock()) if owner else anyio.Lock():
            return await self._run(run)

    async def beat(self) -> None:
        """Give a sign of life."""
        await self._run(self.replica.beat)

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
        if self._queue is not None:
            self._queue.enqueue(_of(database), owner, task_id)

    async def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Run ``work`` in a thread with a connection, which is cut where it does not answer."""
        used: list[psycopg.Connection[Any]] = []

        def run() -> T:
            self._thread.used = used
            with translated(self._url), self._opened().connection() as connection:
                used.append(connection)
                return work(connection)

        async with self._slots:
            # A cancelled caller does not leave a thread behind that writes.
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + LIMIT):
                return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        for connection in used:
            cut(connection)
        raise LedgerError(f"The ledger's database did not answer within {LIMIT:g} s.", next_step=AGAIN)

    def _opened(self) -> "ConnectionPool[psycopg.Connection[Any]]":
        with self._opening:
            if self._pool is None:
                conninfo = self._url.get_secret_value()
                # Once by itself: its error tells what is wrong.
                with psycopg.connect(conninfo, **OPTIONS) as connection, connection.transaction():
                    configure(connection)
                    migrate(connection)
                    if self._queue is not None:
                        prepare(connection)
                    self.replica.register(connection)
                self._pool = ConnectionPool(
                    conninfo,
                    kwargs=OPTIONS,
                    min_size=1,
                    max_size=AT_ONCE,
                    timeout=CONNECTING - 2,
                    reconnect_timeout=1,  # whoever needs a connection tries again
                    check=self._check,
                    configure=configure,
                    open=True,
                    name="ledger",
                )
            return self._pool

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        self._thread.used.append(connection)
        ConnectionPool.check_connection(connection)

    def _close(self, pool: "ConnectionPool[psycopg.Connection[Any]]") -> None:
        self._thread.used = []
        with suppress(psycopg.Error, PoolTimeout), pool.connection(timeout=0.5) as connection:
            self.replica.leave(connection)
        pool.close(timeout=0.5)


class Statements:
    """A connection that takes the statements of all databases.

    Args:
        connection: a connection.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        return self.connection.execute(_translated(statement), [_storable(value) for value in values])


OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": CONNECTING,
    "application_name": "wan-mcp",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def configure(connection: psycopg.Connection[Any]) -> None:
    """Bound what a statement, a lock and an open transaction may take."""
    for name, value in SESSION.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    # What a caller hears must be on the disk: an operator's faster default does not count here.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )


def cut(connection: psycopg.Connection[Any]) -> None:
    """Break the connection of another thread, which then gets an error."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


@contextmanager
def translated(url: SecretStr) -> Iterator[None]:
    """Turn errors of PostgreSQL into a ``LedgerError`` that says what to do, without the password."""
    try:
        yield
    except (PoolTimeout, PoolClosed):
        raise _unusable(_reason_now(url)) from None
    except psycopg.Error as error:
        raise _unusable(_reason(error)) from None


def _unusable(reason: str) -> LedgerError:
    return LedgerError(f"The ledger's database cannot be used: {reason}.", next_step=AGAIN)


def _reason_now(url: SecretStr) -> str:
    """Why no connection can be made now."""
    try:
        psycopg.connect(url.get_secret_value(), **(OPTIONS | {"connect_timeout": 2})).close()
    except psycopg.Error as error:
        return _reason(error)
    return "it is busy"


def _reason(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:  # it may quote the address
        return "WAN_MCP_DATABASE_URL cannot be read; write it like postgresql://user:password@host:5432/name"
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300].rstrip(".")


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


def _lock(connection: psycopg.Connection[Any], name: str) -> None:
    """Wait for all other transactions that have this lock; the transaction's end frees it."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"wan-mcp {name}",))
