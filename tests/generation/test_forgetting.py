"""``wan-mcp tasks --forget`` for a hosted server: all that belongs to it goes, or nothing does."""

import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.callers import Callers
from tests.clock import now
from tests.generation.gateway import generate
from tests.generation.test_retention import DEAD_BUCKET, Calendar, files, kept, serving
from wan_mcp.cli import tasks as command
from wan_mcp.errors import NotFound, SettingsError, StorageError
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS
from wan_mcp.generation.services import Services
from wan_mcp.generation.stored import StoredPosters
from wan_mcp.ledger import Entry, Saved
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path, ONE_ACCOUNT, seconds=30)


def settings_of(folder: Path, **environ: str) -> Settings:
    """The settings of whoever runs the server, in a terminal."""
    return Settings.load({"WAN_MCP_DATA_DIR": str(folder / "data")} | environ)


async def two_kept(callers: Callers, services: Services) -> set[str]:
    """A caller's task is to be forgotten; returns the files of another one's."""
    await kept(callers, services, "one", "The cat yawns.")
    before = files(Path(callers.world.environ["WAN_MCP_DATA_DIR"]).parent)
    await kept(callers, services, "two", "The dog barks.")
    return files(Path(callers.world.environ["WAN_MCP_DATA_DIR"]).parent) - before


@pytest.mark.parametrize("deployment", [OWN_KEYS, ONE_ACCOUNT], ids=["own keys", "one account"])
async def test_row_poster_and_video_are_removed(tmp_path: Path, deployment: object) -> None:
    """While the server runs, whose caller then has no such task; another caller's task stays as it is."""
    assert deployment in (OWN_KEYS, ONE_ACCOUNT)
    callers = Callers(tmp_path, OWN_KEYS if deployment is OWN_KEYS else ONE_ACCOUNT, seconds=30)
    async with serving(callers, tmp_path, Calendar()) as services:
        others = await two_kept(callers, services)
        settings = settings_of(tmp_path, WAN_MCP_STORAGE_URL=(tmp_path / "storage").as_uri())
        listed = await command.lines(settings, 9, as_json=False, clock=now)
        keys = [row.kept.key for row in await callers.world.rows() if row.kept]
        assert [line.rpartition("\n")[2] for line in listed] == [
            f"  kept by a hosted server: {k}" for k in keys
        ]
        said = await command.forget(settings, "#1", clock=now)
        assert said == "Forgot #1. Its kept video was deleted. An equal request is paid again from now on."
        assert files(tmp_path) == others
        assert len(others) == 2
        assert await callers.of(services, "one").tasks(None, 50) == []
        assert len(await callers.world.rows()) == 1


async def test_a_server_that_runs_does_not_bring_a_row_back(callers: Callers, tmp_path: Path) -> None:
    """Not from its memory, nor by a read; and a video that arrives too late is deleted."""
    async with serving(callers, tmp_path, Calendar()) as services:
        service = callers.of(services, "one")
        task_id = (await generate(service)).task.id
        await anyio.sleep(1)
        assert (await service.get_task(task_id)).task.id == task_id
        settings = settings_of(tmp_path, WAN_MCP_STORAGE_URL=(tmp_path / "storage").as_uri())
        said = await command.forget(settings, task_id, clock=now)
        assert said == f"Forgot {task_id}. {command.PAID_AGAIN} {command.STILL_RUNNING}"
        await anyio.sleep(100)
        with pytest.raises(NotFound, match="You have no task"):
            await service.get_task(task_id)
        place = services.runtime.place_of(services.runtime.ledger_of(callers.whose()))
        video = tmp_path / "late.mp4"
        await anyio.Path(video).write_bytes(b"video")
        found = await place.add(Saved(str(video), 5, "0" * 64), task_id=task_id)
        assert len(files(tmp_path)) == 1
        await place.record(task_id, found)
        assert files(tmp_path) == set()
    assert await callers.world.rows() == []


