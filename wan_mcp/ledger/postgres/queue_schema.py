"""The tables of procrastinate, which wan-mcp creates and brings to the installed version."""

from pathlib import Path
from typing import Any

import psycopg
from procrastinate.schema import SchemaManager
from psycopg.rows import scalar_row

from wan_mcp.errors import LedgerError


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Create procrastinate's tables, or bring them to the version that is installed.

    The caller has begun a transaction, in which it holds a lock against others that do the same. Tables of a
    newer procrastinate are left as they are: within a major version they fit.

    Raises:
        LedgerError: when the database has such tables that wan-mcp did not make; nothing is changed.
        psycopg.Error: when the database fails.
    """
    with connection.cursor(row_factory=scalar_row) as cursor:
        # Recorded by file, as procrastinate does not say which of them a database has.
        migrations = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
        if cursor.execute("SELECT to_regclass('queue_schema')").fetchone() is not None:
            newest = max(cursor.execute("SELECT migration FROM queue_schema").fetchall())
            migrations = [migration for migration in migrations if migration.name > newest]
            # Also those named "post", which are for when all old workers have ended: a new version of wan-mcp
            # changes the ledger's tables, too, so old processes do not go on beside it.
            scripts = [migration.read_text("utf-8") for migration in migrations]
        elif cursor.execute("SELECT to_regclass('procrastinate_jobs')").fetchone() is not None:
            raise LedgerError(
                "The database has tables of another program that uses procrastinate. Nothing was changed.",
                next_step="Give wan-mcp a database of its own in WAN_MCP_DATABASE_URL.",
            )
        else:
            cursor.execute("CREATE TABLE queue_schema (migration text PRIMARY KEY)")
            scripts = [SchemaManager.get_schema()]
        for script in scripts:
            cursor.execute(script)
        names = [migration.name for migration in migrations]
        cursor.execute("INSERT INTO queue_schema SELECT unnest(%s::text[])", [names])
