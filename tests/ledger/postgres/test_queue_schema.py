"""procrastinate's tables are made and brought up to date, and nobody else's are touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.postgres.queue_schema import prepare

MIGRATIONS = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
CONTENT = b"""
    SELECT 'column', table_name || '.' || column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public'
    UNION ALL SELECT 'function', oid::regprocedure::text, '' FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'label', enumtypid::regtype::text, enumlabel FROM pg_enum
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url) as connection:
        yield connection


def record(connection: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in connection.execute("SELECT migration FROM queue_schema ORDER BY 1")]


def test_an_empty_database_gets_the_tables_once(connection: psycopg.Connection[Any]) -> None:
    """Preparing it again changes nothing."""
    prepare(connection)
    content = connection.execute(CONTENT).fetchall()
    prepare(connection)
    assert connection.execute(CONTENT).fetchall() == content
    assert record(connection) == [migration.name for migration in MIGRATIONS]


@pytest.mark.parametrize("older", ["03.01.00_50", "03.03.00_01"])
def test_older_tables_become_those_of_the_installed_version(
    connection: psycopg.Connection[Any], older: str
) -> None:
    """All of its migrations are applied that they do not have."""
    prepare(connection)
    new = connection.execute(CONTENT).fetchall()
    connection.rollback()
    connection.execute("CREATE TABLE queue_schema (migration text PRIMARY KEY)")
    for migration in MIGRATIONS:
        if migration.name[:11] <= older:
            connection.execute(migration.read_bytes())
            connection.execute("INSERT INTO queue_schema VALUES (%s)", [migration.name])
    connection.commit()
    prepare(connection)
    connection.commit()
    assert connection.execute(CONTENT).fetchall() == new
    assert record(connection) == [migration.name for migration in MIGRATIONS]


def test_tables_of_a_newer_version_are_left_as_they_are(connection: psycopg.Connection[Any]) -> None:
    """Within a major version they fit."""
    prepare(connection)
    connection.execute("DELETE FROM queue_schema")
    connection.execute("INSERT INTO queue_schema VALUES ('03.99.00_01_pre_one_for_all.sql')")
    content = connection.execute(CONTENT).fetchall()
    prepare(connection)
    assert connection.execute(CONTENT).fetchall() == content
    assert record(connection) == ["03.99.00_01_pre_one_for_all.sql"]


def test_tables_of_another_program_are_refused(connection: psycopg.Connection[Any]) -> None:
    """It may have another version of procrastinate, and its jobs are not ours."""
    connection.execute(SchemaManager.get_schema().encode())
    content = connection.execute(CONTENT).fetchall()
    with pytest.raises(LedgerError, match="another program") as refusal:
        prepare(connection)
    assert "WAN_MCP_DATABASE_URL" in refusal.value.next_step
    assert connection.execute(CONTENT).fetchall() == content
