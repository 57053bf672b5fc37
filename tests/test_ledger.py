"""The ledger by itself: its file, its rows, who may do what about a wish, and what a day may cost."""

import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import EPOCH, KEY
from wan_mcp.errors import CapReached, LedgerError
from wan_mcp.evolink import Task
from wan_mcp.ledger import Claim, Entry, Intent, Terms, fingerprint
from wan_mcp.ledger.fingerprint import DEFAULTS
from wan_mcp.ledger.lease import LEASE
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

pytestmark = pytest.mark.anyio
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the rights of files are other ones there")
DAY, HOUR = 86_400.0, 3_600.0
BODY = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}


def intent(name: str = "cat", owner: str = "me", estimate: float = 25.5) -> Intent:
    return Intent(owner, f"print of {name}", f"A {name} yawns.", 5, "720p", estimate)


def terms(now: float = EPOCH, **rules: Any) -> Terms:
    return Terms(now, **({"repeat_seconds": HOUR} | rules))


def task(name: str = "cat", status: Any = "pending", **facts: Any) -> Task:
    return Task(id=f"task-unified-{name}", status=status, **facts)


@pytest.fixture
async def ledger(tmp_path: Path) -> Any:
    ledger = SqliteLedger(tmp_path / "data")
    yield ledger
    await ledger.aclose()


async def make(
    ledger: SqliteLedger, name: str = "cat", now: float = EPOCH, owner: str = "me", **facts: Any
) -> Entry:
    """A wish that was paid for and has its task."""
    claim = await ledger.claim(intent(name, owner), terms(now))
    assert claim.kind == "fresh"
    await ledger.posting(claim.entry.number, BODY, now)
    return await ledger.answered(claim.entry.number, task(name, **facts), now)


async def lose(ledger: SqliteLedger, name: str = "cat", now: float = EPOCH) -> Entry:
    """A wish that was sent, and whose answer never came."""
    claim = await ledger.claim(intent(name), terms(now))
    entry = await ledger.posting(claim.entry.number, BODY, now)
    await ledger.released(entry.number, sent=True)
    return entry


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file as any other program sees it."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
        yield database


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The file.


@POSIX
async def test_folder_and_files_are_private(tmp_path: Path) -> None:
    """Nobody else on the machine can read what was wished for."""
    folder = tmp_path / "a" / "data"
    ledger = SqliteLedger(folder)
    await make(ledger)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    await ledger.aclose()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(modes) >= {FILE_NAME, f"{FILE_NAME}-wal"}
    assert set(modes.values()) == {0o600}


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    """A ledger that nobody asked is no file."""
    anyio.run(SqliteLedger(tmp_path / "data").aclose)
    assert list(tmp_path.iterdir()) == []


def _newer(path: Path) -> None:
    anyio.run(make_and_close, path.parent)
    with opened(path.parent) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE recipes (name TEXT)")


def _foreign_of_our_version(path: Path) -> None:
    _foreign(path)
    with opened(path.parent) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION}")


def _without_a_header(path: Path) -> None:
    anyio.run(make_and_close, path.parent)
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])


def _with_torn_pages(path: Path) -> None:
    anyio.run(make_and_close, path.parent)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def _text(path: Path) -> None:
    path.write_text("My diary. " * 200)


def _short_text(path: Path) -> None:
    path.write_text("My diary.")


async def make_and_close(folder: Path) -> None:
    ledger = SqliteLedger(folder)
    for number in range(20):
        await make(ledger, f"cat{number}")
    await ledger.aclose()


@pytest.mark.parametrize(
    ("spoil", "says", "advises"),
    [
        (_newer, "newer wan-mcp", "Update wan-mcp"),
        (_foreign, "another program", "WAN_MCP_DATA_DIR"),
        (_foreign_of_our_version, "another program", "WAN_MCP_DATA_DIR"),
        (_without_a_header, "cannot be used", "Move the file away"),
        (_with_torn_pages, "cannot be used", "Move the file away"),
        (_text, "cannot be used", "Move the file away"),
        (_short_text, "cannot be used", "Move the file away"),
    ],
)
def test_a_file_that_is_no_usable_ledger_is_refused_and_left_alone(
    tmp_path: Path, spoil: Any, says: str, advises: str
) -> None:
    """Neither overwritten nor mended, and the error says what to do."""
    spoil(tmp_path / FILE_NAME)
    before = contents(tmp_path)

    async def ask() -> None:
        ledger = SqliteLedger(tmp_path)
        with pytest.raises(LedgerError, match=says) as raised:
            await ledger.claim(intent(), terms())
        await ledger.aclose()
        assert advises in raised.value.next_step

    anyio.run(ask)
    anyio.run(ask)
    assert contents(tmp_path) == before


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The paid call is what fails, with the name of the setting."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LedgerError, match="cannot be opened") as raised:
        await SqliteLedger(tmp_path / "file" / "data").claim(intent(), terms())
    assert "WAN_MCP_DATA_DIR" in raised.value.next_step


