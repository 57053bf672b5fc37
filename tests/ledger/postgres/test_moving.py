"""The move of a ledger's file into a database: all or nothing, and only one of both takes paid requests."""

import json
import platform
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from tests.clock import EPOCH
from tests.ledger.processes import go_on, other_process, word
from tests.ledger.rows import (
    API,
    HOUR,
    claimed,
    intent,
    lose,
    make,
    make_and_close,
    opened,
    owned,
    posted,
    rules,
    shared,
    task,
)
from tests.postgres import Postgres
from tests.world import KEY, World
from wan_mcp.errors import LedgerError
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.ledger import Saved
from wan_mcp.ledger.moving import TABLES, Moved, move
from wan_mcp.ledger.postgres import schema as postgres_schema
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME

pytestmark = pytest.mark.anyio

ODD = "\t\\N\n\\. 'a' \"b\" 🐈 é\u2028"


def moved(folder: Path, url: str) -> Moved:
    return move(folder, SecretStr(url))


async def fill(folder: Path) -> None:
    """A ledger with something of everything."""
    async with owned(folder) as ledger:
        await make(ledger, "cat", status="completed", results=["https://videos.example.com/cat.mp4"])
        await ledger.mark_saved("task-unified-cat", Saved("/videos/cat.mp4", 5, "ab", seconds=5.0))
        await make(ledger, "removed")
        await lose(ledger, "dog", EPOCH + 0.1)
        await ledger.observe(task("elsewhere"), EPOCH)
        await ledger.record_upload("digest", "https://files.example.com/cat.png", EPOCH + HOUR)
        await ledger.learn_key_use("honoured")
        last = await make(ledger, "last", estimate=0.1 + 0.2)
    async with shared(folder) as all_owners:
        await all_owners.remove([last])
    with opened(folder) as database:
        database.execute("UPDATE entries SET prompt = ?, took = 1e-7 WHERE number = 1", (ODD,))


