"""The result on disk: fetched, looked at, and only then put in its place."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import httpx2

from wan_mcp import mp4
from wan_mcp.errors import LinkDead, VideoError, WanError
from wan_mcp.filenames import safe_stem
from wan_mcp.images.safety import FetchFailed
from wan_mcp.ledger import Saved

MAX_SIZE = 1024**3
"""Bytes of a video at most; real ones have a few million."""
ATTEMPTS = 4
"""How often a download that breaks is taken up again."""
LONGEST_FETCH = 900.0
"""Seconds for one download in all."""
SPARE = 16 * 1024**2
"""Bytes that must stay free on the disk."""
BLOCK = 256 * 1024

Stream = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx2.Response]]
"""Opens a web address, checked as strictly as a picture's, with these headers and no key."""
Notice = Callable[[int, int | None], Awaitable[None]]
"""Told how many bytes have come, and how many there are, where that is known."""


@dataclass
class _Download:
    """A download under way: what has come so far, and what it was of."""

    file: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    length: int | None = None
    tag: str | None = None
    """The version that the first answer was of; only of that may the rest be."""
    head: bytes = b""
    trouble: str = ""
    """What ended the last attempt."""

    @property
    def is_whole(self) -> bool:
        return self.received > 0 and (self.length is None or self.received == self.length)


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
        VideoError: when it does not lead to a video, or the disk does not take it.
        WanError: when the link must not be connected to.
    """
    with _disk_errors(folder):
        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        partial = folder / f".{secrets.token_hex(8)}.part"
        try:
            download = await _fetch(link, partial, stream, notice)
            return await anyio.to_thread.run_sync(_place, download, partial, folder, safe_stem(name))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(partial).unlink(missing_ok=True)


async def _fetch(link: str, partial: Path, stream: Stream, notice: Notice) -> _Download:
    """Download, and go on where it broke off."""
    with partial.open("xb") as file:
        download = _Download(file)
        try:
            with anyio.fail_after(LONGEST_FETCH):
                for attempt in range(1, ATTEMPTS + 1):
                    await _receive(link, download, stream, notice)
                    if download.is_whole:
                        break
                    await anyio.sleep(0.5 * attempt)
        except TimeoutError as error:
            raise VideoError("The download took too long.", next_step="Call save_video again.") from error
        if not download.is_whole:
            raise VideoError(
                f"The video could not be downloaded in {ATTEMPTS} attempts; {download.received:,} bytes came"
                f" ({download.trouble}).",
                next_step="Call save_video again; nothing is lost while the link lives.",
            )
        file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.fileno())
        return download


async def _receive(link: str, download: _Download, stream: Stream, notice: Notice) -> None:
    """One attempt: all of it, or the rest. A connection that breaks is no error here."""
    headers = {"Accept": "video/mp4, video/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
    if download.received and download.tag:
        headers |= {"Range": f"bytes={download.received}-", "If-Range": download.tag}
    try:
        async with stream(link, headers) as response:
            _begin(response, download)
            async for chunk in response.aiter_raw(BLOCK):
                await _take(chunk, download)
                await notice(download.received, download.length)
    except (httpx2.HTTPError, FetchFailed) as error:
        download.trouble = str(error) or type(error).__name__


def _begin(response: httpx2.Response, download: _Download) -> None:
    """Look at the answer before its body: is it the video, and from which byte on?"""
    status, kind = response.status_code, response.headers.get("content-type", "").lower()
    if status in (401, 403, 404, 410):
        raise LinkDead(f"The video's link answers HTTP {status}: it lives 24 hours.")
    if status == 206 and _first_byte(response) == download.received > 0:
        return
    if status == 416 or status >= 500 or status == 429:
        raise httpx2.RemoteProtocolError(f"HTTP {status}")
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
    tag = response.headers.get("etag", "")
    download.tag = tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")
    length = response.headers.get("content-length", "")
    download.length = int(length) if length.isdecimal() and len(length) < 19 else None
    _check_size(download.length or 0)
    free = shutil.disk_usage(Path(download.file.name).parent).free
    if free < (download.length or 0) + SPARE:
        raise VideoError(
            f"The disk has {free:,} bytes left, too few for the video.",
            next_step="Free some room, or set WAN_MCP_OUTPUT_DIR to another disk.",
        )


def _first_byte(response: httpx2.Response) -> int | None:
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


async def _take(chunk: bytes, download: _Download) -> None:
    if len(download.head) < 12:
        download.head = (download.head + chunk)[:12]
        if len(download.head) >= 8 and not mp4.is_mp4(download.head):
            raise VideoError("The video's link answers with something that is not an MP4 file.")
    download.received += len(chunk)
    _check_size(download.received)
    if download.length is not None and download.received > download.length:
        raise VideoError("The video's link sends more bytes than it announced.")
    download.digest.update(chunk)
    await anyio.to_thread.run_sync(download.file.write, chunk)


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise VideoError(f"The video is over {MAX_SIZE:,} bytes, which no real one is.")


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
        partial.replace(target)
        return True


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
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
            next_step="Free some room."
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
