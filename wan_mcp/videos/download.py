"""Downloading a result: resumed where it breaks off, examined, and only then given its name."""

import hashlib
import math
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import httpx2

from wan_mcp.errors import AddressRefused, DiskError, FetchFailed, LinkDead, LinkFailed
from wan_mcp.ledger import Saved
from wan_mcp.videos import encodings, files, formats
from wan_mcp.videos.filenames import safe_stem

MAX_SIZE = 1024**3
"""Bytes of a video at most; real ones have a few million."""
BLOCK = 256 * 1024
"""Bytes that are written at once: each switch to another thread takes time."""
ATTEMPTS = 4
"""Attempts in a row that may bring nothing new before a download is given up."""
MAX_SECONDS = 900.0
"""Seconds for one download in all."""
MAX_PAUSE = 30.0
"""Seconds between two attempts at most, also where the host asks for more."""
AGAIN = "Try again later; nothing is lost while the link works."
SPARE = 16 * 1024**2
"""Bytes that must stay free on the disk."""

Stream = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[httpx2.Response]]
"""Opens a web address with these headers, after the checks of ``PublicFetcher``, and without a key."""
OnProgress = Callable[[int, int | None], Awaitable[None]]
"""Receives how many bytes have arrived, which only rises, and how many there are in all, if that is known."""

CONTENT_RANGE = re.compile(r" *bytes +(\d{1,18})-\d* */ *(?:(\d{1,18})|\*)? *", re.IGNORECASE)


class _TryAgain(Exception):
    """Raised when an answer cannot be used, but the next one may be."""