@POSIX
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("locked", ["folder", "file"])
async def test_what_is_read_only_is_refused(tmp_path: Path, locked: str) -> None:
    """A folder or a file without the right to write stops the paid call."""
    await make_and_close(tmp_path)
    path = tmp_path if locked == "folder" else tmp_path / FILE_NAME
    path.chmod(0o500)
    try:
        ledger = SqliteLedger(tmp_path)
        with pytest.raises(LedgerError, match="cannot be") as raised:
            await ledger.claim(intent(), terms())
        await ledger.aclose()
    finally:
        path.chmod(0o700)
    assert "WAN_MCP_DATA_DIR" in raised.value.next_step


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@POSIX
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_full_disk_is_refused_and_forgotten_when_there_is_room(tmp_path: Path, is_open: bool) -> None:
    """The intent cannot be written, the rows are as they were, and later all is well."""
    await make_and_close(tmp_path)
    ledger = SqliteLedger(tmp_path)
    if is_open:
        assert len(await ledger.entries("me")) == 20
    before = (tmp_path / FILE_NAME).read_bytes()
    with full_disk(), pytest.raises(LedgerError) as raised:
        await ledger.claim(intent(), terms())
    assert "disk has room" in raised.value.next_step
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert (await ledger.claim(intent(), terms())).kind == "fresh"
    await ledger.aclose()


# Migrations.

FIRST_COLUMNS: dict[str, object] = {
    "owner": "me",
    "fingerprint": "print of cat",
    "idempotency_key": "wan-mcp-0123456789abcdef",
    "asked_at": EPOCH,
    "posted_at": EPOCH + 1,
    "reposted_at": EPOCH + 2,
    "body": '{"prompt": "The cat yawns."}',
    "prompt": "The cat yawns.",
    "duration": 10,
    "quality": "480p",
    "estimate": 25.5,
    "adopted": 1,
    "task_id": "task-unified-cat",
    "status": "completed",
    "task": task(status="completed").model_dump_json(),
    "cost": 25.5,
    "known_at": EPOCH + 3,
    "completed_at": EPOCH + 4,
}
SALT = bytes(range(32))


def build(folder: Path, version: int) -> None:
    """A ledger as that version of the schema left it, with a row in it."""
    with opened(folder) as database:
        for step in schema.STEPS[:version]:
            for statement in step:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {version}")
        if version:
            database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            database.execute("INSERT INTO meta VALUES ('salt', ?)", (SALT,))
            names, marks = ", ".join(FIRST_COLUMNS), ", ".join("?" * len(FIRST_COLUMNS))
            database.execute(f"INSERT INTO entries ({names}) VALUES ({marks})", tuple(FIRST_COLUMNS.values()))


