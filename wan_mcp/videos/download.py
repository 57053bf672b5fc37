"""The result on disk: fetched, looked at, and only then put in its place."""

import errno
import hashlib
import math
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import httpx2

from wan_mcp.errors import AddressRefused, FetchFailed, LinkDead, VideoError, WanError
from wan_mcp.ledger import Saved
from wan_mcp.videos import mp4
from wan_mcp.videos.filenames import safe_stem

MAX_SIZE = 1024**3
"""Bytes of a video at most; real ones have a few million."""
ATTEMPTS = 4
"""How many attempts in a row may bring nothing new before a download is given up."""
LONGEST_FETCH = 900.0
"""Seconds for one download in all."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts at most, also where the host asks for more."""
SPARE = 16 * 1024**2
"""Bytes that must stay free on the disk."""
PARTIAL = ".wan-mcp-{}.part"
"""The name of a file that is not whole yet."""
ABANDONED = 24 * 3600.0
"""Seconds after which such a file is removed: its process was killed."""

Stream = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx2.Response]]
"""Opens a web address, checked as strictly as a picture's, with these headers and no key."""
Notice = Callable[[int, int | None], Awaitable[None]]
"""Told how many bytes have come, and how many there are, where that is known; the first only rises."""


class _Again(Exception):
    """Raised when an answer is of no use, but the next one may be."""


@dataclass
class _Download:
    """A download under way: what has come so far, and what it was of."""

    file: BinaryIO
    notice: Notice
    digest: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    length: int | None = None
    tag: str | None = None
    """The version that the first answer was of; only of that may the rest be."""
    head: bytes = b""
    most: int = 0
    """What had come at best, where it had to begin anew."""
    told: int = 0
    told_at: float = -math.inf
    trouble: str = ""
    """What ended the last attempt."""
    pause: float = 0.0
    """Seconds that the host asked to wait."""


async def save(link: str, folder: Path, name: str, stream: Stream, notice: Notice) -> Saved:
    """Fetch a video into ``folder``; under its final name it appears whole or not at all.

    Args:
        link: where the video is.
        folder: where it goes; made if it is not there.
        name: what it is to be called; made safe, gets ``.mp4``, and a number where it is taken.
        stream: opens the link.
        notice: told how far it is.

    Raises:
        LinkDead: when the link answers no more.
        VideoError: when it must not be followed or leads to no video, or the disk does not take it.
    """
    with _disk_errors(folder):
        await anyio.to_thread.run_sync(_prepare, folder)
        partial = folder / PARTIAL.format(secrets.token_hex(8))
        try:
            download = await _fetch(link, partial, stream, notice)
            return await anyio.to_thread.run_sync(_place, download, partial, folder, safe_stem(name))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(partial).unlink(missing_ok=True)


async def _fetch(link: str, partial: Path, stream: Stream, notice: Notice) -> _Download:
    """Download, and go on where it broke off."""
    with partial.open("x+b") as file:
        download = _Download(file, notice)
        try:
            with anyio.fail_after(LONGEST_FETCH):
                await _receive_all(link, download, stream)
        except TimeoutError as error:
            raise VideoError("The download took too long.", next_step="Call save_video again.") from error
        await anyio.to_thread.run_sync(os.fsync, file.fileno())
        return download


async def _receive_all(link: str, download: _Download, stream: Stream) -> None:
    attempts = idle = 0
    while True:
        best = download.most
        if await _receive(link, download, stream) and await anyio.to_thread.run_sync(_is_whole, download):
            return
        attempts += 1
        idle = 0 if download.most > best else idle + 1
        if idle == ATTEMPTS:
            raise VideoError(
                f"The video could not be downloaded in {attempts} attempts; {download.received:,} bytes came"
                f" ({download.trouble}).",
                next_step="Call save_video again; nothing is lost while the link lives.",
            )
        await anyio.sleep(min(max(download.pause, 0.5 * attempts), LONGEST_PAUSE))


