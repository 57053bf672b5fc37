"""Downloading a result: resumed where it breaks off, checked, and only then given its name."""

import hashlib
import math
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import httpx2

from wan_mcp.errors import AddressRefused, FetchFailed, LinkDead, VideoError
from wan_mcp.ledger import Saved
from wan_mcp.videos import files, mp4
from wan_mcp.videos.filenames import safe_stem

MAX_SIZE = 1024**3
"""Bytes of a video at most; real ones have a few million."""
ATTEMPTS = 4
"""Attempts in a row that may bring nothing new before a download is given up."""
MAX_SECONDS = 900.0
"""Seconds for one download in all."""
MAX_PAUSE = 30.0
"""Seconds between two attempts at most, also where the host asks for more."""
SPARE = 16 * 1024**2
"""Bytes that must stay free on the disk."""

Stream = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx2.Response]]
"""Opens a web address with these headers, checked as ``PublicFetcher`` does, and without a key."""
OnProgress = Callable[[int, int | None], Awaitable[None]]
"""Told how many bytes have arrived (only rising), and how many there are in all, where that is known."""


class _TryAgain(Exception):
    """Raised when an answer is useless, but the next one may not be."""


@dataclass
class _Download:
    """A download under way: what has arrived so far, and of which version."""

    file: BinaryIO
    on_progress: OnProgress
    digest: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    length: int | None = None
    tag: str | None = None
    """The version of the first answer; the rest must be of the same one."""
    head: bytes = b""
    best: int = 0
    """Bytes of the best attempt, where it had to begin anew."""
    reported: int = 0
    reported_at: float = -math.inf
    failure: str = ""
    """What ended the last attempt."""
    pause: float = 0.0
    """Seconds that the host asked to wait."""


async def save(link: str, folder: Path, name: str, stream: Stream, on_progress: OnProgress) -> Saved:
    """Download a video into ``folder``; under its final name it appears whole or not at all.

    Args:
        link: where the video is.
        folder: where it goes; created if it does not exist.
        name: what to call it; made safe, gets ``.mp4``, and a number where the name is taken.
        stream: opens the link.
        on_progress: told how far it is.

    Raises:
        LinkDead: when the link does not work any more.
        VideoError: when it must not be followed, leads to no video, or the disk fails.
    """
    with files.disk_errors(folder):
        await anyio.to_thread.run_sync(files.prepare, folder)
        partial = folder / files.PARTIAL.format(secrets.token_hex(8))
        try:
            download = await _fetch(link, partial, stream, on_progress)
            return await anyio.to_thread.run_sync(_place, download, partial, folder, safe_stem(name))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Path(partial).unlink(missing_ok=True)


async def _fetch(link: str, partial: Path, stream: Stream, on_progress: OnProgress) -> _Download:
    """Download, and resume where it breaks off."""
    with partial.open("x+b") as file:
        download = _Download(file, on_progress)
        try:
            with anyio.fail_after(MAX_SECONDS):
                await _receive_all(link, download, stream)
        except TimeoutError as error:
            raise VideoError("The download took too long.", next_step="Call save_video again.") from error
        await anyio.to_thread.run_sync(os.fsync, file.fileno())
        return download


async def _receive_all(link: str, download: _Download, stream: Stream) -> None:
    attempts = idle = 0
    while True:
        best = download.best
        if await _receive(link, download, stream) and await anyio.to_thread.run_sync(_is_whole, download):
            return
        attempts += 1
        idle = 0 if download.best > best else idle + 1
        if idle == ATTEMPTS:
            raise VideoError(
                f"The video could not be downloaded in {attempts} attempts; {download.received:,} bytes"
                f" arrived"
                f" ({download.failure}).",
                next_step="Call save_video again; nothing is lost while the link lives.",
            )
        await anyio.sleep(min(max(download.pause, 0.5 * attempts), MAX_PAUSE))


async def _receive(link: str, download: _Download, stream: Stream) -> bool:
    """One attempt at all of it, or at the rest; whether the end was reached. What breaks is no error here."""
    headers = {"Accept": "video/mp4, video/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
    if download.received and download.tag:
        headers |= {"Range": f"bytes={download.received}-", "If-Range": download.tag}
    download.failure, download.pause = "the answer ended early", 0.0
    try:
        async with stream(link, headers) as response:
            _begin(response, download)
            async for chunk in response.aiter_raw():
                await _take(chunk, download)
                await _report(download)
    except (httpx2.HTTPError, FetchFailed, _TryAgain) as error:
        download.failure = str(error) or type(error).__name__
        return download.received == download.length
    except AddressRefused as error:
        raise VideoError(
            f"The video's link is not followed: {error.message}.",
            next_step="If that is a network of your own, set WAN_MCP_ALLOW_PRIVATE_NETWORK=1.",
        ) from error
    return download.received > 0 and download.length in (None, download.received)


def _is_whole(download: _Download) -> bool:
    """Whether the file itself is whole: not every host announces a length, or the right one."""
    whole = mp4.is_whole(download.file)
    download.file.seek(0, os.SEEK_END)
    download.failure = "the file breaks off"
    return whole


def _begin(response: httpx2.Response, download: _Download) -> None:
    """Check the answer before its body: is it the video, and from which byte on?"""
    status, kind = response.status_code, response.headers.get("content-type", "").lower()
    if status == 206 and _is_the_rest(response, download):
        return
    if status in (206, 416):
        download.tag = None  # so that the next attempt requests all of it
        raise _TryAgain(f"HTTP {status}, which does not continue where it broke off")
    if status >= 500 or status in (408, 425, 429):
        wanted = response.headers.get("retry-after", "")
        download.pause = float(wanted) if wanted.isdecimal() else 0.0
        raise _TryAgain(f"HTTP {status}")
    if 400 <= status < 500:
        raise LinkDead(f"The video's link answers HTTP {status}; such links live 24 hours.")
    if status != 200:
        raise VideoError(f"The video's link answers HTTP {status}.", next_step="Call save_video again later.")
    if kind.startswith(("text/", "application/json", "image/")):
        raise VideoError(f"The video's link answers with {kind.split(';')[0]}, not with a video.")
    _restart(response, download)


def _restart(response: httpx2.Response, download: _Download) -> None:
    """Begin at the first byte: a first attempt, or a host that cannot resume."""
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
    """Whether an answer continues where the last one broke off, in the same version of the file."""
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
    download.best = max(download.best, download.received)
    _check_size(download.received)
    if download.length is not None and download.received > download.length:
        raise VideoError("The video's link sends more bytes than it announced.")
    download.digest.update(chunk)
    await anyio.to_thread.run_sync(download.file.write, chunk)


async def _report(download: _Download) -> None:
    """Report progress at once, then every second and at the end; never less than before."""
    due = anyio.current_time() >= download.reported_at + 1 or download.received == download.length
    if due and download.received > download.reported:
        download.reported, download.reported_at = download.received, anyio.current_time()
        await download.on_progress(download.received, download.length)


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise VideoError(f"The video has more than {MAX_SIZE:,} bytes, which no real one has.")


def _place(download: _Download, partial: Path, folder: Path, stem: str) -> Saved:
    """Check the file once more, and give it its name."""
    with partial.open("rb") as file:
        if not mp4.is_mp4(file.read(12)):
            raise VideoError("The video's link answers with something that is not an MP4 file.")
        facts = mp4.read_facts(file)
    target = files.place(partial, folder, stem)
    return Saved(
        path=str(target),
        size=download.received,
        sha256=download.digest.hexdigest(),
        seconds=facts.seconds,
        width=facts.width,
        height=facts.height,
    )
