"""The PostgreSQL of the tests: each database is empty, and a server can be stopped as by a crash."""

import subprocess
import sys

import psycopg
import pytest

from tests.postgres import Postgres, Shutdown

pytestmark = pytest.mark.slow


def write(url: str, value: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [value])


def read(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM words")]


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        mine = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        return [name for (name,) in connection.execute(mine)]


def test_a_database_that_was_used_is_empty_for_the_next_one(postgres: Postgres) -> None:
    """Its tables, other schemas and connections are gone."""
    with postgres.database() as url:
        write(url, "old")
        left = psycopg.connect(url, autocommit=True)
        left.execute("CREATE SCHEMA other")
        left.execute("LISTEN news")
        left.execute("SELECT pg_advisory_lock(1)")
    with postgres.database() as again, psycopg.connect(again) as connection:
        assert again == url
        assert tables(again) == []
        schemas = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'other'").fetchall()
        locked = connection.execute("SELECT pg_try_advisory_lock(1)").fetchone()
    with pytest.raises(psycopg.OperationalError), left:
        left.execute("SELECT 1")
    assert (schemas, locked) == ([], (True,))


def test_two_databases_at_the_same_time_are_different_ones(postgres: Postgres, database_url: str) -> None:
    """What is written into one is not in the other."""
    with postgres.database() as other:
        write(other, "other")
        assert tables(database_url) == []


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_what_was_committed_is_there_after_a_stop(
    postgres: Postgres, database_url: str, how: Shutdown
) -> None:
    """Connections break; also after what is a crash for the server."""
    write(database_url, "kept")
    with psycopg.connect(database_url) as open_before:
        postgres.stop(how)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(database_url)
        postgres.start()
        with pytest.raises(psycopg.OperationalError):
            open_before.execute("SELECT 1")
    assert read(database_url) == ["kept"]


def test_a_database_can_be_used_again_when_its_test_has_left_the_server_stopped(postgres: Postgres) -> None:
    """The server is started at the end of the block."""
    with postgres.database() as url:
        postgres.stop()
    assert tables(url) == []


def test_the_machines_own_server_ends_with_the_process_that_started_it() -> None:
    """Also if that is killed: its folder is removed, and its connections break."""
    program = (
        "from tests.postgres import running_postgres, system_binaries\n"
        "with running_postgres(system_binaries()) as server:\n"
        "    print(server.url, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("LISTEN news")
            process.kill()
            with pytest.raises(psycopg.OperationalError):
                list(connection.notifies(timeout=30))