@pytest.mark.parametrize("version", range(1, schema.VERSION))
async def test_the_rows_of_every_older_schema_survive(tmp_path: Path, version: int) -> None:
    """What an earlier release wrote is read by this one, and can be gone on with."""
    build(tmp_path, version)
    ledger = SqliteLedger(tmp_path)
    [entry] = await ledger.entries("me")
    assert entry == Entry(
        number=1,
        owner="me",
        fingerprint="print of cat",
        idempotency_key="wan-mcp-0123456789abcdef",
        asked_at=EPOCH,
        posted_at=EPOCH + 1,
        reposted_at=EPOCH + 2,
        body={"prompt": "The cat yawns."},
        prompt="The cat yawns.",
        duration=10,
        quality="480p",
        estimate=25.5,
        adopted=True,
        task=task(status="completed"),
        known_at=EPOCH + 3,
        completed_at=EPOCH + 4,
        saved=None,
    )
    assert (await ledger.claim(intent(), terms(EPOCH + 60))).kind == "repeat"
    await make(ledger, "dog")
    await ledger.aclose()
    with opened(tmp_path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone() == (SALT,)


async def test_an_older_ledger_gets_the_same_shape_as_a_new_one(tmp_path: Path) -> None:
    """Whichever version a file comes from, its tables are those of a fresh one."""
    shapes = []
    for version in range(schema.VERSION + 1):
        folder = tmp_path / str(version)
        folder.mkdir()
        build(folder, version)
        ledger = SqliteLedger(folder)
        await ledger.entries("me")
        await ledger.aclose()
        with opened(folder) as database:
            shapes.append(set(database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")))
    assert all(shape == shapes[0] for shape in shapes)


async def test_a_later_step_finds_the_rows_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame for the next version: one more step is climbed, once, and the rows are there."""
    await make_and_close(tmp_path)
    step = ("ALTER TABLE entries ADD COLUMN mood TEXT DEFAULT 'calm'",)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    for _ in range(2):
        ledger = SqliteLedger(tmp_path)
        assert len(await ledger.entries("me")) == 20
        await ledger.aclose()
    with opened(tmp_path) as database:
        assert database.execute("SELECT DISTINCT mood FROM entries").fetchall() == [("calm",)]


async def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a migration is none: the file stays as it was, for the version that wrote it."""
    await make_and_close(tmp_path)
    before = contents(tmp_path)
    step = (
        "ALTER TABLE entries ADD COLUMN mood TEXT",
        "DELETE FROM entries",
        "INSERT INTO nowhere VALUES (1)",
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, step))
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(LedgerError, match="nowhere"):
            await SqliteLedger(tmp_path).entries("me")
    assert contents(tmp_path) == before


# Several processes.

PROGRAM = """
import os, sys
from pathlib import Path

import anyio

from wan_mcp.ledger import Intent, Terms
from wan_mcp.ledger.sqlite.store import SqliteLedger


async def main():
    do, name, now, *folders = sys.argv[1:]
    intent, terms = Intent("me", "print of " + name, name, 5, "720p", 25.5), Terms(float(now), 3600)
    print("ready", flush=True)
    sys.stdin.readline()
    for folder in folders:
        ledger = SqliteLedger(Path(folder))
        claim = await ledger.claim(intent, terms)
        if do == "post":
            await ledger.posting(claim.entry.number, {"prompt": "a"}, terms.now)
    print(claim.kind, flush=True)
    if do != "open":
        sys.stdin.readline()
        os._exit(0)  # as one that is killed: nothing is given up


anyio.run(main)
"""


@contextmanager
def other_process(do: str, name: str, *folders: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready to claim a wish when it gets a line, and ends with the next one."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, do, name, str(EPOCH), *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def word(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def test_processes_that_open_a_fresh_file_at_once_share_it(tmp_path: Path) -> None:
    """Each of many new ledgers is made once, and no process is refused or loses its row."""
    folders = [tmp_path / str(number) for number in range(30)]
    names = ("cat", "dog", "cow")
    with (
        other_process("open", names[0], *folders) as one,
        other_process("open", names[1], *folders) as two,
        other_process("open", names[2], *folders) as three,
    ):
        for process in (one, two, three):
            go_on(process)
        assert [word(process) for process in (one, two, three)] == ["fresh"] * 3
    for folder in folders:
        with opened(folder) as database:
            prompts = {prompt for (prompt,) in database.execute("SELECT prompt FROM entries")}
        assert prompts == set(names)


async def test_a_fresh_file_that_another_process_is_at_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite itself does not wait, the ledger does, and goes on when the other one is done."""
    build(tmp_path, schema.VERSION)
    ledger = SqliteLedger(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("wan_mcp.ledger.sqlite.store.time.sleep", lambda seconds: other.rollback())
        assert len(await ledger.entries("me")) == 1
    await ledger.aclose()


async def test_a_process_that_is_at_it_is_waited_for_and_a_dead_one_is_not(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    """While the other one lives the wish is busy; when it is dead, its request is gone on with."""
    with other_process("post", "cat", tmp_path / "data") as process:
        go_on(process)
        assert word(process) == "fresh"
        claim = await ledger.claim(intent(), terms())
        assert claim.kind == "busy"
        go_on(process)
        process.wait()
    claim = await ledger.claim(intent(), terms(), waited_for=claim.entry.number)
    assert claim.kind == "resume"
    assert claim.entry.body == {"prompt": "a"}


async def test_a_process_that_died_before_it_sent_anything_leaves_nothing(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    """Its claim is judged anew: it is asked for now, and the cap of now counts."""
    with other_process("claim", "cat", tmp_path / "data") as process:
        go_on(process)
        assert word(process) == "fresh"
        go_on(process)
        process.wait()
    with pytest.raises(CapReached):
        await ledger.claim(intent(), terms(EPOCH + HOUR, daily_credits=1))
    claim = await ledger.claim(intent(), terms(EPOCH + HOUR))
    assert claim.kind == "fresh"
    assert claim.entry.asked_at == EPOCH + HOUR


HERE, PID = platform.node(), os.getpid()


@pytest.mark.parametrize(
    ("holder", "after", "kind"),
    [
        (f"{HERE}|{PID}|0123456789abcdef", 1, "resume"),
        (f"{HERE}|{2**22 + 1}|0123456789abcdef", 1, "resume"),
        (f"elsewhere|{2**22 + 1}|0123456789abcdef", 1, "busy"),
        ("else|where|1|0123456789abcdef", LEASE, "busy"),
        ("elsewhere|1|0123456789abcdef", LEASE + 1, "resume"),
        (f"{HERE}|{os.getppid()}|0123456789abcdef", LEASE, "busy"),
        (f"{HERE}|{os.getppid()}|0123456789abcdef", LEASE + 1, "resume"),
        (None, 1, "resume"),
    ],
    ids=[
        *("an earlier process of this number", "a dead process", "another machine", "a strange machine"),
        *("another machine too long ago", "a living process", "a living one too long ago", "nobody"),
    ],
)
@POSIX
async def test_who_holds_a_wish_decides_who_may_go_on(
    ledger: SqliteLedger, tmp_path: Path, holder: str | None, after: float, kind: str
) -> None:
    """An earlier process of our id and a dead one are gone; another machine or a living one has its time."""
    claim = await ledger.claim(intent(), terms())
    await ledger.posting(claim.entry.number, BODY, EPOCH)
    with opened(tmp_path / "data") as database:
        database.execute("UPDATE entries SET holder = ?", (holder,))
    assert (await ledger.claim(intent(), terms(EPOCH + after))).kind == kind


async def test_a_wish_that_we_are_at_is_busy_until_it_takes_too_long(ledger: SqliteLedger) -> None:
    """The time counts from the last sending, so that a slow one is not overtaken."""
    claim = await ledger.claim(intent(), terms())
    assert (await ledger.claim(intent(), terms(EPOCH + LEASE))).kind == "busy"
    await ledger.posting(claim.entry.number, BODY, EPOCH + LEASE)
    assert (await ledger.claim(intent(), terms(EPOCH + 2 * LEASE))).kind == "busy"
    assert (await ledger.claim(intent(), terms(EPOCH + 2 * LEASE + 1))).kind == "resume"


async def test_whoever_was_overtaken_can_no_longer_send_or_give_up(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    """A process that slept beyond its time finds that another one has its request."""
    number = (await ledger.claim(intent(), terms())).entry.number
    await ledger.posting(number, BODY, EPOCH)
    with opened(tmp_path / "data") as database:
        database.execute("UPDATE entries SET holder = 'elsewhere|1|0123456789abcdef'")
    with pytest.raises(LedgerError, match="took this request over"):
        await ledger.posting(number, BODY, EPOCH + 1)
    await ledger.released(number, sent=True)
    await ledger.released(number, sent=False)
    assert (await ledger.claim(intent(), terms())).kind == "busy"


# What is done about a wish.


async def test_a_new_wish_is_ours_and_written_down(ledger: SqliteLedger) -> None:
    """The row has all that the next process needs, under a key that the API takes."""
    claim = await ledger.claim(intent(), terms())
    assert claim == Claim(
        "fresh",
        Entry(
            number=1,
            owner="me",
            fingerprint="print of cat",
            idempotency_key=claim.entry.idempotency_key,
            asked_at=EPOCH,
            posted_at=None,
            reposted_at=None,
            body=None,
            prompt="A cat yawns.",
            duration=5,
            quality="720p",
            estimate=25.5,
            adopted=False,
            task=None,
            known_at=None,
            completed_at=None,
            saved=None,
        ),
    )
    assert re.fullmatch("[A-Za-z0-9._-]{16,96}", claim.entry.idempotency_key or "")
    other = await ledger.claim(intent("dog"), terms())
    assert other.entry.idempotency_key != claim.entry.idempotency_key


async def test_what_is_sent_is_kept_with_the_times_of_first_and_last(ledger: SqliteLedger) -> None:
    """A repeat must be byte for byte the same, and its task can be of either time."""
    claim = await ledger.claim(intent(), terms())
    first = await ledger.posting(claim.entry.number, BODY, EPOCH + 1)
    assert first == replace(claim.entry, body=BODY, posted_at=EPOCH + 1, reposted_at=EPOCH + 1)
    again = await ledger.posting(claim.entry.number, BODY, EPOCH + 9)
    assert again == replace(first, reposted_at=EPOCH + 9)


async def test_the_same_wish_has_its_task_for_as_long_as_it_repeats(ledger: SqliteLedger) -> None:
    """Within the window it is the same one, and after it a new one."""
    entry = await make(ledger)
    assert await ledger.claim(intent(), terms(EPOCH + HOUR - 1)) == Claim("repeat", entry)
    assert (await ledger.claim(intent("dog"), terms(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(owner="you"), terms(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(), terms(EPOCH + HOUR))).kind == "fresh"


async def test_a_request_gone_on_with_repeats_from_then_on(ledger: SqliteLedger) -> None:
    """It was lost in the morning and made in the evening: the next call of the evening is a repeat."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), terms(evening))
    assert claim.kind == "resume"
    await ledger.posting(claim.entry.number, BODY, evening)
    await ledger.answered(claim.entry.number, task(), evening)
    assert (await ledger.claim(intent(), terms(evening + HOUR - 1))).kind == "repeat"
    assert (await ledger.claim(intent(), terms(evening + HOUR))).kind == "fresh"


async def test_an_adopted_task_repeats_from_its_adoption_on(ledger: SqliteLedger) -> None:
    """Nothing was sent in the evening, but it was asked for, and its task was found."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), terms(evening))
    await ledger.answered(claim.entry.number, task(), evening, adopted=True)
    assert (await ledger.claim(intent(), terms(evening + HOUR - 1))).kind == "repeat"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_is_no_repeat(ledger: SqliteLedger, status: str) -> None:
    """A wish that failed may be wished again."""
    await make(ledger, status=status)
    assert (await ledger.claim(intent(), terms(EPOCH + 1))).kind == "fresh"


async def test_a_new_take_is_another_row_unless_one_is_unanswered(ledger: SqliteLedger) -> None:
    """A client that repeats a broken call repeats that argument, too."""
    await make(ledger)
    take = terms(EPOCH + 60, new_take=True)
    claim = await ledger.claim(intent(), take)
    assert claim.kind == "fresh"
    assert (await ledger.claim(intent(), take)).kind == "busy"
    await ledger.posting(claim.entry.number, BODY, EPOCH + 60)
    await ledger.released(claim.entry.number, sent=True)
    again = await ledger.claim(intent(), take)
    assert (again.kind, again.entry.number) == ("resume", claim.entry.number)


async def test_an_unanswered_request_is_gone_on_with_for_23_hours(ledger: SqliteLedger) -> None:
    """After that the key means nothing any more, and the wish is a new one."""
    await lose(ledger)
    claim = await ledger.claim(intent(), terms(EPOCH + 23 * HOUR - 1))
    assert claim.kind == "resume"
    assert (await ledger.claim(intent(), terms(EPOCH + 23 * HOUR + 1))).kind == "busy"
    await ledger.released(claim.entry.number, sent=True)
    assert (await ledger.claim(intent(), terms(EPOCH + 24 * HOUR))).kind == "fresh"


async def test_whoever_waited_gets_what_came_of_it(ledger: SqliteLedger) -> None:
    """The task, even one that has failed; or that nothing is known; or the turn, if it was given up."""
    first = await ledger.claim(intent(), terms())
    number = first.entry.number
    assert (await ledger.claim(intent(), terms(), waited_for=number)).kind == "busy"
    await ledger.posting(number, BODY, EPOCH)
    await ledger.released(number, sent=True)
    assert (await ledger.claim(intent(), terms(), waited_for=number)).kind == "unknown"
    assert (await ledger.claim(intent(), terms())).kind == "resume"
    entry = await ledger.answered(number, task(status="failed"), EPOCH)
    assert await ledger.claim(intent(), terms(), waited_for=number) == Claim("repeat", entry)
    second = await ledger.claim(intent(), terms())
    await ledger.released(second.entry.number, sent=False)
    assert (await ledger.claim(intent(), terms(), waited_for=second.entry.number)).kind == "fresh"


# Rows.


async def test_a_row_without_an_answer_is_unknown_and_one_never_sent_is_gone(ledger: SqliteLedger) -> None:
    """What may have been sent is kept, what surely was not leaves no trace."""
    lost = await lose(ledger)
    claim = await ledger.claim(intent("dog"), terms())
    await ledger.released(claim.entry.number, sent=False)
    assert await ledger.entries("me") == await ledger.unanswered("me") == [lost]
    assert await ledger.entries("me", status="unknown") == [lost]
    assert lost.status == "unknown"


async def test_the_answer_stays_when_the_claim_is_given_up_after_it(ledger: SqliteLedger) -> None:
    """Whatever happens after the task is recorded, it is not lost again."""
    entry = await make(ledger)
    await ledger.released(entry.number, sent=False)
    await ledger.released(entry.number, sent=True)
    assert await ledger.find("me", "task-unified-cat") == entry


async def test_the_list_is_newest_first_filtered_and_bounded(ledger: SqliteLedger) -> None:
    """By time, by status, by owner, and no more than asked for."""
    cat = await make(ledger, "cat", EPOCH, status="completed")
    dog = await make(ledger, "dog", EPOCH + 1)
    cow = await lose(ledger, "cow", EPOCH + 2)
    bee = await make(ledger, "bee", EPOCH + 3, owner="you")
    await ledger.claim(intent("ape"), terms(EPOCH + 4))
    assert await ledger.entries("me") == [cow, dog, cat]
    assert await ledger.entries("me", limit=2) == [cow, dog]
    assert await ledger.entries("me", status="completed") == [cat]
    assert await ledger.entries("me", status="unknown") == [cow]
    assert await ledger.entries(None) == [bee, cow, dog, cat]
    assert await ledger.find("you", "task-unified-cat") is None
    names = [f"task-unified-{name}" for name in ("cat", "bee", "else")]
    assert await ledger.claimed_ids(names) == {"task-unified-cat", "task-unified-bee"}
    assert await ledger.claimed_ids([]) == set()


async def test_a_task_is_kept_current(ledger: SqliteLedger) -> None:
    """Status, results and credits follow what was read; its first completion is remembered."""
    entry = await make(ledger, credits_reserved=25.5)
    done = task(status="completed", results=("https://a/b.mp4",), credits_used=20.0)
    seen = await ledger.observed("me", done, EPOCH + 60)
    assert seen == replace(entry, task=done, known_at=EPOCH + 60, completed_at=EPOCH + 60)
    assert seen.cost == 20.0
    later = await ledger.observed("me", done, EPOCH + 600)
    assert (later.completed_at, later.known_at) == (EPOCH + 60, EPOCH + 600)


async def test_an_old_state_does_not_come_back(ledger: SqliteLedger) -> None:
    """Two reads can overtake one another: what is over stays over."""
    await make(ledger)
    done = await ledger.observed("me", task(status="completed", results=("https://a/b.mp4",)), EPOCH + 60)
    assert await ledger.observed("me", task(status="processing"), EPOCH + 61) == done


async def test_progress_alone_is_not_written_at_once(ledger: SqliteLedger) -> None:
    """A task that is watched closely does not wear the disk; its time is refreshed after a while."""
    entry = await make(ledger)
    assert await ledger.observed("me", task(progress=7), EPOCH + 5) == entry
    assert (await ledger.observed("me", task(progress=9), EPOCH + 11)).known_at == EPOCH + 11


async def test_a_task_made_elsewhere_is_remembered_but_answers_no_wish(ledger: SqliteLedger) -> None:
    """It has a row from then on, which costs nothing of the cap and belongs to no request."""
    seen = await ledger.observed("me", task("else", created=EPOCH - 60), EPOCH)
    assert (seen.fingerprint, seen.asked_at, seen.estimate) == (None, EPOCH - 60, 0)
    assert await ledger.entries("me") == [seen]
    assert await ledger.claimed_ids(["task-unified-else"]) == set()
    assert (await ledger.claim(intent(), terms(daily_credits=25.5))).kind == "fresh"


async def test_a_lost_task_that_was_looked_at_meanwhile_becomes_its_wish(ledger: SqliteLedger) -> None:
    """The user found it by its id before the wish was asked for again: it is one row in the end."""
    lost = await lose(ledger)
    await ledger.observed("me", task(), EPOCH + 1)
    found = await ledger.answered(lost.number, task(), EPOCH + 2, adopted=True)
    assert await ledger.entries("me") == [found]
    assert (found.number, found.adopted) == (lost.number, True)


async def test_an_adoption_ends_when_the_task_is_another_wishes(ledger: SqliteLedger) -> None:
    """A guess never outweighs an answer: the row that guessed is unknown again."""
    cat = await lose(ledger, "cat")
    await ledger.answered(cat.number, task("dog"), EPOCH + 3, adopted=True)
    dog = await make(ledger, "dog", EPOCH + 4)
    assert await ledger.find("me", "task-unified-dog") == dog
    assert [entry.number for entry in await ledger.unanswered("me")] == [cat.number]
    assert (await ledger.claim(intent("cat"), terms(EPOCH + 5))).kind == "resume"


@pytest.mark.parametrize("name", ["task-unified-cat", "#1", "1"])
async def test_a_row_can_be_forgotten_by_either_name(ledger: SqliteLedger, name: str) -> None:
    """By the task's id, or by the row's number where there is no task."""
    await make(ledger)
    assert await ledger.forget(name) is True
    assert await ledger.forget(name) is False
    assert await ledger.entries(None) == []


async def test_a_row_forgotten_in_the_middle_is_an_error_of_the_ledger(ledger: SqliteLedger) -> None:
    """Whoever is at it learns of it, before and after the request is sent."""
    before = await ledger.claim(intent(), terms())
    after = await lose(ledger, "dog")
    await ledger.forget(f"#{before.entry.number}")
    await ledger.forget(f"#{after.number}")
    with pytest.raises(LedgerError):
        await ledger.posting(before.entry.number, BODY, EPOCH)
    with pytest.raises(LedgerError):
        await ledger.answered(after.number, task(), EPOCH)


async def test_the_owner_is_a_digest_of_key_and_address(ledger: SqliteLedger, tmp_path: Path) -> None:
    """The same from process to process, another for another key, address or ledger; never the key."""
    owner = await ledger.owner(KEY, "https://api.evolink.ai")
    again = SqliteLedger(tmp_path / "data")
    assert await again.owner(KEY, "https://api.evolink.ai") == owner
    assert await again.owner(KEY, "http://127.0.0.1:8787") != owner
    assert await again.owner(f"{KEY}x", "https://api.evolink.ai") != owner
    other = SqliteLedger(tmp_path / "other")
    assert await other.owner(KEY, "https://api.evolink.ai") != owner
    await again.aclose()
    await other.aclose()
    assert not any(KEY.encode() in content for content in contents(tmp_path / "data").values())


# Properties.

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
bodies = st.fixed_dictionaries(
    {"model": st.just("wan2.5-image-to-video"), "prompt": st.text(min_size=1, max_size=8)},
    optional={
        "duration": st.sampled_from([5, 10]),
        "quality": st.sampled_from(["480p", "720p", "1080p"]),
        "prompt_extend": st.booleans(),
        "callback_url": st.sampled_from(["https://a.example/b", "https://a.example/c"]),
    },
)
pictures = st.sampled_from(["picture one", "picture two"])


def meaning(body: dict[str, Any], picture: str) -> dict[str, Any]:
    return {**DEFAULTS, **body, "picture": picture}


@patient
@given(bodies, pictures, st.randoms(), st.text(max_size=5))
def test_order_defaults_and_place_of_the_picture_do_not_matter(
    body: dict[str, Any], picture: str, chance: Any, address: str
) -> None:
    """However a wish is written down, and wherever its picture is, it is the same wish."""
    items = list(({**DEFAULTS, **body, "image_urls": [address]}).items())
    chance.shuffle(items)
    assert fingerprint(dict(items), picture) == fingerprint(body, picture)


@patient
@given(bodies, pictures, bodies, pictures)
def test_two_wishes_are_the_same_only_if_all_of_them_is(
    one: dict[str, Any], one_picture: str, other: dict[str, Any], other_picture: str
) -> None:
    """Any field that differs, the picture included, makes another wish."""
    same = fingerprint(one, one_picture) == fingerprint(other, other_picture)
    assert same is (meaning(one, one_picture) == meaning(other, other_picture))


@patient
@given(bodies, pictures, st.sampled_from(["prompt", "duration", "quality", "prompt_extend", "callback_url"]))
def test_each_field_counts(body: dict[str, Any], picture: str, field: str) -> None:
    """Changing one field makes another wish."""
    others = {
        "prompt": body["prompt"] + " ",
        "duration": 15 - body.get("duration", 5),
        "quality": "480p" if body.get("quality", "720p") != "480p" else "1080p",
        "prompt_extend": not body.get("prompt_extend", True),
        "callback_url": "https://a.example/d",
    }
    assert fingerprint(body | {field: others[field]}, picture) != fingerprint(body, picture)


gaps = st.sampled_from([0.0, 0.25, 1.0, HOUR, DAY / 2, DAY - 1, DAY - 0.25, DAY]) | st.integers(
    0, 100_000
).map(lambda quarters: quarters / 4)
estimates = st.sampled_from([12.75, 25.5, 42.59, 51.0, 85.17])
outcomes = st.sampled_from(["pending", "completed", "failed", "cancelled", "lost", "refused", "used"])
histories = st.lists(st.tuples(gaps, estimates, outcomes), max_size=6)


async def live(ledger: SqliteLedger, history: list[tuple[float, float, str]]) -> tuple[float, list[Any]]:
    """Let a history happen; the time after it, and a plain account of what was spent when."""
    now, spent = EPOCH, []
    for number, (gap, estimate, outcome) in enumerate(history):
        now += gap
        claim = await ledger.claim(intent(str(number), estimate=estimate), terms(now))
        await ledger.posting(claim.entry.number, BODY, now)
        if outcome in ("lost", "refused"):
            await ledger.released(claim.entry.number, sent=outcome == "lost")
        else:
            used = {"status": "completed", "credits_used": estimate / 2}
            facts = used if outcome == "used" else {"status": outcome, "credits_reserved": estimate}
            await ledger.answered(claim.entry.number, task(str(number), **facts), now)
        cost = {"failed": 0.0, "cancelled": 0.0, "refused": 0.0, "used": estimate / 2}.get(outcome, estimate)
        spent.append((now, Fraction(str(cost))))
    return now, spent


async def is_allowed(ledger: SqliteLedger, wish: Intent, now: float, cap: float) -> str | None:
    """None if it is; else what the refusal advises. An allowed one is given up at once."""
    try:
        claim = await ledger.claim(wish, terms(now, daily_credits=cap))
    except CapReached as refusal:
        return refusal.next_step
    await ledger.released(claim.entry.number, sent=False)
    return None


async def follows_the_cap(
    folder: Path, history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    ledger, wish = SqliteLedger(folder), intent("last", estimate=estimate)
    now, spent = await live(ledger, history)
    now += gap
    total = sum(cost for moment, cost in spent if moment > now - DAY)
    advice = await is_allowed(ledger, wish, now, cap)
    assert (advice is None) is (total + Fraction(str(estimate)) <= Fraction(str(cap)))
    if advice is not None and estimate > cap:
        assert "alone is over the cap" in advice
    elif advice is not None:
        found = re.search(r"from (\S+ \S+) UTC on", advice)
        assert found is not None
        free = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        assert await is_allowed(ledger, wish, free - 1, cap) is not None
        assert await is_allowed(ledger, wish, free, cap) is None
    await ledger.aclose()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(histories, gaps, estimates, st.integers(0, 16).map(lambda parts: parts * 12.75))
@example([(0.0, 42.59, "pending"), (1.0, 42.59, "pending")], 1.0, 42.59, 127.77)
@example([(0.25, 12.75, "pending"), (0.25, 42.59, "lost"), (0.0, 85.17, "used")], 1.0, 25.5, 25.5)
@example([(0.0, 25.5, "pending")], DAY, 25.5, 25.5)
def test_the_cap_counts_what_the_last_day_cost(
    history: list[tuple[float, float, str]], gap: float, estimate: float, cap: float
) -> None:
    """As plain arithmetic says, and there is room from the very second on that a refusal names."""
    with TemporaryDirectory() as name:
        anyio.run(follows_the_cap, Path(name), history, gap, estimate, cap)


async def test_a_request_sent_again_counts_from_then_on(ledger: SqliteLedger) -> None:
    """It may be the second sending that was paid, so the day begins there."""
    await lose(ledger)
    later = EPOCH + 20 * HOUR
    claim = await ledger.claim(intent(), terms(later))
    await ledger.posting(claim.entry.number, BODY, later)
    await ledger.answered(claim.entry.number, task(credits_reserved=25.5), later)
    advice = await is_allowed(ledger, intent("dog"), EPOCH + DAY + 1, 30)
    assert advice is not None
    assert await is_allowed(ledger, intent("dog"), later + DAY - 1, 30) == advice
    assert await is_allowed(ledger, intent("dog"), later + DAY, 30) is None


async def test_a_refusal_says_the_numbers(ledger: SqliteLedger) -> None:
    """What was spent, what this would cost and as of when, the cap and its setting."""
    await make(ledger, credits_reserved=25.5)
    with pytest.raises(CapReached) as raised:
        await ledger.claim(intent("dog"), terms(EPOCH + 1, daily_credits=30))
    for fact in ("30 credits", "WAN_MCP_DAILY_CREDITS", "25.5 were spent", "estimated at 25.5", "2026-10-10"):
        assert fact in raised.value.message
    assert raised.value.charged == "no"
