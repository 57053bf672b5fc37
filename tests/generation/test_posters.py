"""Posters as files and in a storage: one for each row with a task, and none after the row is removed."""

import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.images.makers import quadrants, saved
from tests.ledger.rows import API, answered, make, posted, shared, task
from wan_mcp.cli import tasks as command
from wan_mcp.errors import LedgerError, NoPoster, StorageError
from wan_mcp.generation.poster_files import PosterFiles
from wan_mcp.generation.posters import MAKING_SECONDS, Posters
from wan_mcp.generation.stored import FINDING, StoredPosters
from wan_mcp.images.poster import poster
from wan_mcp.ledger import Entry, Ledger
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.settings import Settings
from wan_mcp.storage.objects import ObjectStore
from wan_mcp.videos.files import ABANDONED, PARTIAL

pytestmark = pytest.mark.anyio

POSTER = poster(saved(quadrants(), "PNG"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def ledger(data: Path) -> AsyncIterator[Ledger]:
    async with shared(data) as ledger:
        yield ledger


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore("memory:")


def in_files(data: Path, ledger: Ledger) -> Posters:
    return Posters(PosterFiles(data, ledger), ledger)


async def drawn(content: bytes = POSTER) -> bytes:
    return content


async def keep(posters: Posters, *entries: Entry, make: Any = drawn) -> None:
    async with anyio.create_task_group() as background:
        for entry in entries:
            posters.keep(entry, make, background)


async def forgotten(data: Path, name: str) -> None:
    """Remove a row as a person does it."""
    await command.forget(Settings.load({"WAN_MCP_DATA_DIR": str(data)}), name)


def names(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "posters").iterdir())


@pytest.mark.parametrize("name", ["/etc/passwd", "../../../x", "..", "a\0b", "a" * 300, "C:\\x", "ä\n"])
async def test_a_name_holds_nothing_of_the_tasks_id(data: Path, ledger: Ledger, name: str) -> None:
    """The API makes the ids, and they may be anything."""
    owner = ledger.for_owner(API, "me")
    entry = await posted(owner)
    entry = await answered(owner, entry.number, task(name).model_copy(update={"id": name}), time.time())
    posters = in_files(data, ledger)
    await keep(posters, entry)
    assert await posters.read(await owner.find(name)) == POSTER
    [kept] = names(data)
    assert re.fullmatch(r"1-[0-9a-f]{16}\.jpg", kept)
    await forgotten(data, name)
    assert names(data) == []


async def test_forgetting_a_row_removes_its_poster(data: Path, ledger: Ledger) -> None:
    """By the task's id or the row's number; all other posters stay."""
    owner = ledger.for_owner(API, "me")
    entries = [await make(owner, f"cat{number}") for number in range(4)]
    posters = in_files(data, ledger)
    await keep(posters, *entries)
    await forgotten(data, "task-unified-cat1")
    await forgotten(data, "#3")
    assert [name[:2] for name in names(data)] == ["1-", "4-"]
    assert await posters.read(entries[3]) == POSTER
    for gone in (entries[1], None):
        with pytest.raises(NoPoster):
            await posters.read(gone)


async def test_the_first_poster_removes_what_other_programs_left(data: Path, ledger: Ledger) -> None:
    """Posters without a row, and old partial files; files with other names stay."""
    folder = data / "posters"
    folder.mkdir(parents=True)
    orphans = [f"7-{'0' * 16}.jpg", f"1-{'0' * 16}.jpg", f"{'9' * 18}-{'a' * 16}.jpg"]
    others = ["holiday.jpg", f"{'9' * 19}-{'a' * 16}.jpg", f"7-{'0' * 16}.jpg.bak"]
    unfinished = [PARTIAL.format("old"), PARTIAL.format("new")]
    for name in (*orphans, *others, *unfinished):
        (folder / name).write_bytes(POSTER)
    long_ago = time.time() - ABANDONED - 60
    os.utime(folder / unfinished[0], (long_ago, long_ago))
    entry = await make(ledger.for_owner(API, "me"))
    await keep(in_files(data, ledger), entry)
    left = set(names(data))
    assert {*others, unfinished[1]} < left
    [ours] = left - {*others, unfinished[1]}
    assert ours.startswith("1-")
    assert ours not in orphans


async def test_nothing_is_removed_where_the_ledger_cannot_tell(
    data: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A server whose ledger was replaced does not know the rows of the new one."""
    entry = await make(ledger.for_owner(API, "me"))
    await keep(in_files(data, ledger), entry)
    before = names(data)
    (data / FILE_NAME).rename(data / "old")
    with pytest.raises(LedgerError, match="replaced"):
        await ledger.keys([entry.number])
    await PosterFiles(data, ledger).remove_orphans()
    assert names(data) == before
    assert "could not be removed" in caplog.text


async def test_forgetting_works_without_a_folder_and_with_one_that_is_none(
    data: Path, ledger: Ledger
) -> None:
    """The row is still removed."""
    owner = ledger.for_owner(API, "me")
    await make(owner)
    await forgotten(data, "#1")
    assert not (data / "posters").exists()
    (data / "posters").write_text("in the way")
    await make(owner, "dog")
    await forgotten(data, "#2")
    assert await owner.entries() == []


async def test_the_keys_are_those_of_the_requests_that_there_are(ledger: Ledger) -> None:
    """Of all owners, not of tasks made elsewhere; also for more numbers than SQL allows variables."""
    one, two = await make(ledger.for_owner(API, "me")), await make(ledger.for_owner(API, "you"), "dog")
    await ledger.for_owner(API, "me").observe(task("elsewhere"), time.time())
    keys = await ledger.keys(list(range(100_000)))
    assert keys == {one.number: one.idempotency_key, two.number: two.idempotency_key}


async def test_a_poster_that_is_being_made_is_waited_for_within_bounds(data: Path, ledger: Ledger) -> None:
    """It can be read as soon as the task is known; if the disk hangs, its readers get an error in time."""
    entry = await make(ledger.for_owner(API, "me"))
    posters = in_files(data, ledger)

    async def slowly() -> bytes:
        await anyio.sleep(2 * MAKING_SECONDS)
        return POSTER

    async with anyio.create_task_group() as background:
        posters.keep(entry, slowly, background)
        posters.keep(entry, slowly, background)
        began = anyio.current_time()
        with pytest.raises(NoPoster):
            await posters.read(entry)
        assert anyio.current_time() - began == pytest.approx(MAKING_SECONDS)
    assert await posters.read(entry) == POSTER


async def test_two_programs_may_make_the_same_poster(data: Path, ledger: Ledger) -> None:
    """Each writes another file, which gets its name when it is whole."""
    entry = await make(ledger.for_owner(API, "me"))
    async with shared(data) as other:
        async with anyio.create_task_group() as group:
            for one in (ledger, other, ledger):
                group.start_soon(keep, in_files(data, one), entry)
        assert len(names(data)) == 1
        assert await in_files(data, other).read(entry) == POSTER


async def test_a_link_or_a_folder_in_the_place_of_a_poster_is_none(data: Path, ledger: Ledger) -> None:
    """A link is replaced by the poster that is made next; a folder is left there."""
    entry = await make(ledger.for_owner(API, "me"))
    posters = in_files(data, ledger)
    await keep(posters, entry)
    path = data / "posters" / names(data)[0]
    path.unlink()
    path.mkdir()
    await keep(posters, entry)
    with pytest.raises(NoPoster):
        await posters.read(entry)
    path.rmdir()
    path.symlink_to(data / FILE_NAME)
    with pytest.raises(NoPoster):
        await posters.read(entry)
    await keep(posters, entry)
    assert await posters.read(entry) == POSTER
    assert not path.is_symlink()


async def test_two_ledgers_share_a_storage(
    data: Path, ledger: Ledger, tmp_path: Path, objects: ObjectStore
) -> None:
    """Their rows have the same numbers and tasks; each has its own posters."""
    other_poster = poster(saved(quadrants(700, 900), "PNG"))
    store = StoredPosters(objects)
    async with shared(tmp_path / "other") as other_ledger:
        ours = await make(ledger.for_owner(API, "me"))
        theirs = await make(other_ledger.for_owner(API, "me"))
        mine, others = Posters(store, ledger), Posters(store, other_ledger)
        await keep(mine, ours)
        await keep(others, theirs, make=lambda: drawn(other_poster))
        assert (ours.number, await mine.read(ours)) == (theirs.number, POSTER)
        assert await others.read(theirs) == other_poster
        await store.remove([ours])
        assert await others.read(theirs) == other_poster
        with pytest.raises(NoPoster):
            await mine.read(ours)
    assert not (data / "posters").exists()


async def test_a_row_without_a_key_has_no_poster_in_a_storage(ledger: Ledger, objects: ObjectStore) -> None:
    """Its object would be that of all such rows, of all owners."""
    entry = await make(ledger.for_owner(API, "me"))
    store = StoredPosters(objects)
    for key in ("", None):
        row = replace(entry, idempotency_key=key)
        await keep(Posters(store, ledger), row)
        assert await store.read(row) is None
        await store.remove([row])


@pytest.mark.parametrize("damaged", [b"", POSTER[:500], b"<html></html>"])
async def test_a_damaged_object_counts_as_missing(
    ledger: Ledger, objects: ObjectStore, damaged: bytes
) -> None:
    """The poster that is made next replaces it."""
    entry = await make(ledger.for_owner(API, "me"))
    store = StoredPosters(objects)
    posters = Posters(store, ledger)
    await store.put(entry, damaged)
    with pytest.raises(NoPoster):
        await posters.read(entry)
    await keep(posters, entry)
    assert await posters.read(entry) == POSTER


async def test_a_row_that_is_removed_meanwhile_leaves_nothing_in_a_storage(
    data: Path, ledger: Ledger, objects: ObjectStore
) -> None:
    """Between the answer and the poster."""
    entry = await make(ledger.for_owner(API, "me"))
    store = StoredPosters(objects)

    async def forgotten_meanwhile() -> bytes:
        await forgotten(data, "#1")
        return POSTER

    await keep(Posters(store, ledger), entry, make=forgotten_meanwhile)
    assert await store.read(entry) is None


async def test_a_storage_that_does_not_answer_is_waited_for_within_bounds(
    ledger: Ledger,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By readers, and by the work in the background, which gives up before it makes the poster."""
    entry = await make(ledger.for_owner(API, "me"))
    posters = Posters(StoredPosters(objects), ledger)
    monkeypatch.setattr(ObjectStore, "read", lambda *given: anyio.sleep_forever())
    began = anyio.current_time()
    with pytest.raises(StorageError, match="did not answer"):
        await posters.read(entry)
    assert anyio.current_time() - began == pytest.approx(FINDING)
    await keep(posters, entry, make=None)
    assert "no poster of request #1 is kept: The storage did not answer" in caplog.text