@dataclass
class _Download:
    """A download under way: what has arrived so far, and of which version."""

    path: Path
    file: BinaryIO
    on_progress: OnProgress
    block: bytearray = field(default_factory=bytearray)
    """What has arrived and is not written yet."""
    digest: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    length: int | None = None
    coding: str = ""
    """How the host encoded it, although it was asked not to."""
    tag: str | None = None
    """The version of the first answer; the rest must have the same one."""
    is_examined: bool = False
    """Whether the first bytes may be those of a video."""
    best: int = 0
    """Bytes of the best attempt, since a later one may begin anew."""
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
        name: what to call it. It is made safe, and gets the ending of its format, and a number where another
            file has the name.
        stream: opens the link.
        on_progress: receives the progress.

    Raises:
        LinkDead: when the link no longer works.
        LinkFailed: when it does not deliver a whole video, or must not be followed.
        VideoError: when the disk fails.
    """
    with files.disk_errors(folder):
        await anyio.to_thread.run_sync(files.prepare, folder)
        partial, decoded = files.partial_path(folder), files.partial_path(folder)
        try:
            with partial.open("x+b") as file:
                download = _Download(partial, file, on_progress)
                whole, video = await _fetch(link, download, stream, decoded)
            digest = download.digest.hexdigest()
            return await anyio.to_thread.run_sync(
                files.keep, whole, video, folder, safe_stem(name), digest if whole == partial else None
            )
        finally:
            with anyio.CancelScope(shield=True):
                for path in (partial, decoded):
                    await anyio.Path(path).unlink(missing_ok=True)


async def _fetch(link: str, download: _Download, stream: Stream, decoded: Path) -> tuple[Path, formats.Video]:
    """Download, and resume what breaks off; returns the whole file, and what it is."""
    attempts = idle = 0
    with anyio.move_on_after(MAX_SECONDS):
        while True:
            best = download.best
            ended = await _receive(link, download, stream)
            await _write(download)
            if ended and (found := await anyio.to_thread.run_sync(_examine, download, decoded)):
                return found
            attempts += 1
            idle = 0 if download.best > best else idle + 1
            if idle == ATTEMPTS:
                raise LinkFailed(
                    f"The video could not be downloaded in {attempts} attempts; {download.received:,} bytes"
                    f" arrived ({download.failure}).",
                    next_step=AGAIN,
                )
            await anyio.sleep(min(max(download.pause, 0.5 * attempts), MAX_PAUSE))
    raise LinkFailed("The download took too long.", next_step=AGAIN)


async def _receive(link: str, download: _Download, stream: Stream) -> bool:
    """Make one attempt to get the file, or the rest of it; returns whether the end was reached.

    A transfer that breaks off is not an error here.
    """
    headers = {"Accept": "video/mp4, video/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
    if is_rest := bool(download.received and download.tag):
        headers |= {"Range": f"bytes={download.received}-", "If-Range": download.tag or ""}
    download.failure, download.pause = "the answer ended early", 0.0
    try:
        async with stream(link, headers) as response:
            _begin(response, download, is_rest=is_rest)
            async for chunk in response.aiter_raw():
                await _append(chunk, download)
    except (httpx2.HTTPError, FetchFailed, _TryAgain) as error:
        download.failure = str(error) or type(error).__name__
        return 0 < download.received == download.length
    except AddressRefused as error:
        raise LinkFailed(
            f"The video's link is not followed: {error.message}.",
            next_step="If that network is your own, set WAN_MCP_ALLOW_PRIVATE_NETWORK=1.",
        ) from error
    return download.received > 0 and download.length in (None, download.received)


def _examine(download: _Download, decoded: Path) -> tuple[Path, formats.Video] | None:
    """The whole file without the encoding of its transfer, and what it is; None where it is cut."""
    path = download.path
    download.failure = "the file is cut off"
    try:
        if encodings.decode(path, decoded, download.coding, MAX_SIZE):
            path = decoded
    except encodings.Unreadable:
        return None
    with path.open("rb") as file:
        _refuse_other(file.read(formats.HEAD))
        video = formats.examine(file)
    return (path, video) if video else None


def _begin(response: httpx2.Response, download: _Download, *, is_rest: bool) -> None:
    """Check the answer before its body: is it the video, and from which byte on?"""
    status = response.status_code
    if is_rest and status == 206 and _is_the_rest(response, download):
        return
    is_all = 200 <= status < 300 and status not in (204, 206)  # the body decides whether it is a video
    if is_all or (status == 206 and not is_rest and _range(response)[0] in ("", "0")):
        return _restart(response, download)
    if status in (206, 416):
        download.tag = None  # so that the next attempt requests all of it
        raise _TryAgain(f"HTTP {status}, which does not continue the download")
    if status >= 500 or status in (408, 425, 429):
        wanted = response.headers.get("retry-after", "")
        download.pause = float(wanted) if wanted.isdecimal() else 0.0
        raise _TryAgain(f"HTTP {status}")
    answer = f"The video's link answers HTTP {status}"
    if 400 <= status < 500:
        raise LinkDead(f"{answer}; such links work for 24 hours.")
    raise LinkFailed(f"{answer}.")


def _restart(response: httpx2.Response, download: _Download) -> None:
    """Begin at the first byte: a first attempt, or a host that cannot resume."""
    download.file.seek(0)
    download.file.truncate()
    download.received, download.is_examined, download.digest = 0, False, hashlib.sha256()
    download.coding = response.headers.get("content-encoding", "")
    download.tag = None if download.coding else _tag(response)  # an encoded body may differ each time
    download.length = _length(response)
    _check_size(download.length or 0)
    free = shutil.disk_usage(download.path.parent).free
    if free < (download.length or 0) + SPARE:
        raise DiskError(
            f"The disk has {free:,} bytes left, too few for the video.",
            next_step=files.FREE_SPACE,
        )


def _length(response: httpx2.Response) -> int | None:
    """Bytes of the whole file, where the host announces them."""
    _, total = _range(response)
    length = response.headers.get("content-length", "")
    if response.status_code == 206 and total:
        length = total
    elif "transfer-encoding" in response.headers:  # it overrules a length
        return None
    return int(length) if length.isdecimal() and len(length) < 19 else None


def _range(response: httpx2.Response) -> tuple[str, str]:
    """First byte and total of a partial answer; empty where the answer does not say."""
    found = CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return (found[1], found[2] or "") if found else ("", "")


def _tag(response: httpx2.Response) -> str | None:
    tag: str = response.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")


def _is_the_rest(response: httpx2.Response, download: _Download) -> bool:
    """Whether an answer continues where the last one broke off, in the same version of the file."""
    first, total = _range(response)
    return (
        first == str(download.received)
        and (download.length is None or total in ("", str(download.length)))
        and _tag(response) == download.tag is not None
        and not response.headers.get("content-encoding")
    )


async def _append(chunk: bytes, download: _Download) -> None:
    download.block += chunk
    download.received += len(chunk)
    download.best = max(download.best, download.received)
    _check_size(download.received)
    if download.length is not None and download.received > download.length:
        raise LinkFailed("The video's link sends more bytes than it announced.")
    if not download.is_examined and not download.coding and len(download.block) >= formats.HEAD:
        _refuse_other(bytes(download.block[: formats.HEAD]))
        download.is_examined = True
    if len(download.block) >= BLOCK:
        await _write(download)
    await _report(download)


async def _write(download: _Download) -> None:
    def write() -> None:
        download.file.write(download.block)
        download.file.flush()
        download.digest.update(download.block)

    await anyio.to_thread.run_sync(write)
    download.block = bytearray()


async def _report(download: _Download) -> None:
    """Report progress at once, then every second and at the end; never less than before."""
    due = anyio.current_time() >= download.reported_at + 1 or download.received == download.length
    if due and download.received > download.reported:
        download.reported, download.reported_at = download.received, anyio.current_time()
        await download.on_progress(download.received, download.length)


def _refuse_other(head: bytes) -> None:
    other = formats.other_than_video(head)
    if other is not None:
        raise LinkFailed(f"The video's link answers with {other}, not with a video.")


def _check_size(size: int) -> None:
    if size > MAX_SIZE:
        raise LinkFailed(f"The video's link sends more than {MAX_SIZE:,} bytes, too many for a real video.")