async def _receive(link: str, download: _Download, stream: Stream) -> bool:
    """One attempt: all of it, or the rest; whether the end was reached. What breaks is no error here."""
    headers = {"Accept": "video/mp4, video/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
    if download.received and download.tag:
        headers |= {"Range": f"bytes={download.received}-", "If-Range": download.tag}
    download.trouble, download.pause = "the answer ended early", 0.0
    try:
        async with stream(link, headers) as response:
            _begin(response, download)
            async for chunk in response.aiter_raw():
                await _take(chunk, download)
                await _tell(download)
    except (httpx2.HTTPError, FetchFailed, _Again) as error:
        download.trouble = str(error) or type(error).__name__
        return download.received == download.length
    except AddressRefused as error:
        raise VideoError(
            f"The video's link is not followed: {error.message}.",
            next_step="If that is a network of your own, set WAN_MCP_ALLOW_PRIVATE_NETWORK=1.",
        ) from error
    return download.received > 0 and download.length in (None, download.received)


def _is_whole(download: _Download) -> bool:
    """Whether the file itself says so: not every host announces a length, or the right one."""
    whole = mp4.is_whole(download.file)
    download.file.seek(0, os.SEEK_END)
    download.trouble = "the file breaks off"
    return whole


def _begin(response: httpx2.Response, download: _Download) -> None:
    """Look at the answer before its body: is it the video, and from which byte on?"""
    status, kind = response.status_code, response.headers.get("content-type", "").lower()
    if status == 206 and _is_the_rest(response, download):
        return
    if status in (206, 416):
        download.tag = None  # so that the next attempt asks for all of it
        raise _Again(f"HTTP {status}, which does not go on where it broke off")
    if status >= 500 or status in (408, 425, 429):
        wanted = response.headers.get("retry-after", "")
        download.pause = float(wanted) if wanted.isdecimal() else 0.0
        raise _Again(f"HTTP {status}")
    if 400 <= status < 500:
        raise LinkDead(f"The video's link answers HTTP {status}; such links live 24 hours.")
    if status != 200:
        raise VideoError(f"The video's link answers HTTP {status}.", next_step="Call save_video again later.")
    if kind.startswith(("text/", "application/json", "image/")):
        raise VideoError(f"The video's link answers with {kind.split(';')[0]}, not with a video.")
    _restart(response, download)


def _restart(response: httpx2.Response, download: _Download) -> None:
    """From the first byte: a first attempt, or a host that cannot go on in the middle."""
    download.file.seek(0)
    download.file.truncate()
    download.digest, download.received, download.head = hashlib.sha256(), 0, b""
    download.tag = _tag(response)
    length = response.headers.get("content-length", "")
    download.length = int(length) if length.isdecimal() and len(length) < 19 else None
    _check_size(download.length or 0)
    free = shutil.disk_usage(Path(download.file.name).parent).free
    if free < (download.length or 0) + SPARE:
        raise VideoError(
            f"The disk has {free:,} bytes left, too few for the video.",
            next_step="Free some room, or set WAN_MCP_OUTPUT_DIR to another disk.",
        )


def _tag(response: httpx2.Response) -> str | None:
    tag: str = response.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")


def _is_the_rest(response: httpx2.Response, download: _Download) -> bool:
    """Whether an answer goes on where the last one broke off, in the same version of the file."""
    unit, _, span = response.headers.get("content-range", "").partition(" ")
    part, _, total = span.partition("/")
    return (
        unit.lower() == "bytes"
        and part.partition("-")[0] == str(download.received)
        and (download.length is None or total in ("*", str(download.length)))
        and _tag(response) == download.tag is not None
    )


async def _take(chunk: bytes, download: _Download) -> None:
    if len(download.head) < 12:
        download.head = (download.head + chunk)[:12]
        if len(download.head) >= 8 and not mp4.is_mp4(download.head):
            raise VideoError("The video's link answers with something that is not an MP4 file.")
    download.received += len(chunk)
    download.most = max(download.most, download.received)
    _check_size(download.received)
    if download.length is not None and download.received > download.length:
        raise VideoError("The video's link sends more bytes than it announced.")
    download.digest.update(chunk)
    await anyio.to_thread.run_sync(download.file.write, chunk)


async def _tell(download: _Download) -> None:
    """At once, then every second and at the end; never less than was told before."""
    due = anyio.current_time() >= download.told_at + 1 or download.received == download.length
    if due and download.received > download.told:
        download.told, download.told_at = download.received, anyio.current_time()
        await download.notice(download.received, download.length)


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise VideoError(f"The video is over {MAX_SIZE:,} bytes, which no real one is.")


def _prepare(folder: Path) -> None:
    """Make the folder, and remove what processes left in it that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(PARTIAL.format("*")):
        with suppress(OSError):
            if path.lstat().st_mtime < time.time() - ABANDONED:
                path.unlink()


def _place(download: _Download, partial: Path, folder: Path, stem: str) -> Saved:
    """Give the file its name. It never replaces another: a number is added where the name is taken."""
    with partial.open("rb") as file:
        if not mp4.is_mp4(file.read(12)):
            raise VideoError("The video's link answers with something that is not an MP4 file.")
        facts = mp4.read_facts(file)
    target = next(path for path in _names(folder, stem) if _take_name(partial, path))
    _sync_folder(folder)
    return Saved(
        path=str(target),
        size=download.received,
        sha256=download.digest.hexdigest(),
        seconds=facts.seconds,
        width=facts.width,
        height=facts.height,
    )


def _names(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}.mp4"
    for number in range(2, 10_000):
        yield folder / f"{stem}-{number}.mp4"
    raise VideoError("There are too many videos of this name.", next_step="Give another filename.")


def _take_name(partial: Path, target: Path) -> bool:
    """Move to ``target`` unless there is something; at once, so that two cannot take the same name."""
    try:
        os.link(partial, target)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            target.open("xb").close()
        except FileExistsError:
            return False
        try:
            partial.replace(target)
        except OSError:
            target.unlink()
            raise
        return True


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the file system can; the file itself is safe already."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except WanError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise VideoError(
            f"The video cannot be saved in {folder} ({'the disk is full' if full else error.strerror}).",
            next_step="Free some room, or set WAN_MCP_OUTPUT_DIR to another disk."
            if full
            else "Set WAN_MCP_OUTPUT_DIR to a folder that can be written.",
        ) from error


async def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, or None where there is none."""

    def read() -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    return await anyio.to_thread.run_sync(read)
