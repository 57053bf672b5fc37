"""The move of this machine's ledger into a PostgreSQL database, which several machines can share.

One transaction on PostgreSQL has all of it. Before it ends, the file is marked as being moved, and from then
on takes no paid request: whenever the move is interrupted, at most one of the two ledgers is used. By the
salt, which nobody else has, a repeated move recognises that the transaction was written.
"""

import platform
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from pydantic import SecretStr

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.lease import Lease
from wan_mcp.ledger.postgres.connections import OPTIONS, configure, translated
from wan_mcp.ledger.postgres.database import Statements
from wan_mcp.ledger.postgres.replicas import DEAD_AFTER
from wan_mcp.ledger.postgres.schema import ANOTHER_DATABASE, migrate
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sql.queries import salt
from wan_mcp.ledger.sqlite import database as sqlite
from wan_mcp.ledger.sqlite.store import FILE_NAME, LOCKS

TABLES = {"entries": ("number",), "uploads": ("owner", "digest"), "gateways": ("address",)}
"""Each table, and what its rows are known by."""
NOTHING = "Nothing was moved."
THIS_MACHINE = {
    "machine": "coalesce(machine, :machine)",
    "saved": "CASE WHEN json_valid(saved) THEN"
    " json_set(saved, '$.machine', coalesce(json_extract(saved, '$.machine'), :machine)) ELSE saved END",
}
"""Columns that say on which machine a request and its file are, which goes without saying in a file."""


@dataclass(frozen=True)
class Moved:
    """What a move did."""

    place: str
    """The database and its host."""
    rows: dict[str, int]
    """How many rows each table has."""
    now: bool
    """Whether they were copied now, rather than by an earlier move."""


def move(folder: Path, url: SecretStr) -> Moved:
    """Copy the ledger in a folder into an empty database, and mark the file, which is not used any more.

    Interrupted at any moment, nothing is moved, or the next call completes the move.

    Args:
        folder: where the ledger's file and its locks are.
        url: the database's address, which may have a password.

    Raises:
        LedgerError: when the file or the database cannot be used, or another program uses one of them.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise LedgerError(
            f"There is no ledger {path}. {NOTHING}",
            next_step="Check WAN_MCP_DATA_DIR. A machine without a ledger has nothing to move.",
        )
    with sqlite.translated(path), closing(sqlite.connect(path)) as source, translated(url):
        source.text_factory = _storable
        source.execute("PRAGMA synchronous = FULL")
        with psycopg.connect(url.get_secret_value(), **OPTIONS) as target:
            configure(target)
            target.autocommit = False
            with sqlite.transaction(source):  # nobody writes to the file meanwhile
                migrate(target)  # no server begins to use the database meanwhile
                place = f"{target.info.dbname} at {target.info.host}"
                counts = {table: _count(source, table) for table in TABLES}
                mark = sqlite.mark_of_move(source)
                is_here = mark is not None and salt(source) == salt(Statements(target))
                if not is_here:
                    _check_source(source, mark, Lease(folder / LOCKS))
                    _check_target(target)
                    _copy(source, target)
                    _compare(source, target)
                    source.execute("INSERT OR REPLACE INTO meta VALUES ('moving', ?)", (place.encode(),))
            target.commit()
        source.execute("UPDATE meta SET name = 'moved' WHERE name = 'moving'")
    return Moved(place, counts, now=not is_here)


def _check_source(source: sqlite3.Connection, mark: sqlite.Mark | None, lease: Lease) -> None:
    if mark is not None and mark.is_complete:
        raise LedgerError(
            f"This ledger was moved to the PostgreSQL database {mark.place} before. {NOTHING}",
            next_step="Set WAN_MCP_DATABASE_URL to that one; PostgreSQL's own pg_dump moves it elsewhere.",
        )
    held = source.execute(
        "SELECT number, holder FROM entries WHERE task_id IS NULL AND closed = 0 AND holder IS NOT NULL"
    )
    for row in held:
        if lease.is_alive(row["holder"], row["number"]):
            raise LedgerError(
                f"A server works on request #{row['number']} of this ledger. {NOTHING}",
                next_step="Stop the MCP clients and servers that use it first, then move it.",
            )


def _check_target(target: psycopg.Connection[Any]) -> None:
    alive = "SELECT 1 FROM replicas WHERE seen_at > clock_timestamp() - make_interval(secs => %s)"
    if target.execute(alive, (DEAD_AFTER,)).fetchone() is not None:
        raise LedgerError(
            f"A server uses the database already. {NOTHING}",
            next_step=f"Stop all servers with this WAN_MCP_DATABASE_URL, wait {DEAD_AFTER:g} seconds, and "
            "move the ledger then.",
        )
    if any(_count(Statements(target), table) for table in TABLES):
        raise LedgerError(
            f"The database has a ledger already, and two cannot become one. {NOTHING}",
            next_step=f"Make an empty database, and {ANOTHER_DATABASE}",
        )


def _copy(source: sqlite3.Connection, target: psycopg.Connection[Any]) -> None:
    target.execute("UPDATE meta SET value = %s WHERE name = 'salt'", (salt(source),))
    for table in TABLES:
        columns = ", ".join(_columns(source, table))
        with target.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
            for row in _rows(source, table):
                copy.write_row(tuple(row))
    last = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    if last is not None:  # numbers of removed rows are not used again
        target.execute("SELECT setval(pg_get_serial_sequence('entries', 'number'), %s)", (last["seq"],))


def _compare(source: sqlite3.Connection, target: psycopg.Connection[Any]) -> None:
    """Read every value back."""
    for table in TABLES:
        columns = ", ".join(_columns(source, table))
        # In the order of the file, whatever the database's language is.
        order = ", ".join(name if name == "number" else f'{name} COLLATE "C"' for name in TABLES[table])
        with target.cursor("copied", row_factory=tuple_row) as copied:
            copied.execute(f"SELECT {columns} FROM {table} ORDER BY {order}".encode())
            for row, copy in zip_longest(_rows(source, table), copied, fillvalue=()):
                if tuple(row) != copy:
                    raise LedgerError(
                        f"The database did not keep the table {table} as it was written. {NOTHING}",
                        next_step=f"Make an empty database without triggers, and {ANOTHER_DATABASE}",
                    )


def _columns(source: sqlite3.Connection, table: str) -> list[str]:
    return [column[0] for column in source.execute(f"SELECT * FROM {table} LIMIT 0").description]


def _rows(source: sqlite3.Connection, table: str) -> Iterable[sqlite3.Row]:
    names = _columns(source, table)
    columns = ", ".join(THIS_MACHINE.get(name, name) for name in names)
    order = ", ".join(TABLES[table])
    return source.execute(f"SELECT {columns} FROM {table} ORDER BY {order}", {"machine": platform.node()})


def _count(database: Connection, table: str) -> int:
    return int(database.execute(f"SELECT count(*) AS rows FROM {table}").fetchone()["rows"])


def _storable(text: bytes) -> str:
    """A text as PostgreSQL takes it: without zero characters, and without what is no character."""
    return text.decode(errors="replace").replace("\0", "\ufffd")