def rows_of_file(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row, by its table."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        database.row_factory = sqlite3.Row
        return {
            name: [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY 1")]
            for name in TABLES
        }


def rows_of_database(url: str) -> dict[str, list[dict[str, Any]]]:
    """The same of a database; without tables, no rows."""
    with psycopg.connect(url, row_factory=dict_row) as database:
        found = {}
        for name in TABLES:
            row = database.execute("SELECT to_regclass(%s) IS NULL AS absent", (name,)).fetchone()
            absent = row is not None and row["absent"]
            query = f"SELECT * FROM {name} ORDER BY 1"
            found[name] = [] if absent else database.execute(query.encode()).fetchall()
        return found


NOTHING: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}


def on_this_machine(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of a file as they are in a database, which several machines share."""
    entries = [row | {"machine": platform.node()} for row in rows["entries"]]
    for row in entries:
        row["saved"] = row["saved"] and json.loads(row["saved"]) | {"machine": platform.node()}
    return rows | {"entries": entries}


def readable(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    entries = [row | {"saved": row["saved"] and json.loads(row["saved"])} for row in rows["entries"]]
    return rows | {"entries": entries}


async def refusal_of(folder: Path) -> str:
    """What the ledger in a folder says instead of letting something be sent; empty where it lets it."""
    async with shared(folder) as ledger:
        try:
            await ledger.check()
        except LedgerError as error:
            return f"{error.message} {error.next_step}"
        return ""


def test_both_schemas_have_the_same_columns(tmp_path: Path, database_url: str) -> None:
    """Else a move would lose something, or fail."""
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as file:
        schema.migrate(file)
        in_file = {name: {row[1] for row in file.execute(f"PRAGMA table_info({name})")} for name in TABLES}
        tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - {
            "sqlite_sequence"
        }
    with psycopg.connect(database_url, row_factory=dict_row) as database:
        postgres_schema.migrate(database)
        found = database.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
    in_database = {
        name: {row["column_name"] for row in found if row["table_name"] == name} for name in TABLES
    }
    assert in_database == in_file
    assert tables == {*TABLES, "meta"}


async def test_everything_is_moved_and_said(tmp_path: Path, database_url: str) -> None:
    """Each value; requests and saved files become those of this machine, and numbers are not used again."""
    await fill(tmp_path)
    before = rows_of_file(tmp_path)
    done = moved(tmp_path, database_url)
    assert rows_of_file(tmp_path) == before
    assert readable(rows_of_database(database_url)) == on_this_machine(before)
    assert (done.rows, done.now) == ({"entries": 4, "uploads": 1, "gateways": 1}, True)
    async with shared(database_url) as ledger:
        owner = ledger.for_owner(API, "me")
        found = await owner.find("task-unified-cat")
        assert found is not None
        assert found.saved == Saved("/videos/cat.mp4", 5, "ab", seconds=5.0, machine=platform.node())
        assert (await owner.key_use(), await owner.find_upload("digest", EPOCH - HOUR)) == (
            "honoured",
            "https://files.example.com/cat.png",
        )
        assert (await claimed(owner, "new")).number == 6


async def test_a_request_is_recognised_after_the_move(tmp_path: Path, database_url: str) -> None:
    """The same key and request give the task that was paid before, and nothing is paid."""
    world = World(tmp_path)
    request = GenerationRequest(
        prompt="The cat yawns.", image_urls=["https://pictures.example.com/cat.png"], duration=5
    )
    async with world.service() as service:
        first = await service.generate(request)
    moved(tmp_path / "data", database_url)
    async with world.service(WAN_MCP_DATABASE_URL=database_url) as service:
        again = await service.generate(request)
    assert (again.task.id, len(world.records.paid)) == (first.task.id, 1)
    async with world.service() as service:
        with pytest.raises(LedgerError, match=r"was moved to .* Nothing was sent\."):
            await service.generate(request.model_copy(update={"prompt": "It sleeps."}))
    assert len(world.records.paid) == 1


async def test_a_server_that_has_the_file_open_stops_paying_and_goes_on_reading(
    tmp_path: Path, database_url: str
) -> None:
    """Also a request that it has claimed, but not sent, is not sent."""
    async with owned(tmp_path) as ledger:
        await make(ledger)
        entry = await claimed(ledger, "dog")
        with opened(tmp_path) as database:  # it was stopped for so long that it counts as dead
            database.execute("UPDATE entries SET holder = 'dead.lock' WHERE number = ?", (entry.number,))
        done = moved(tmp_path, database_url)
        for attempt in (
            lambda: ledger.claim(intent(), rules()),
            lambda: posted(ledger, "dog"),
            lambda: ledger.take_over(entry.number),
        ):
            with pytest.raises(LedgerError) as refusal:
                await attempt()
            assert refusal.value.message == (
                f"This ledger was moved to the PostgreSQL database {done.place}. Nothing was sent."
            )
        assert await ledger.find("task-unified-cat") is not None


async def test_what_a_dead_program_had_sent_is_taken_up_with_the_same_key(
    tmp_path: Path, database_url: str
) -> None:
    """Its answer may still come."""
    with other_process("post", "cat", tmp_path) as process:
        go_on(process)
        assert word(process) == "fresh"
    moved(tmp_path, database_url)
    (row,) = rows_of_file(tmp_path)["entries"]
    async with shared(database_url) as ledger:
        assert await ledger.abandoned(API) == [(row["owner"], 1)]
        entry = await ledger.for_digest(API, row["owner"]).take_over(1)
    assert entry is not None
    assert entry.idempotency_key == row["idempotency_key"]


async def test_texts_that_postgresql_does_not_take_are_moved_without_what_it_refuses(
    tmp_path: Path, database_url: str
) -> None:
    """Zero characters, and bytes that are no characters: the row counts, so it is not lost."""
    await make_and_close(tmp_path)
    with opened(tmp_path) as database:
        database.execute("UPDATE entries SET prompt = 'a' || char(0) || 'b' WHERE number = 1")
        database.execute("UPDATE entries SET prompt = CAST(x'61eda08062' AS TEXT) WHERE number = 2")
        database.execute("UPDATE entries SET saved = 'damaged' WHERE number = 3")
    moved(tmp_path, database_url)
    first, second, third, *_ = rows_of_database(database_url)["entries"]
    assert first["prompt"] == "a\ufffdb"
    assert second["prompt"] == "a\ufffd\ufffd\ufffdb"
    assert third["saved"] == "damaged"


async def test_a_move_that_was_made_is_not_made_again(
    tmp_path: Path, postgres: Postgres, database_url: str
) -> None:
    """To the same database it changes nothing there; to another one it is refused."""
    await fill(tmp_path)
    first = moved(tmp_path, database_url)
    async with shared(database_url) as ledger:
        await make(ledger.for_owner(API, "me"), "new")
        assert moved(tmp_path, database_url) == replace(first, now=False)
    assert len(rows_of_database(database_url)["entries"]) == 5
    with postgres.database() as other:
        with pytest.raises(LedgerError, match=r"was moved to .* before\. Nothing was moved\."):
            moved(tmp_path, other)
        assert rows_of_database(other) == NOTHING


async def _empty(folder: Path, url: str) -> None:
    (folder / FILE_NAME).unlink()


async def _newer_file(folder: Path, url: str) -> None:
    with opened(folder) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")


async def _newer_database(folder: Path, url: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as database:
        postgres_schema.migrate(database)
        database.execute("UPDATE ledger_schema SET version = version + 1")


async def _foreign_database(folder: Path, url: str) -> None:
    with psycopg.connect(url) as database:
        database.execute("CREATE TABLE entries (name TEXT)")


async def _used_database(folder: Path, url: str) -> None:
    async with shared(url) as ledger:
        await ledger.for_owner(API, "me").learn_key_use("ignored")


async def _changing_database(folder: Path, url: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as database:
        postgres_schema.migrate(database)
        database.execute(
            "CREATE FUNCTION shorten() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.took = round(NEW.took); RETURN NEW; END $$"
        )
        database.execute(
            "CREATE TRIGGER shorten BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION shorten()"
        )


async def _losing_database(folder: Path, url: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as database:
        postgres_schema.migrate(database)
        database.execute(
            "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
        )
        database.execute("CREATE TRIGGER lose BEFORE INSERT ON uploads FOR EACH ROW EXECUTE FUNCTION lose()")


@pytest.mark.parametrize(
    ("spoil", "says", "advises"),
    [
        (_empty, "There is no ledger", "WAN_MCP_DATA_DIR"),
        (_newer_file, "newer wan-mcp", "Update wan-mcp"),
        (_newer_database, "newer wan-mcp", "Update wan-mcp"),
        (_foreign_database, "another program", "WAN_MCP_DATABASE_URL"),
        (_used_database, "has a ledger already", "empty database"),
        (_changing_database, "did not keep the table entries", "without triggers"),
        (_losing_database, "did not keep the table uploads", "without triggers"),
    ],
)
async def test_what_cannot_be_moved_stays_where_it_is(
    tmp_path: Path,
    database_url: str,
    spoil: Callable[[Path, str], Any],
    says: str,
    advises: str,
) -> None:
    """Neither side is changed, the file takes paid requests as before, and the error says what to do."""
    await fill(tmp_path)
    await spoil(tmp_path, database_url)
    before = rows_of_file(tmp_path) if spoil is not _empty else NOTHING
    with pytest.raises(LedgerError, match=says) as refusal:
        moved(tmp_path, database_url)
    assert advises in refusal.value.next_step
    if spoil not in (_empty, _newer_file):
        assert await refusal_of(tmp_path) == ""
        assert rows_of_file(tmp_path) == before
    if spoil in (_changing_database, _losing_database):
        assert rows_of_database(database_url) == NOTHING


async def test_a_server_that_works_on_a_request_stops_the_move(tmp_path: Path, database_url: str) -> None:
    """It may be about to pay."""
    async with owned(tmp_path) as ledger:
        entry = await claimed(ledger)
        with pytest.raises(LedgerError, match=rf"works on request #{entry.number} .* Nothing was moved"):
            moved(tmp_path, database_url)
        await ledger.mark_answered((await posted(ledger, "dog")).number, task("dog"), EPOCH)
        await ledger.release(entry.number)
        assert moved(tmp_path, database_url).now


async def test_a_server_that_uses_the_database_stops_the_move(tmp_path: Path, database_url: str) -> None:
    """It knows the owners by another salt."""
    await make_and_close(tmp_path)
    async with shared(database_url) as ledger:
        await ledger.open()
        with pytest.raises(LedgerError, match="A server uses the database already"):
            moved(tmp_path, database_url)
    assert moved(tmp_path, database_url).now


async def test_a_file_that_is_being_written_is_not_moved(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is locked meanwhile, so that nothing is written that the database does not get."""
    await make_and_close(tmp_path)
    monkeypatch.setattr("wan_mcp.ledger.sqlite.database.BUSY_SECONDS", 0)
    with opened(tmp_path) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="database is locked"):
            moved(tmp_path, database_url)
    assert rows_of_database(database_url) == NOTHING


async def test_a_database_that_is_away_is_said_without_the_password(tmp_path: Path) -> None:
    """Nothing was moved, and the file is used as before."""
    await make_and_close(tmp_path)
    with pytest.raises(LedgerError, match="cannot be used") as refusal:
        moved(tmp_path, f"postgresql://me:{KEY}@127.0.0.1:1/wan")
    assert KEY not in f"{refusal.value.message} {refusal.value.next_step}"
    assert "Try again" in refusal.value.next_step
    assert await refusal_of(tmp_path) == ""


async def test_a_database_of_another_encoding_is_refused(tmp_path: Path, database_url: str) -> None:
    """It cannot keep every prompt."""
    await fill(tmp_path)
    with closing(psycopg.connect(database_url, autocommit=True)) as database:
        database.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
        with pytest.raises(LedgerError, match="has the encoding LATIN1"):
            moved(tmp_path, psycopg.conninfo.make_conninfo(database_url, dbname="latin"))
        database.execute("DROP DATABASE latin")
    assert await refusal_of(tmp_path) == ""


async def test_a_database_that_goes_away_at_the_end_leaves_only_one_ledger(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was written is not known, so the file takes no paid requests until the move is repeated."""
    await fill(tmp_path)
    before = rows_of_file(tmp_path)
    commit = psycopg.Connection.commit

    def lose_connection(self: psycopg.Connection[Any]) -> None:
        with closing(psycopg.connect(database_url, autocommit=True)) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (self.info.backend_pid,))
        commit(self)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "commit", lose_connection)
        with pytest.raises(LedgerError, match="cannot be used"):
            moved(tmp_path, database_url)
    refusal = await refusal_of(tmp_path)
    assert "is being moved to the PostgreSQL database" in refusal
    assert "Nothing was sent. Run wan-mcp ledger move again if it was interrupted." in refusal
    assert moved(tmp_path, database_url).now
    assert readable(rows_of_database(database_url)) == on_this_machine(before)


KILLED = """
import os, signal, sys
from pathlib import Path

import psycopg
from pydantic import SecretStr

from wan_mcp.ledger import moving

folder, url, moment = sys.argv[1:]
commit, write_row, written = psycopg.Connection.commit, psycopg.Copy.write_row, []

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after_two(copy, row):
    written.append(write_row(copy, row))
    if len(written) == 2:
        die()

def die_after_commit(connection):
    commit(connection)
    die()

if moment == "copying":
    psycopg.Copy.write_row = die_after_two
elif moment == "marked":
    psycopg.Connection.commit = die
elif moment == "written":
    psycopg.Connection.commit = die_after_commit
moving.move(Path(folder), SecretStr(url))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signal")
@pytest.mark.parametrize("moment", ["copying", "marked", "written"])
def test_a_move_that_is_killed_is_completed_by_the_next(
    tmp_path: Path, database_url: str, moment: str
) -> None:
    """Meanwhile the database has all or nothing, and never do both take paid requests."""
    anyio.run(fill, tmp_path)
    before = rows_of_file(tmp_path)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), database_url, moment], check=False, timeout=60
    )
    assert process.returncode == -signal.SIGKILL
    there = readable(rows_of_database(database_url))
    assert there == (on_this_machine(before) if moment == "written" else NOTHING)
    assert (anyio.run(refusal_of, tmp_path) == "") == (moment == "copying")
    done = moved(tmp_path, database_url)
    assert (done.rows["entries"], done.now) == (4, moment != "written")
    assert readable(rows_of_database(database_url)) == on_this_machine(before)
    assert rows_of_file(tmp_path) == before
    assert "was moved to" in anyio.run(refusal_of, tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file, psycopg.connect(database_url) as database:
        salt = "SELECT value FROM meta WHERE name = 'salt'"
        assert database.execute(salt).fetchone() == file.execute(salt).fetchone()
