"""The SQLite file: opened on first use, private, shared by processes; its errors say what to do."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from wan_mcp.errors import ANOTHER_DATA_FOLDER, MAKE_DATA_FOLDER_WRITABLE, LedgerError
from wan_mcp.ledger.lease import Lease
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sqlite import schema
from wan_mcp.settings import WHERE_SETTINGS_ARE

T = TypeVar("T")
BUSY_SECONDS = 10.0
"""How long a writer waits for another process's transaction."""
MOVED = f"Set WAN_MCP_DATABASE_URL to that database {WHERE_SETTINGS_ARE}."
BEING_MOVED = f"Run wan-mcp ledger move again if it was interrupted. {MOVED}"


@dataclass(frozen=True)
class Mark:
    """What a file says of its move into a PostgreSQL database."""

    place: str
    """The database and its host."""
    is_complete: bool
    """Whether it is known that the database has the ledger."""


class FileDatabase:
    """One connection, used by one thread at a time.

    It is opened when it is first needed, so that a folder that cannot be written stops only paid calls.

    Args:
        path: the file; its folder is created private to the user.
        lease: this process's.
    """

    machine = None

    def __init__(self, path: Path, lease: Lease) -> None:
        self._path = path
        self._lease = lease
        self.working = lease.working
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that is open."""
        self._one_at_a_time = anyio.Lock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a thread.

        Raises:
            LedgerError: when the file cannot be used.
        """

        def run() -> T:
            with translated(self._path):
                return work(self._open())

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(run)

    async def open(self) -> None:
        """The file is opened with the first statement."""

    def holders(self, database: Connection) -> Lease:
        return self._lease

    def alone_at(self, database: Connection, gateway: str) -> None:
        """Every transaction that writes is alone."""

    def changed(self, database: Connection, owner: str, task_id: str) -> None:
        """Other processes read the file."""

    def answered(self, database: Connection, owner: str, gateway: str, task_id: str) -> None:
        """This process follows its tasks itself."""

    async def write(self, work: Callable[[Connection], T], *, durable: bool, owner: str = "") -> T:
        """Run ``work`` in a transaction; a durable one is on the disk when this returns.

        Raises:
            LedgerError: when the file cannot be used; then nothing was written.
        """

        def run() -> T:
            with translated(self._path):
                connection = self._open()
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                with transaction(connection):
                    return work(connection)

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(run)

    def check_place(self, database: Connection) -> None:
        """Make sure that the open file is the one at the path, which other processes would open.

        Raises:
            LedgerError: when it was deleted, moved or replaced, or is no longer the ledger.
        """
        try:
            found = self._path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            raise LedgerError(
                f"The ledger {self._path} was deleted, moved or replaced while this server was running.",
                next_step="Restart the server in the client, then check in list_tasks what was paid.",
            )
        mark = mark_of_move(database)
        if mark is not None:
            raise LedgerError(
                f"This ledger {'was' if mark.is_complete else 'is being'} moved to the PostgreSQL database "
                f"{mark.place}. Nothing was sent.",
                next_step=MOVED if mark.is_complete else BEING_MOVED,
            )

    async def aclose(self) -> None:
        """Close the file; a later call opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            found = self._path.stat()
            self._file = (found.st_dev, found.st_ino)
        return self._connection


def mark_of_move(database: Connection) -> Mark | None:
    """The mark, by which the file takes no paid requests any more; None where there is none."""
    row = database.execute("SELECT name, value FROM meta WHERE name IN ('moving', 'moved')").fetchone()
    return Mark(bytes(row["value"]).decode(), row["name"] == "moved") if row else None


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, which is made or brought to the current version if need be.

    Raises:
        LedgerError: when it is not a ledger, or has a newer version.
        sqlite3.DatabaseError: when it cannot be used.
        OSError: when it cannot be opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        schema.migrate(connection)
        _write_ahead(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the journal that readers do not wait for.

    SQLite's own busy time-out does not apply while another process that has just made the file
    switches it too.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Be alone among all that write to the file; what is written in the context is written as a whole."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system into a ``LedgerError`` that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF
        damaged = kind in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
        advice = (
            f"{schema.UNCHANGED} Move it away to begin a new ledger."
            if damaged
            else f"Check that its folder can be written and its disk is not full, or {ANOTHER_DATA_FOLDER}"
        )
        raise LedgerError(f"The ledger {path} cannot be used ({error}).", next_step=advice) from error
    except OSError as error:
        raise LedgerError(
            f"The ledger {path} cannot be opened ({error.strerror}).",
            next_step=MAKE_DATA_FOLDER_WRITABLE,
        ) from error