async def test_a_video_that_is_kept_meanwhile_is_removed_too(
    callers: Callers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may just be saving it."""
    named = SqliteLedger.named
    async with serving(callers, tmp_path, Calendar(), WAN_MCP_AUTOSAVE="0") as services:
        service = callers.of(services, "one")
        task_id = (await generate(service)).task.id
        await anyio.sleep(100)

        async def named_then_kept(ledger: SqliteLedger, name: str) -> list[Entry]:
            entries = await named(ledger, name)
            if entries and not entries[0].kept:
                await service.save(task_id, None)
            return entries

        monkeypatch.setattr(SqliteLedger, "named", named_then_kept)
        settings = settings_of(tmp_path, WAN_MCP_STORAGE_URL=(tmp_path / "storage").as_uri())
        said = await command.forget(settings, task_id, clock=now)
    assert "Its kept video was deleted." in said
    assert files(tmp_path) == set()
    assert await callers.world.rows() == []


async def test_a_poster_is_removed_where_no_video_is_kept(
    callers: Callers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that a server puts meanwhile; the row stays until the storage can be reached."""
    remove = SqliteLedger.remove
    async with serving(callers, tmp_path, Calendar(), WAN_MCP_AUTOSAVE="0") as services:
        await generate(callers.of(services, "one"))
        await anyio.sleep(1)
        stored, rows = files(tmp_path), await callers.world.rows()
        assert len(stored) == 1
        with monkeypatch.context() as patched:
            for name, value in DEAD_BUCKET.items():
                patched.setenv(name, value)
            with pytest.raises(StorageError, match="The row and its poster are still there"):
                await command.forget(settings_of(tmp_path, WAN_MCP_STORAGE_URL="s3://bucket"), "#1")
        assert (files(tmp_path), await callers.world.rows()) == (stored, rows)

        async def put_then_removed(ledger: SqliteLedger, entries: list[Entry]) -> None:
            assert services.runtime.storage is not None
            await StoredPosters(services.runtime.storage.objects).put(entries[0], b"poster")
            await remove(ledger, entries)

        monkeypatch.setattr(SqliteLedger, "remove", put_then_removed)
        settings = settings_of(tmp_path, WAN_MCP_STORAGE_URL=(tmp_path / "storage").as_uri())
        assert "video was deleted" not in await command.forget(settings, "#1")
    assert (files(tmp_path), await callers.world.rows()) == (set(), [])


async def test_the_default_storage_needs_no_setting(callers: Callers, tmp_path: Path) -> None:
    """The folder in the data folder shows that a hosted server uses it."""
    async with callers.services(WAN_MCP_STORAGE_URL="") as services:
        await generate(callers.of(services, "one"))
        await anyio.sleep(1)
        assert len(list((tmp_path / "data" / "storage" / "posters").iterdir())) == 1
    await command.forget(settings_of(tmp_path), "#1")
    assert list((tmp_path / "data" / "storage" / "posters").iterdir()) == []


async def test_nothing_is_removed_without_the_storage(
    callers: Callers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be reached, is another one, or its library is missing: the row still tells what there is."""
    async with serving(callers, tmp_path, Calendar()) as services:
        await two_kept(callers, services)
    before, rows = files(tmp_path), await callers.world.rows()
    with pytest.raises(SettingsError, match="not in the storage that the settings here name") as raised:
        await command.forget(settings_of(tmp_path), "#1", clock=now)
    assert "WAN_MCP_STORAGE_URL" in raised.value.next_step
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "wan_mcp.storage.storage", None)
        with pytest.raises(SettingsError, match=r"not installed. Nothing was removed\.") as raised:
            await command.forget(settings_of(tmp_path), "#1", clock=now)
    for name, value in DEAD_BUCKET.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match="The row and its poster are still there") as failed:
        await command.forget(settings_of(tmp_path, WAN_MCP_STORAGE_URL="s3://bucket"), "#1", clock=now)
    assert "\n" not in failed.value.message
    assert (files(tmp_path), await callers.world.rows()) == (before, rows)


async def test_a_video_that_was_deleted_otherwise_is_no_obstacle(callers: Callers, tmp_path: Path) -> None:
    """If a person says so, or once it is too old to be there."""
    async with serving(callers, tmp_path, Calendar()) as services:
        await two_kept(callers, services)
    settings = settings_of(tmp_path)
    assert await command.forget(settings, "#1", gone=True, clock=now)
    assert await command.forget(settings, "#2", clock=lambda: time.time() + 10_000 * 86_400)
    assert await callers.world.rows() == []
