"""A video gets its name: whole, never over another file, whatever the disk does."""
# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from tests.videos.host import FILM, Host, files, film, refused, save
from wan_mcp.ledger import Saved
from wan_mcp.videos import download as videos

pytestmark = pytest.mark.anyio


async def test_a_video_is_saved_under_its_name(folder: Path, links: str) -> None:
    """Byte for byte, with its facts, in a folder that is made for it; and nothing else is there."""
    saved = await save(Host(), folder)
    assert files(folder) == {"film.mp4": FILM}
    assert saved == Saved(str(folder / "film.mp4"), len(FILM), hashlib.sha256(FILM).hexdigest())


async def test_the_bytes_are_on_the_disk_before_the_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves a whole file under the final name, or none."""
    steps: list[str] = []
    real_link, real_fsync = os.link, os.fsync

    def link(source: Path, target: Path) -> None:
        assert source.read_bytes() == FILM
        assert source.parent == target.parent == folder
        steps.append("named")
        real_link(source, target)

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "bytes")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "fsync", fsync)
    await save(Host(), folder)
    assert steps == ["bytes", "named", "folder"]


async def test_until_the_end_only_a_hidden_file_is_there(folder: Path) -> None:
    """Whoever lists the folder in the middle sees no video yet."""
    seen: set[str] = set()

    async def note(received: int, length: int | None) -> None:
        seen.update(path.name for path in folder.iterdir())

    await save(Host(every=3), folder, notice=note)
    assert len(seen) == 1
    assert seen.pop().startswith(".")


async def test_nothing_is_overwritten(folder: Path, tmp_path: Path, links: str) -> None:
    """Neither a file nor a folder nor a symlink, wherever that leads; the next free number is taken."""
    folder.mkdir(parents=True)
    (folder / "film.mp4").write_bytes(b"mine")
    (folder / "film-2.mp4").symlink_to(tmp_path / "outside")
    (folder / "film-3.mp4").mkdir()
    saved = await save(Host(), folder)
    assert saved.path == str(folder / "film-4.mp4")
    assert (folder / "film.mp4").read_bytes() == b"mine"
    assert not (tmp_path / "outside").exists()
    assert (folder / "film-2.mp4").is_symlink()
    assert len(list(folder.iterdir())) == 4


async def test_of_many_saves_under_one_name_none_is_lost(folder: Path, links: str) -> None:
    """Ten at once get ten names, and each file is the one that it says."""
    films = [film(5000, seed) for seed in range(10)]
    found: list[Saved] = []

    async def one(content: bytes) -> None:
        found.append(await save(Host(content), folder))

    async with anyio.create_task_group() as group:
        for content in films:
            group.start_soon(one, content)
    numbered = {f"film-{number}.mp4" for number in range(2, 11)}
    assert files(folder).keys() == {"film.mp4"} | numbered
    assert sorted(files(folder).values()) == sorted(films)
    for saved in found:
        assert hashlib.sha256(Path(saved.path).read_bytes()).hexdigest() == saved.sha256


async def test_a_name_that_was_taken_in_vain_is_given_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hard links the name is taken first; where the file cannot follow, no empty file stays."""

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "replace", fail)
    assert "I/O error" in str(await refused(Host(), folder))


async def test_a_name_that_was_taken_ten_thousand_times_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for a number ends."""

    def taken(*args: object) -> None:
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", taken)
    error = await refused(Host(), folder)
    assert "another filename" in error.next_step


async def test_a_folder_that_cannot_be_synced_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems cannot; the video is there all the same."""
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert (await save(Host(), folder)).path == str(folder / "film.mp4")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "../../../x",
        "/tmp/x",
        "..\\..\\x",
        "C:\\x",
        "\\\\server\\share\\x",
        "x:stream.mp4",
        "CON",
        "nul.mp4",
        "x. . .",
        "...",
        "",
        "\u200b",
        ".mp4",
        "x" * 300,
        "🐱" * 300,
        "abc\u202e4pm.exe",
        "a\x00b",
        "x.MP4",
    ],
)
async def test_no_name_leads_out_of_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    """Whatever was asked for, it is one file in the folder that ends in .mp4."""
    saved = Path((await save(Host(), folder, name)).path)
    assert saved.parent == folder
    assert saved.suffix == ".mp4"
    assert list(folder.iterdir()) == [saved]
    assert list(tmp_path.iterdir()) == [tmp_path / "some"]


async def test_the_folder_may_be_a_symlink(folder: Path, tmp_path: Path) -> None:
    """It is the user's own setting: videos go where it leads."""
    (tmp_path / "disk").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "disk")
    assert (await save(Host(), folder)).path == str(folder / "film.mp4")
    assert files(tmp_path / "disk") == {"film.mp4": FILM}


def _file(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"")


def _file_above(folder: Path) -> None:
    folder.parent.write_bytes(b"")


def _dead_symlink(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder.parent / "nowhere")


def _not_mine(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.mkdir(parents=True, mode=0o500)


@pytest.mark.parametrize("obstacle", [_file, _file_above, _dead_symlink, _not_mine])
async def test_a_folder_that_cannot_be_used_is_named(folder: Path, obstacle: Callable[[Path], None]) -> None:
    """The error names it and the setting; the host is not even asked."""
    obstacle(folder)
    host = Host()
    error = await refused(host, folder)
    assert str(folder) in str(error)
    assert "WAN_MCP_OUTPUT_DIR" in error.next_step
    assert host.requests == []


async def test_what_killed_processes_left_behind_is_removed(folder: Path) -> None:
    """After a day; what another process is writing now, and the user's own files, stay."""
    folder.mkdir(parents=True)
    old, young, other = folder / ".wan-mcp-1.part", folder / ".wan-mcp-2.part", folder / ".mine.part"
    for path in (old, young, other):
        path.write_bytes(b"half")
    long_ago = time.time() - 25 * 3600
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    await save(Host(), folder)
    assert files(folder).keys() == {young.name, other.name, "film.mp4"}


async def test_a_video_for_which_there_is_no_room_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its announced length, and some more, must be free."""
    free = videos.SPARE + len(FILM) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    host = Host()
    error = await refused(host, folder)
    assert "bytes left" in str(error)
    assert "space" in error.next_step
    assert host.sent == 0


@contextmanager
def tiny_disk(folder: Path, size: int, *options: str) -> Iterator[None]:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_fills_up_is_an_error_and_gets_its_room_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real file system of 256 KB, and a video of unknown length that does not fit."""
    monkeypatch.setattr(videos, "SPARE", 0)
    host = Host(film(1_000_000))
    host.script.append(partial(host.serve, length=None))
    with tiny_disk(folder, 256 * 1024):
        error = await refused(host, folder)
        assert shutil.disk_usage(folder).used == 0
    assert "the disk is full" in str(error)
    assert "space" in error.next_step


async def test_a_disk_that_takes_nothing_is_an_error(folder: Path) -> None:
    """A real file system that can only be read."""
    with tiny_disk(folder, 256 * 1024, "ro"):
        error = await refused(Host(), folder)
    assert "Read-only" in str(error)
    assert "WAN_MCP_OUTPUT_DIR" in error.next_step


async def test_a_write_that_fails_is_an_error(folder: Path) -> None:
    """The system lets no file grow beyond 20,000 bytes."""
    resource = pytest.importorskip("resource", reason="there are no such limits here")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        error = await refused(Host(), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(folder) in str(error)
