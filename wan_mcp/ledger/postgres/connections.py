"""How connections to PostgreSQL are made and broken; their errors say what to do, without the password."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import PoolClosed, PoolTimeout
from pydantic import SecretStr

from wan_mcp.errors import LedgerError

CONNECTING = 5
"""Seconds in which a connection must be there."""
SESSION = {
    "lock_timeout": "10s",
    "statement_timeout": "10s",
    # A program that was paused in the middle of a transaction does not keep its locks.
    "idle_in_transaction_session_timeout": "10s",
    # Whoever waited for a lock sees what was written meanwhile: an operator's stricter default would hide it.
    "default_transaction_isolation": "read committed",
}
AGAIN = (
    "Try again in a minute. If it stays so, whoever runs this server has to check the database and "
    "WAN_MCP_DATABASE_URL."
)

OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": CONNECTING,
    "client_encoding": "utf8",  # a database of another encoding says itself which texts it does not take
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
        raise _unusable(_reason(url, error)) from None


def _unusable(reason: str) -> LedgerError:
    return LedgerError(f"The ledger's database cannot be used: {reason}.", next_step=AGAIN)


def _reason_now(url: SecretStr) -> str:
    """Why no connection can be made now."""
    try:
        psycopg.connect(url.get_secret_value(), **(OPTIONS | {"connect_timeout": 2})).close()
    except psycopg.Error as error:
        return _reason(url, error)
    return "it is busy"


def _reason(url: SecretStr, error: psycopg.Error) -> str:
    if not _is_readable(url.get_secret_value()):  # the error may quote a part of the password
        return (
            "WAN_MCP_DATABASE_URL cannot be read; write it like postgresql://user:password@host:5432/name, "
            "with %40 and %2F in place of @ and / in the password"
        )
    # Without the server's details, which quote statements and rows.
    text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
    return text[:300].rstrip(".")


def _is_readable(address: str) -> bool:
    """Whether no part of a password can count as a host, a port or a name."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        return False
    host, port, name = (str(parts.get(part) or "") for part in ("host", "port", "dbname"))
    return "@" not in host[1:] + name and all(number.isdecimal() for number in port.split(",") if number)
