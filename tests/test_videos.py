"""Results on disk: downloaded through every kind of trouble, and under their names whole or not at all."""

# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

import errno
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint
from mcp import Client
from mcp.types import CallToolResult, ResourceLink, TextContent

from tests.conftest import KEY, Web, World, fetch, now, resolve
from wan_mcp.errors import LedgerError, LinkDead, VideoError
from wan_mcp.generation.request import Wish
from wan_mcp.generation.service import Studio
from wan_mcp.ledger import Saved
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.net.fetch import Safe
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.settings import Settings
from wan_mcp.videos import download as videos

pytestmark = pytest.mark.anyio

HOST = "media.example.com"
LINK = f"https://{HOST}/film.mp4?signature=secret"
PIECE = 2500
WISH = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])

Answer = Callable[[httpx2.Request], httpx2.Response]


def film(size: int = 50_000, seed: int = 0) -> bytes:
    """A file whose boxes are right, and whose every byte counts."""
    head = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
    media = random.Random(seed).randbytes(size - len(head) - 8)
    return head + struct.pack(">I4s", len(media) + 8, b"mdat") + media


FILM, OTHER = film(), film(60_000, seed=1)


class Body(httpx2.AsyncByteStream):
    """Bytes that come in pieces, slowly or not, and break off in the middle or not."""

    def __init__(
        self, content: bytes, *, cut: int | None = None, every: float = 0, piece: int = PIECE
    ) -> None:
        self._content, self._cut, self._every, self._piece = content, cut, every, piece
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._content if self._cut is None else self._content[: self._cut]
        for start in range(0, len(content), self._piece):
            await anyio.sleep(self._every)
            part = content[start : start + self._piece]
            self.sent += len(part)
            yield part
        if self._cut is not None:
            raise httpx2.ReadError("connection reset")


class Host(httpx2.AsyncBaseTransport):
    """A host that serves one file; what is in ``script`` is answered first, one by one."""

    def __init__(
        self,
        content: bytes = FILM,
        *script: Answer,
        ranges: bool = True,
        headers: Mapping[str, str] = {"etag": '"1"'},
        every: float = 0,
    ) -> None:
        self.content, self.script, self.ranges, self.headers = content, list(script), ranges, dict(headers)
        self.every = every
        self.requests: list[httpx2.Request] = []
        self.bodies: list[Body] = []

    @property
    def sent(self) -> int:
        return sum(body.sent for body in self.bodies)

    @property
    def asked(self) -> list[str | None]:
        """The range that each request asked for."""
        return [request.headers.get("range") for request in self.requests]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await checkpoint()
        self.requests.append(request)
        response = self.script.pop(0)(request) if self.script else self.serve(request)
        if isinstance(response.stream, Body):
            self.bodies.append(response.stream)
        return response

    def serve(
        self, request: httpx2.Request, *, cut: int | None = None, length: str | None = ""
    ) -> httpx2.Response:
        """The file, or the rest of it; ``cut`` counts from the beginning of what is asked for."""
        wanted = request.headers.get("range")
        tags = (self.headers.get("etag"), self.headers.get("last-modified"))
        total = len(self.content)
        if not wanted or not self.ranges or request.headers.get("if-range") not in tags:
            first, status, about = 0, 200, {}
        elif (first := int(wanted.removeprefix("bytes=").removesuffix("-"))) >= total:
            return httpx2.Response(416, headers={"content-range": f"bytes */{total}"})
        else:
            status, about = 206, {"content-range": f"bytes {first}-{total - 1}/{total}"}
        if length is not None:
            about["content-length"] = length or str(total - first)
        body = Body(self.content[first:], cut=cut, every=self.every)
        return httpx2.Response(
            status, headers=self.headers | {"content-type": "video/mp4"} | about, stream=body
        )

    def cut(self, after: int, length: str | None = "") -> Answer:
        return partial(self.serve, cut=after, length=length)


