"""The ledger's file: private, opened late, left alone where it is damaged or foreign."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    BODY,
    POSIX,
    claimed,
    contents,
    intent,
    make,
    make_and_close,
    opened,
    owned,
    rules,
    task,
)
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Post
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

pytestmark = pytest.mark.anyio


@POSIX
async def test_folder_and_files_are_private(tmp_path: Path) -> None:
    """Nobody else on the machine can read what was requested."""
    folder = tmp_path / "a" / "data"
    async with owned(folder) as ledger:
        await make(ledger)
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}
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


@pytest.mark.parametrize(
    ("spoil", "says", "advises"),
    [
        (_newer, "newer wan-mcp", "Update wan-mcp"),
        (_foreign, "another program", "WAN_MCP_DATA_DIR"),
        (_foreign_of_our_version, "another program", "WAN_MCP_DATA_DIR"),
        (_without_a_header, "cannot be used", "Move it away"),
        (_with_torn_pages, "cannot be used", "Move it away"),
        (_text, "cannot be used", "Move it away"),
        (_short_text, "cannot be used", "Move it away"),
    ],
)
def test_a_file_that_is_no_usable_ledger_is_refused_and_left_alone(
    tmp_path: Path, spoil: Any, says: str, advises: str
) -> None:
    """Neither overwritten nor mended, and the error says what to do."""
    spoil(tmp_path / FILE_NAME)
    before = contents(tmp_path)

    async def ask() -> None:
        async with owned(tmp_path) as ledger:
            with pytest.raises(LedgerError, match=says) as raised:
                await ledger.claim(intent(), rules())
        assert advises in raised.value.next_step

    anyio.run(ask)
    anyio.run(ask)
    assert contents(tmp_path) == before


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The paid call is what fails, with the name of the setting."""
    (tmp_path / "file").write_text("in the way")
    async with owned(tmp_path / "file" / "data") as ledger:
        with pytest.raises(LedgerError, match="cannot be opened") as raised:
            await ledger.claim(intent(), rules())
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
        async with owned(tmp_path) as ledger:
            with pytest.raises(LedgerError, match="cannot be") as raised:
                await ledger.claim(intent(), rules())
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
    async with owned(tmp_path) as ledger:
        if is_open:
            assert len(await ledger.entries()) == 20
        before = (tmp_path / FILE_NAME).read_bytes()
        with full_disk(), pytest.raises(LedgerError) as raised:
            await ledger.claim(intent(), rules())
        assert "disk is not full" in raised.value.next_step
        assert (tmp_path / FILE_NAME).read_bytes() == before
        assert (await ledger.claim(intent(), rules())).kind == "fresh"


def _deleted(path: Path) -> None:
    path.unlink()


def _moved(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def _replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


@POSIX
@pytest.mark.parametrize("change", [_deleted, _moved, _replaced])
async def test_a_file_that_is_gone_while_it_is_open_stops_paid_calls(tmp_path: Path, change: Any) -> None:
    """Another process would not see what is claimed; what is known can still be read, until a restart."""
    async with owned(tmp_path) as ledger:
        entry = await make(ledger)
        under_way = await claimed(ledger, "dog")
        change(tmp_path / FILE_NAME)
        with pytest.raises(LedgerError, match="deleted, moved or replaced") as raised:
            await ledger.claim(intent("cow"), rules())
        assert "Restart the server" in raised.value.next_step
        with pytest.raises(LedgerError, match="deleted, moved or replaced"):
            await ledger.mark_posted(under_way.number, Post(EPOCH, 0.0), BODY)
        assert await ledger.entries() == [entry]
        assert await ledger.find("task-unified-cat") == entry
        seen = await ledger.observe(task(status="completed"), EPOCH + 60)
        assert seen.status == "completed"
    async with owned(tmp_path) as ledger:
        assert (await ledger.claim(intent("cow"), rules())).kind == "fresh"


@POSIX
async def test_a_file_that_comes_back_is_the_same_one(tmp_path: Path) -> None:
    """What counts is which file is at the path, not what happened meanwhile."""
    async with owned(tmp_path) as ledger:
        await make(ledger)
        _moved(tmp_path / FILE_NAME)
        (tmp_path / FILE_NAME).with_suffix(".old").rename(tmp_path / FILE_NAME)
        assert (await ledger.claim(intent("cow"), rules())).kind == "fresh"
