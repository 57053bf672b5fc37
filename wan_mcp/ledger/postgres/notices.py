"""Notices of changes, which PostgreSQL takes from one program to all others."""

import json
import logging
from typing import Any

import anyio
import psycopg
from pydantic import SecretStr

from wan_mcp.ledger.base import OnChange

logger = logging.getLogger(__name__)

CHANNEL = "wan_mcp_changes"
LONGEST = 7000
"""Bytes of a notice at most: PostgreSQL takes less than 8,000."""
RECONNECT = 2.0
"""Seconds until the next attempt after the connection broke."""


def notify(database: psycopg.Connection[Any], sender: str, owner: str, task_id: str) -> None:
    """Tell all programs of a change, once the transaction is written.

    Args:
        database: a connection in a transaction.
        sender: the name of this program.
        owner: the owner's digest.
        task_id: the task.
    """
    notice = json.dumps([sender, owner, task_id])
    if len(notice) < LONGEST:
        database.execute("SELECT pg_notify(%s, %s)", (CHANNEL, notice))


async def listen(url: SecretStr, options: dict[str, Any], receiver: str, told: OnChange) -> None:
    """Tell of all changes until this is cancelled; after each interruption, that any task may have changed.

    Args:
        url: the database's address. It needs a direct connection, not a pooler's that serves transactions.
        options: of the connection.
        receiver: the name of this program.
        told: told of each change.
    """
    is_lost = False
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(url.get_secret_value(), **options)
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                if is_lost:
                    logger.warning("notices of changes arrive again")
                is_lost = False
                told("", "", True)
                async for notice in connection.notifies():
                    told(*_read(notice.payload, receiver))
        except (psycopg.Error, OSError) as error:
            if not is_lost:
                logger.warning("notices of changes do not arrive: %s", type(error).__name__)
            is_lost = True
        await anyio.sleep(RECONNECT)


def _read(notice: str, receiver: str) -> tuple[str, str, bool]:
    """Whose task has changed, and whether another program changed it."""
    try:
        sender, owner, task_id = json.loads(notice)
    except (ValueError, TypeError):  # another version's: any task may have changed
        return "", "", True
    return str(owner), str(task_id), sender != receiver