def status(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx2.Response(code, headers=named, content=b"<html>no</html>")


def page(kind: str, content: bytes) -> Answer:
    return lambda request: httpx2.Response(200, headers={"content-type": kind}, stream=Body(content))


def broken(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused")


async def silent(received: int, length: int | None) -> None:
    """A notice to nobody."""


async def save(
    host: Host,
    folder: Path,
    name: str = "film",
    notice: videos.Notice = silent,
    link: str = LINK,
    allow_private: bool = False,
) -> Saved:
    """Save what the host serves, through the same checks of addresses as the server does."""
    safe = Safe(transport=host, resolve=resolve, allow_private=allow_private)

    def stream(link: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[httpx2.Response]:
        return safe.stream(link, headers=headers, deadline=videos.LONGEST_FETCH)

    return await videos.save(link, folder, name, stream, notice)


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden or not."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


async def refused(host: Host, folder: Path, **options: Any) -> VideoError:
    """The error of a save that must fail and leave nothing behind."""
    with pytest.raises(VideoError) as caught:
        await save(host, folder, **options)
    assert files(folder) == {}
    assert "secret" not in str(caught.value)
    assert caught.value.charged == "no"
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The output folder, which is not there yet."""
    return tmp_path / "some" / "videos"


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems with hard links and without."""

    def no_link(*args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_link)
    return str(request.param)


# Placing


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

    async def look(received: int, length: int | None) -> None:
        seen.update(path.name for path in folder.iterdir())

    await save(Host(every=3), folder, notice=look)
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


# The disk


async def test_a_video_for_which_there_is_no_room_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its announced length, and some more, must be free."""
    free = videos.SPARE + len(FILM) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    host = Host()
    error = await refused(host, folder)
    assert "bytes left" in str(error)
    assert "room" in error.next_step
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
    assert "room" in error.next_step


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


# Broken downloads


@pytest.mark.parametrize("tenth", range(11))
async def test_a_download_that_breaks_goes_on_where_it_broke(folder: Path, tenth: int) -> None:
    """Cut at each tenth of the file: no byte is sent twice, and the file is right."""
    host = Host()
    host.script.append(host.cut(len(FILM) * tenth // 10))
    saved = await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert saved.sha256 == hashlib.sha256(FILM).hexdigest()
    if 0 < tenth < 10:
        assert host.asked == [None, f"bytes={len(FILM) * tenth // 10}-"]
        assert host.requests[1].headers["if-range"] == '"1"'
    assert host.sent == len(FILM)


async def test_a_download_may_break_at_every_tenth(folder: Path) -> None:
    """As long as each attempt brings something, it goes on."""
    host = Host()
    host.script += [host.cut(len(FILM) // 10)] * 9
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert len(host.requests) == 10
    assert host.sent == len(FILM)


@pytest.mark.parametrize("last", [1, len(FILM) - 1])
async def test_single_bytes_are_resumed(folder: Path, last: int) -> None:
    """The first and the last one are no special case."""
    host = Host()
    host.script.append(host.cut(last))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"last-modified": "Sun, 22 Nov 2026 13:00:00 GMT"}, "Sun, 22 Nov 2026 13:00:00 GMT"),
        ({"etag": 'W/"1"'}, None),
        ({}, None),
    ],
)
async def test_only_what_surely_is_the_same_version_is_resumed(
    folder: Path, headers: dict[str, str], validator: str | None
) -> None:
    """A date serves as well as a strong tag; without either, it begins anew."""
    host = Host(headers=headers)
    host.script.append(host.cut(20_000))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.requests[1].headers.get("if-range") == validator
    assert host.asked[1] == ("bytes=20000-" if validator else None)


async def test_nothing_of_an_earlier_attempt_stays(folder: Path) -> None:
    """Beginning anew with a file that became shorter."""
    host = Host(ranges=False)
    host.script.append(Host(OTHER).cut(58_000))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_a_host_that_cannot_go_on_sends_all_of_it_again(folder: Path) -> None:
    """Its answer to the second request begins with the first byte."""
    host = Host(ranges=False)
    host.script += [host.cut(20_000), host.cut(30_000)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-", "bytes=30000-"]


def _honest(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The tag does not fit any more: all of the new file."""
    host.content, host.headers = OTHER, {"etag": '"2"'}
    return host.serve(request)


def _deaf_to_tags(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The rest of the new file, as if the tag had fitted."""
    request.headers["if-range"] = '"2"'
    return _honest(host, request)


def _deaf_and_mute(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The rest of the new file, and not even its tag."""
    response = _deaf_to_tags(host, request)
    del response.headers["etag"]
    return response


def _of_the_same_length(host: Host, request: httpx2.Request) -> httpx2.Response:
    response = _deaf_to_tags(host, request)
    response.headers["content-range"] = f"bytes 20000-{len(FILM) - 1}/{len(FILM)}"
    return response


@pytest.mark.parametrize("answer", [_honest, _deaf_to_tags, _deaf_and_mute, _of_the_same_length])
async def test_a_file_that_changed_in_between_is_not_mixed(
    folder: Path, answer: Callable[[Host, httpx2.Request], httpx2.Response]
) -> None:
    """However badly the host behaves, what is saved is the new file."""
    host = Host()
    host.script += [host.cut(20_000), partial(answer, host)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": OTHER}


@pytest.mark.parametrize(
    "about",
    [
        "bytes 0-49999/50000",
        "bytes 19999-49999/50000",
        "bytes 20000-59999/60000",
        "items 20000-",
        "bytes",
        "",
    ],
)
async def test_a_part_that_does_not_fit_is_not_taken(folder: Path, about: str) -> None:
    """It begins anew, asking for all of it."""
    host = Host()

    def other_part(request: httpx2.Request) -> httpx2.Response:
        response = host.serve(request)
        response.headers["content-range"] = about
        return response

    host.script += [host.cut(20_000), other_part]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-", None]


async def test_a_host_that_denies_the_part_is_asked_for_all(folder: Path) -> None:
    """HTTP 416 does not come again and again."""
    host = Host()
    host.script += [host.cut(20_000), status(416)]
    await save(host, folder)
    assert host.asked == [None, "bytes=20000-", None]


async def test_small_parts_are_put_together(folder: Path) -> None:
    """Some hosts give no more than so many bytes at once."""
    host = Host()

    def some(request: httpx2.Request) -> httpx2.Response:
        first = int((request.headers.get("range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        last = min(first + 9_999, len(FILM) - 1)
        response = host.serve(request)
        if first:
            response.stream = Body(FILM[first : last + 1])
            response.headers["content-range"] = f"bytes {first}-{last}/{len(FILM)}"
            response.headers["content-length"] = str(last + 1 - first)
        return response

    host.script += [host.cut(10_000), some, some, some, some]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_break_is_seen_where_no_length_was_announced(folder: Path, ranges: bool) -> None:
    """What came before it is not taken for the whole."""
    host = Host(ranges=ranges)
    host.script.append(host.cut(20_000, length=None))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_an_end_that_comes_too_early_is_seen_by_the_file_itself(folder: Path) -> None:
    """No length was announced and the connection ended in good order: the boxes tell that some is missing."""
    host = Host()
    early = Host(FILM[:20_000])
    host.script.append(partial(early.serve, length=None))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-"]


async def test_a_video_that_always_ends_too_early_is_refused(folder: Path) -> None:
    """Half a file gets no final name, although the host says that this is all."""
    error = await refused(Host(FILM[:20_000]), folder)
    assert "breaks off" in str(error)


@pytest.mark.parametrize(
    ("length", "said"),
    [("60000", "60000"), ("49000", "more bytes than it announced"), ("24", "more bytes than it announced")],
)
async def test_a_wrong_length_is_an_error(folder: Path, length: str, said: str) -> None:
    """Too long: the rest never comes. Too short: there is more of it."""
    host = Host(ranges=False)
    host.script += [partial(host.serve, length=length)] * 9
    error = await refused(host, folder)
    assert said in str(error) or "50,000 bytes came" in str(error)
    assert error.next_step or length != "60000"


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e3", "9" * 30, "²"])
async def test_a_length_that_is_no_number_is_ignored(folder: Path, length: str) -> None:
    """As if none had been announced."""
    host = Host()

    def odd(request: httpx2.Request) -> httpx2.Response:
        response = host.serve(request, length=None)
        response.headers["content-length"] = length
        return response

    host.script.append(odd)
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


# Answers that are no video


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page("text/html; charset=utf-8", b"<!DOCTYPE html><title>Sign in</title>"), "text/html"),
        (page("TEXT/HTML", FILM), "text/html"),
        (page("application/json", b'{"error": "expired"}'), "application/json"),
        (page("text/plain", b"gone"), "text/plain"),
        (page("image/png", b"\x89PNG\r\n\x1a\n" + bytes(50)), "image/png"),
        (page("video/mp4", b"<!DOCTYPE html><title>Sign in</title>"), "not an MP4 file"),
        (page("video/mp4", b"<?xml version='1.0'?><Error/>"), "not an MP4 file"),
        (page("application/octet-stream", b"\x00\xff{]" * 256), "not an MP4 file"),
        (page("video/webm", b"\x1aE\xdf\xa3" + bytes(100)), "not an MP4 file"),
        (page("video/mp4", b"\x1f\x8b\x08\x00" + bytes(100)), "not an MP4 file"),
        (page("video/mp4", b"abc"), "not an MP4 file"),
        (page("video/mp4", b""), "0 bytes came"),
    ],
)
async def test_what_is_no_video_is_refused(folder: Path, answer: Answer, said: str) -> None:
    """Whatever the status and the type say, the first bytes decide; pages are not even begun."""
    assert said in str(await refused(Host(b"", *[answer] * 9), folder))


async def test_first_bytes_may_come_one_by_one(folder: Path) -> None:
    """What comes is judged once enough of it is there."""
    content = film(300)
    answers: list[Answer] = [
        lambda request: httpx2.Response(
            200, headers={"content-type": "video/mp4"}, stream=Body(content, piece=1)
        )
    ]
    await save(Host(b"", *answers), folder)
    assert files(folder) == {"film.mp4": content}


async def test_more_than_a_gibibyte_is_not_begun(folder: Path) -> None:
    """Where the length is announced, no byte of it is fetched."""
    host = Host()
    host.script.append(partial(host.serve, length=str(1024**3 + 1)))
    assert "1,073,741,824 bytes" in str(await refused(host, folder))
    assert host.sent == 0


async def test_a_stream_without_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not announced, the bound stops it."""
    monkeypatch.setattr(videos, "MAX_SIZE", 100_000)
    host = Host(film(10_000_000))
    host.script.append(partial(host.serve, length=None))
    assert "100,000 bytes" in str(await refused(host, folder))
    assert host.sent <= 100_000 + PIECE


async def test_a_video_of_exactly_the_bound_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more would be refused."""
    monkeypatch.setattr(videos, "MAX_SIZE", len(FILM))
    await save(Host(), folder)
    assert files(folder) == {"film.mp4": FILM}


# Hosts in trouble


@pytest.mark.parametrize("every", [60, 10_000], ids=["drip", "silence"])
async def test_a_download_ends_in_time(folder: Path, every: float) -> None:
    """A piece a minute, or none at all: after a quarter of an hour it is given up."""
    start = now()
    error = await refused(Host(every=every), folder)
    assert now() - start == pytest.approx(videos.LONGEST_FETCH, abs=1)
    assert "too long" in str(error)
    assert "save_video" in error.next_step


@pytest.mark.parametrize("answer", [*map(status, (500, 502, 503, 504, 429, 408, 425)), broken])
async def test_trouble_that_passes_is_waited_out(folder: Path, answer: Answer) -> None:
    """Three times the host stumbles; then it is well."""
    await save(Host(FILM, answer, answer, answer), folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_trouble_in_the_middle_does_not_lose_what_came(folder: Path) -> None:
    """After the stumbling it goes on where it was."""
    host = Host()
    host.script += [host.cut(20_000), status(503), status(429), status(500)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.sent == len(FILM)


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("7", 7, 8), ("3600", 30, 31), ("soon", 0, 2), ("9" * 999, 30, 31)]
)
async def test_the_host_may_ask_for_a_pause(folder: Path, asked: str, least: float, most: float) -> None:
    """Within reason."""
    start = now()
    await save(Host(FILM, status(429, retry_after=asked)), folder)
    assert least <= now() - start <= most


@pytest.mark.parametrize(("answer", "said"), [(status(503), "HTTP 503"), (broken, "takes no connection")])
async def test_trouble_that_stays_is_an_error(folder: Path, answer: Answer, said: str) -> None:
    """After four attempts, within seconds, with what was wrong."""
    host, start = Host(FILM, *[answer] * 99), now()
    error = await refused(host, folder)
    assert len(host.requests) == 4
    assert now() - start < 10
    assert said in str(error)
    assert "save_video" in error.next_step


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
async def test_a_link_that_is_refused_is_dead(folder: Path, code: int) -> None:
    """That is said as such, so that another link can be asked for; it is not tried again."""
    host = Host(FILM, status(code))
    error = await refused(host, folder)
    assert isinstance(error, LinkDead)
    assert f"HTTP {code}" in str(error)
    assert len(host.requests) == 1


@pytest.mark.parametrize("code", [204, 300, 304])
async def test_an_answer_that_makes_no_sense_is_an_error(folder: Path, code: int) -> None:
    """Neither a video nor a refusal."""
    assert f"HTTP {code}" in str(await refused(Host(FILM, status(code)), folder))


# Addresses


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1/film.mp4?secret",
        "http://[::1]/film.mp4?secret",
        "https://192.168.1.1/film.mp4?secret",
        "http://169.254.169.254/latest/meta-data?secret",
        "https://nas.local/film.mp4?secret",
        "ftp://media.example.com/film.mp4?secret",
        "file:///etc/passwd",
        "https://user:secret@media.example.com/film.mp4",
    ],
)
async def test_a_link_that_must_not_be_followed_is_refused(folder: Path, link: str) -> None:
    """By the rules for pictures; nothing is connected to."""
    host = Host()
    error = await refused(host, folder, link=link)
    assert "WAN_MCP_ALLOW_PRIVATE_NETWORK" in error.next_step
    assert host.requests == []


async def test_a_redirect_into_a_private_network_is_refused(folder: Path) -> None:
    """Each hop is checked."""
    host = Host(FILM, status(302, location="http://10.0.0.1/film.mp4?secret"))
    error = await refused(host, folder)
    assert "private" in str(error)
    assert len(host.requests) == 1


async def test_a_redirect_to_a_public_address_is_followed(folder: Path) -> None:
    """Results often live behind one; the part that is asked for goes along."""
    to_store = status(307, location="https://store.example.org/film.mp4")
    host = Host(FILM, to_store)
    host.script += [host.cut(20_000), to_store]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert [request.headers["host"] for request in host.requests] == [HOST, "store.example.org"] * 2
    assert host.asked == [None, None, "bytes=20000-", "bytes=20000-"]


async def test_private_links_are_followed_where_that_is_allowed(folder: Path) -> None:
    """For the sandbox and for development, also through a redirect."""
    host = Host(FILM, status(302, location="http://10.0.0.1/film.mp4"))
    await save(host, folder, link="http://127.0.0.1:8787/results/1.mp4", allow_private=True)
    assert files(folder) == {"film.mp4": FILM}


async def test_media_hosts_get_no_secrets(folder: Path) -> None:
    """No key and no cookies, not even their own."""
    host = Host(headers={"etag": '"1"', "set-cookie": "id=7; Path=/"})
    host.script.append(host.cut(20_000))
    await save(host, folder)
    assert [request.headers.keys() for request in host.requests] == [
        {"host", "accept", "accept-encoding", "user-agent"},
        {"host", "accept", "accept-encoding", "user-agent", "range", "if-range"},
    ]


# Notices


@pytest.mark.parametrize("ranges", [True, False])
async def test_notices_rise(folder: Path, ranges: bool) -> None:
    """The first at once, then every second, the last at the end; also where it has to begin anew."""
    told: list[tuple[float, int, int | None]] = []

    async def notice(received: int, length: int | None) -> None:
        told.append((now(), received, length))

    host = Host(every=0.4, ranges=ranges)
    host.script.append(host.cut(30_000))
    start = now()
    await save(host, folder, notice=notice)
    amounts = [received for _, received, _ in told]
    assert amounts == sorted(set(amounts))
    assert (amounts[0], amounts[-1]) == (PIECE, len(FILM))
    assert {length for _, _, length in told} == {len(FILM)}
    assert told[0][0] - start < 1
    assert 5 <= len(told) <= (now() - start) + 2


# The tool


class Media(httpx2.AsyncBaseTransport):
    """The host of the videos, in front of everything else."""

    def __init__(self, host: Host, others: httpx2.AsyncBaseTransport) -> None:
        self._host, self._others = host, others

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        chosen = self._host if request.headers["host"] == HOST else self._others
        return await chosen.handle_async_request(request)


class Cinema:
    """A world whose videos are at a host of their own, a studio in it, and a finished task."""

    def __init__(self, world: World, host: Host, studio: Studio, task_id: str) -> None:
        self.world, self.host, self.studio, self.task_id = world, host, studio, task_id
        self.folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])

    async def save(self, name: str | None = None, notice: videos.Notice = silent) -> Saved:
        report = await self.studio.save(self.task_id, name, notice)
        assert report.saved is not None
        return report.saved

    def link_to(self, *links: str) -> None:
        """From now on these are the results, one after the other; the last one stays."""
        self.world.sandbox.faults.clear()
        faults = [Fault("task", "patch", body={"results": [link]}) for link in links]
        faults[-1].times = None
        self.world.sandbox.faults.add(*faults)


def put_behind(world: World, host: Host) -> None:
    """From now on the result links of this world lead to the host."""
    world.transport = Web(Media(host, world.transport))


@pytest.fixture
async def cinema(world: World) -> AsyncIterator[Cinema]:
    host = Host()
    put_behind(world, host)
    async with world.studio() as studio:
        task = (await studio.generate(Wish.model_validate(WISH))).task
        await anyio.sleep(130)
        cinema = Cinema(world, host, studio, task.id)
        cinema.link_to(LINK)
        yield cinema


async def test_saving_again_answers_the_file_that_there_is(cinema: Cinema) -> None:
    """No second download, whatever the name; nor in another program of the same user."""
    first = await cinema.save()
    assert Path(first.path) == cinema.folder / f"{cinema.task_id}.mp4"
    assert await cinema.save() == await cinema.save("another") == first
    async with cinema.world.studio() as later:
        assert (await later.save(cinema.task_id, None, silent)).saved == first
    assert len(cinema.host.requests) == 1
    assert files(cinema.folder) == {f"{cinema.task_id}.mp4": FILM}


@pytest.mark.parametrize("days", [2, 10])
async def test_the_saved_file_is_found_when_nothing_else_is_left(cinema: Cinema, days: int) -> None:
    """The link has died, then upstream has forgotten the task, and then it does not even answer."""
    first = await cinema.save()
    cinema.world.sandbox.faults.clear()
    await anyio.sleep(days * 86400)
    assert await cinema.save() == first
    cinema.world.sandbox.faults.add(Fault("task", "dropped", times=None))
    assert await cinema.save() == first


async def test_a_removed_file_is_fetched_anew(cinema: Cinema) -> None:
    """Under the same name, which is free again."""
    first = await cinema.save()
    Path(first.path).unlink()
    assert await cinema.save() == first
    assert len(cinema.host.requests) == 2


@pytest.mark.parametrize("content", [b"", FILM[:-1], FILM + b"x", OTHER])
async def test_a_changed_file_is_fetched_anew_and_left_alone(cinema: Cinema, content: bytes) -> None:
    """The user's own version stays; the video gets a number."""
    first = Path((await cinema.save("mine")).path)
    first.write_bytes(content)
    second = await cinema.save("mine")
    assert files(cinema.folder) == {"mine.mp4": content, "mine-2.mp4": FILM}
    assert await cinema.save() == second


async def test_a_file_that_became_a_folder_is_fetched_anew(cinema: Cinema) -> None:
    """What cannot be read is not the video."""
    first = Path((await cinema.save("mine")).path)
    first.unlink()
    first.mkdir()
    assert (await cinema.save("mine")).path == str(cinema.folder / "mine-2.mp4")


async def test_a_dead_link_is_replaced_by_a_fresh_one(cinema: Cinema) -> None:
    """The task is read once more, and its new link is used."""
    cinema.link_to(LINK, f"{LINK}&again")
    cinema.host.script.append(status(403))
    reads = cinema.world.books.reads
    await cinema.save()
    assert cinema.world.books.reads == reads + 2
    assert [request.url.query for request in cinema.host.requests] == [
        b"signature=secret",
        b"signature=secret&again",
    ]
    assert files(cinema.folder).keys() == {f"{cinema.task_id}.mp4"}


@pytest.mark.parametrize("fresh", [LINK, f"{LINK}&again"], ids=["no other", "dead, too"])
@pytest.mark.parametrize(
    ("hours", "advice"), [(1, "again in a few minutes"), (25, "generate_video with new_take")]
)
async def test_a_link_that_is_dead_for_good_is_said(
    cinema: Cinema, fresh: str, hours: float, advice: str
) -> None:
    """Nobody is sent to pay again before the link's time is over."""
    cinema.link_to(LINK, LINK, fresh)
    await cinema.studio.look(cinema.task_id)
    await anyio.sleep(hours * 3600)
    cinema.host.script += [status(403)] * 2
    with pytest.raises(LinkDead, match="HTTP 403") as caught:
        await cinema.save()
    assert advice in caught.value.next_step
    assert len(cinema.host.requests) == (1 if fresh == LINK else 2)
    assert files(cinema.folder) == {}


async def test_a_dead_link_is_said_when_the_task_cannot_be_read_any_more(cinema: Cinema) -> None:
    """It is the link that matters, not the failing look for another."""
    cinema.host.script.append(status(410))
    cinema.world.sandbox.faults.clear()
    cinema.world.sandbox.faults.add(
        Fault("task", "patch", body={"results": [LINK]}), Fault("task", "status", times=None, status=401)
    )
    with pytest.raises(LinkDead, match="HTTP 410"):
        await cinema.save()


async def test_without_a_ledger_the_video_is_saved_all_the_same(
    cinema: Cinema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is what counts."""

    async def fail(*args: object) -> None:
        raise LedgerError("The disk of the ledger is full.")

    monkeypatch.setattr(SqliteLedger, "saved", fail)
    await cinema.save("mine")
    assert files(cinema.folder) == {"mine.mp4": FILM}


@pytest.mark.parametrize("failures", [0, 1])
async def test_saves_at_the_same_time_download_once(cinema: Cinema, failures: int) -> None:
    """Who comes later waits and gets the same file; also while an earlier one fails."""
    cinema.host.every = 0.3
    cinema.host.script += [page("text/html", b"busy")] * failures
    found: list[Saved] = []
    failed: list[VideoError] = []

    async def one(after: float) -> None:
        await anyio.sleep(after)
        try:
            found.append(await cinema.save())
        except VideoError as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number * 0.5)
    assert len(failed) == failures
    assert len(found) == 8 - failures
    assert len(set(found)) == 1
    assert len(cinema.host.requests) == 1 + failures
    assert files(cinema.folder) == {f"{cinema.task_id}.mp4": FILM}


async def test_saves_that_queue_behind_a_failure_download_once(cinema: Cinema) -> None:
    """While the second downloads, a third that comes anew does not begin one of its own."""
    cinema.host.every = 0.3
    cinema.host.script.append(page("text/html", b"busy" * 5000))
    async with anyio.create_task_group() as group:

        async def fails() -> None:
            with pytest.raises(VideoError):
                await cinema.save()

        group.start_soon(fails)
        group.start_soon(cinema.save)
        await anyio.sleep(1)
        assert len(cinema.host.requests) == 2
        group.start_soon(cinema.save)
    assert len(cinema.host.requests) == 2
    assert len(files(cinema.folder)) == 1


async def test_different_tasks_are_saved_side_by_side(cinema: Cinema) -> None:
    """One slow video holds no other one up."""
    wish = Wish.model_validate(WISH | {"prompt": "The dog barks."})
    cinema.world.sandbox.faults.clear()
    other = (await cinema.studio.generate(wish)).task.id
    await anyio.sleep(130)
    cinema.link_to(LINK)
    cinema.host.every = 3
    start = now()
    async with anyio.create_task_group() as group:
        group.start_soon(cinema.save)
        group.start_soon(cinema.studio.save, other, None, silent)
    assert now() - start < 80
    assert files(cinema.folder).keys() == {f"{cinema.task_id}.mp4", f"{other}.mp4"}


async def test_who_gives_up_waiting_does_not_stop_the_saving(cinema: Cinema) -> None:
    """In the middle there is no video yet; a while later there is."""
    cinema.host.every = 3
    with anyio.move_on_after(20):
        await cinema.save("mine")
    assert "mine.mp4" not in files(cinema.folder)
    await anyio.sleep(60)
    assert files(cinema.folder) == {"mine.mp4": FILM}
    assert len(cinema.host.requests) == 1
    await cinema.save("mine")
    assert len(cinema.host.requests) == 1


async def test_a_program_that_ends_leaves_no_half_file(world: World) -> None:
    """Neither under a final name nor under another."""
    host = Host(every=3)
    put_behind(world, host)
    async with world.studio() as studio:
        task = (await studio.generate(Wish.model_validate(WISH))).task
        await anyio.sleep(130)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        with anyio.move_on_after(20):
            await studio.save(task.id, None, silent)
    assert host.sent > 5 * PIECE
    assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {}


@pytest.mark.parametrize(
    ("body", "said", "advice"),
    [
        ({"status": "processing", "results": []}, "the task is processing", "wait_for_task"),
        ({"status": "failed", "error": {"code": "x", "message": "y"}}, "The task failed", ""),
        ({"status": "cancelled"}, "The task cancelled", ""),
        ({"status": "completed", "results": []}, "There is no video yet", "wait_for_task"),
    ],
)
async def test_without_a_video_there_is_nothing_to_save(
    cinema: Cinema, body: dict[str, object], said: str, advice: str
) -> None:
    """The error says why, and what to do instead."""
    cinema.world.sandbox.faults.clear()
    cinema.world.sandbox.faults.add(Fault("task", "patch", times=None, body=body))
    with pytest.raises(VideoError, match=said) as caught:
        await cinema.save()
    assert advice in caught.value.next_step
    assert cinema.host.requests == []


async def test_a_private_result_link_needs_the_setting(cinema: Cinema) -> None:
    """It is refused unless private networks are allowed."""
    cinema.link_to(f"https://{HOST}.local/film.mp4")
    with pytest.raises(VideoError, match="private network") as caught:
        await cinema.save()
    assert "WAN_MCP_ALLOW_PRIVATE_NETWORK" in caught.value.next_step
    assert files(cinema.folder) == {}
    async with cinema.world.studio(WAN_MCP_ALLOW_PRIVATE_NETWORK="1") as studio:
        cinema.link_to("http://127.0.0.1/files/film.mp4")
        with pytest.raises(LinkDead):  # it was followed: the sandbox has nothing there
            await studio.save(cinema.task_id, None, silent)


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def finished(client: Client) -> str:
    """The id of a task that has just been finished."""
    asked = (await call(client, "generate_video", **WISH)).structured_content
    assert asked is not None
    await anyio.sleep(130)
    return str(asked["id"])


async def test_the_answer_tells_everything_about_a_real_video(tmp_path: Path) -> None:
    """Path, size, seconds, sides, digest, the end of its link and its file: URI, of a film of the sandbox."""
    world = World(tmp_path, seconds=120, film=None)
    async with world.client() as client:
        wished = (await call(client, "generate_video", **WISH, quality="480p")).structured_content
        assert wished is not None
        await anyio.sleep(130)
        seen = (await call(client, "get_task", task_id=wished["id"])).structured_content
        result = await call(client, "save_video", task_id=wished["id"], filename="Mein Kätzchen #1.MP4")
    assert not result.is_error, text(result)
    view = result.structured_content
    assert view is not None
    assert seen is not None
    path = tmp_path / "videos" / "Mein Kätzchen #1.mp4"
    content = path.read_bytes()
    assert view["saved_to"] == str(path)
    assert view["file"] == {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "seconds": 5.0,
        "width": 740,
        "height": 554,
    }
    assert view["expires_at"] == seen["expires_at"]
    assert view["status"] == "completed"
    assert str(path) in view["next"]
    for fact in (str(path), view["file"]["sha256"], str(len(content)), "740", "554", view["expires_at"]):
        assert fact in text(result)
    links = [block for block in result.content if isinstance(block, ResourceLink)]
    assert [(link.uri, link.name, link.mime_type) for link in links] == [
        (path.as_uri(), path.name, "video/mp4"),
        (seen["results"][0], f"{wished['id']}.mp4", "video/mp4"),
    ]
    assert [call.authorized for call in world.books.calls if call.at == "result"] == [None]
    assert KEY not in str(world.books.calls)


@ERAS
async def test_a_client_sees_the_saving_progress(world: World, mode: str) -> None:
    """Bytes of bytes, only rising, with words."""
    host = Host(every=1)
    host.script.append(host.cut(30_000))
    put_behind(world, host)
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with world.client(mode) as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        await client.call_tool("save_video", {"task_id": task_id}, progress_callback=note)
    amounts = [progress for progress, _, _ in told]
    assert len(amounts) > 5
    assert amounts == sorted(set(amounts))
    assert told[-1] == (len(FILM), len(FILM), "0.1 MB")


async def test_a_cancelled_call_is_saved_all_the_same(world: World) -> None:
    """The client that asked for progress is gone, and the download does not mind."""
    host = Host(every=3)
    put_behind(world, host)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await checkpoint()

    async with world.client() as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        with anyio.move_on_after(10):
            await client.call_tool("save_video", {"task_id": task_id}, progress_callback=note)
        assert not list(Path(world.environ["WAN_MCP_OUTPUT_DIR"]).glob("*.mp4"))
        await anyio.sleep(60)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {f"{task_id}.mp4": FILM}


@pytest.mark.parametrize("kind", ["html", "garbage", "empty", "huge", "body", "lost", "dropped", "cut"])
async def test_a_failed_save_is_an_error_result_in_words(world: World, kind: str) -> None:
    """Nothing was charged, nothing is left behind, and afterwards it works."""
    details: dict[str, Any] = {"body": {"error": "expired"}} if kind == "body" else {}
    async with world.client() as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("result", kind, times=None, **details))
        failed = await call(client, "save_video", task_id=task_id)
        assert failed.is_error
        assert "Nothing was charged." in text(failed)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {}
        world.sandbox.faults.clear()
        assert not (await call(client, "save_video", task_id=task_id)).is_error


# Saving by itself


async def wait(client: Client, task_id: str) -> dict[str, Any]:
    result = await call(client, "wait_for_task", task_id=task_id)
    view: dict[str, Any] | None = result.structured_content
    assert not result.is_error, text(result)
    assert view is not None
    assert view["status"] == "completed"
    return view


@ERAS
async def test_a_wait_that_sees_the_end_saves_by_itself(world: World, mode: str) -> None:
    """Where the setting says so; and only a wait, not a look."""
    async with world.client(mode, WAN_MCP_AUTOSAVE="1") as client:
        task_id = await finished(client)
        assert "saved_to" not in ((await call(client, "get_task", task_id=task_id)).structured_content or {})
        done = await wait(client, task_id)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])).keys() == {Path(done["saved_to"]).name}
        assert "is saved" in done["next"]
        assert (await wait(client, task_id))["saved_to"] == done["saved_to"]
    assert sum(call.at == "result" for call in world.books.calls) == 1


async def test_nothing_is_saved_by_itself_unless_it_was_asked_for(world: World) -> None:
    """The default."""
    async with world.client() as client:
        assert "saved_to" not in await wait(client, await finished(client))
    assert not Path(world.environ["WAN_MCP_OUTPUT_DIR"]).exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("result", "status", times=None, status=404),
        Fault("result", "status", times=None, status=500),
        Fault("result", "html", times=None),
        Fault("result", "empty", times=None),
        Fault("result", "garbage", times=None),
        Fault("result", "redirect", times=None, location="http://10.0.0.1/x"),
        Fault("result", "dropped", times=None),
        None,
    ],
    ids=lambda fault: fault.kind if fault else "disk",
)
async def test_a_failed_save_does_not_spoil_the_finished_task(world: World, fault: Fault | None) -> None:
    """Completed, with its link, what went wrong with the saving, and what to do."""
    folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])
    if fault is None:
        folder.write_bytes(b"")
    else:
        world.sandbox.faults.add(fault)
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        done = await wait(client, await finished(client))
    assert done["results"]
    assert "saved_to" not in done
    assert "could not be saved by itself" in done["next"]
    assert "save_video" in done["next"]
    assert files(folder) == {}


async def test_a_slow_save_does_not_hold_the_wait_up(world: World) -> None:
    """The answer comes within seconds, and the video a while later."""
    host = Host(every=3)
    put_behind(world, host)
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        start = now()
        done = await wait(client, task_id)
        assert now() - start < 12
        assert "still being saved" in done["next"]
        await anyio.sleep(60)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {f"{task_id}.mp4": FILM}
        assert (await wait(client, task_id))["saved_to"].endswith(f"{task_id}.mp4")
    assert len(host.requests) == 1


# Real sockets


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["cut", "lost", "dropped"])
async def test_a_connection_that_breaks_is_taken_up_again(
    tmp_path: Path, kind: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real server, a real client, and a connection that is torn down in the middle."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sandbox = Sandbox(seconds=0, key=KEY, fetch=fetch, film=lambda picture, seconds, quality: OTHER)
    async with running(sandbox) as url:
        settings = Settings.load(
            {
                "EVOLINK_API_KEY": KEY,
                "EVOLINK_BASE_URL": url,
                "WAN_MCP_DATA_DIR": str(tmp_path / "data"),
                "WAN_MCP_OUTPUT_DIR": str(tmp_path / "videos"),
                "WAN_MCP_IMAGE_CHECK": "off",
                "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
            }
        )
        async with Studio(settings) as studio:
            task = (await studio.generate(Wish.model_validate(WISH))).task
            sandbox.faults.add(Fault("result", kind))
            report = await studio.save(task.id, "film", silent)
    assert report.saved is not None
    assert files(tmp_path / "videos") == {"film.mp4": OTHER}
    results = [call for call in sandbox.books.calls if call.at == "result"]
    assert [call.status for call in results] == {
        "cut": [200, 206],
        "lost": [None, 200],
        "dropped": [None, 200],
    }[kind]
    assert [call.authorized for call in results] == [None, None]
