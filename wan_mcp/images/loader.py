"""Any picture that a user has becomes a picture that Evolink takes."""

import copy
import hashlib
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import httpx2

from wan_mcp.errors import AddressRefused, FetchFailed, PictureError, PictureUnavailable
from wan_mcp.images import files, sources, web
from wan_mcp.images.fitting import Prepared, fit
from wan_mcp.images.identity import place_at
from wan_mcp.images.names import readable, unquoted
from wan_mcp.images.poster import poster
from wan_mcp.images.sources import HOSTED, ON_THE_USERS_MACHINE
from wan_mcp.net.addresses import looks_signed, shown
from wan_mcp.net.fetch import PublicFetcher, canonical

T = TypeVar("T")
_AT_ONCE = 2
"""Pictures that are decoded at the same time at most: each may take much memory."""
_THREADS = threading.BoundedSemaphore(_AT_ONCE)
"""Also counts the threads whose callers were cancelled."""
_READ_AT_ONCE = 3
"""Pictures on the web that are read and decoded at the same time for one of many callers."""
_RESOLVING = 10.0
_LONGEST_PATH = 300
_LONGEST_NAME = 100
_SIGNED = (
    "The address looks signed or short-lived: if Evolink reports that it could not fetch the picture, "
    "give a fresh address, or the picture {}."
)
ON_SIGNED = {which: _SIGNED.format(which.otherwise) for which in (ON_THE_USERS_MACHINE, HOSTED)}
"""What is said about an address that soon expires."""
LONGEST_CHAIN = 6
"""Parts of the longest chain that gets no note about drift."""
DRIFTS = (
    "This is part {part} of a chain: contrast and colours drift a little with each part. If that is visible, "
    "begin again from a new picture."
)
_UNFETCHED = (
    "Check that the address opens elsewhere, because Evolink has to fetch it too, or give the picture {}."
)


@dataclass(frozen=True)
class Picture:
    """A picture that Evolink takes: either at its own public ``address`` or as ``content`` to upload."""

    digest: str | None = None
    """A digest of the bytes as they were read: equal for equal pictures. None where they were not read."""
    place: str | None = None
    """Of a picture on the web, a digest of its address without a signature: equal for the same picture,
    also where its host encodes it anew for each reader."""
    address: str | None = None
    content: bytes | None = None
    file_name: str = "picture"
    media_type: str = "application/octet-stream"
    name: str = ""
    """What a person calls it: its file's name, the host of its web address, or ``data``."""
    width: int | None = None
    height: int | None = None
    format: str | None = None
    adjusted: tuple[str, ...] = ()
    """Each change that was made so that the picture fits, in words."""
    notes: tuple[str, ...] = ()
    """What the user should know although the picture is accepted, such as an address that soon expires."""
    seen: bytes | None = field(default=None, repr=False, compare=False)
    """What was read at ``address``, to make a poster."""
    parent: str | None = None
    """The task whose video has this picture as its last frame."""
    part: int = 1
    """The place, in a chain of such tasks, of a video that begins with this picture."""


class PictureLoader:
    """Opens pictures, wherever they come from.

    Args:
        fetcher: fetches pictures from the web.
        folders: where local files may be read from.
        local: whether this program runs on the user's own machine; if not, no local file is read.
        check: whether web pictures are inspected; if not, their addresses are passed on, but private
            ones are still refused.
    """

    def __init__(
        self, fetcher: PublicFetcher, *, folders: Iterable[Path], local: bool = True, check: bool = True
    ) -> None:
        self._fetcher = fetcher
        self._folders = tuple(folders)
        self.accepted = ON_THE_USERS_MACHINE if local else HOSTED
        self._local = local
        self._check = check
        self._decoding = anyio.Semaphore(_AT_ONCE)
        self._turn: AbstractAsyncContextManager[object] = nullcontext()
        self._reading: AbstractAsyncContextManager[object] = nullcontext()

    def of_one_caller(self) -> "PictureLoader":
        """The same for one of many callers, so that the others are served no later because of this one."""
        loader = copy.copy(self)
        loader._turn, loader._reading = anyio.Semaphore(1), anyio.Semaphore(_READ_AT_ONCE)
        return loader

    def warm_up(self) -> None:
        """Import what the first picture needs."""
        from PIL import Image, ImageOps  # noqa: F401

        Image.preinit()

    async def open(self, reference: str) -> Picture:
        """Make a picture that Evolink takes from the one that ``reference`` names.

        Raises:
            PictureUnavailable: when it cannot be read; on the web, also when what is there now does not fit.
            PictureError: when it cannot be made to fit.
            AddressRefused: when it is at an address that must not be connected to.
        """
        kind = None
        try:
            kind = sources.kind(reference, self.accepted)
            if kind == "web":
                async with self._reading:
                    return await self._from_web(unquoted(reference))
            if kind == "data":
                return await self._from_data(reference)
            return await self._from_file(reference)
        except AddressRefused as error:
            raise AddressRefused(f"image_urls: {error.message}.", next_step=error.next_step) from None
        except PictureError as error:
            text = f"image_urls: {_subject(reference)} {error.message}."
            raised = PictureUnavailable if kind == "web" else type(error)
            raise raised(text, next_step=error.next_step) from None
        except FetchFailed as error:
            advice = _UNFETCHED.format(self.accepted.otherwise)
            raise PictureUnavailable(f"image_urls: {error.message}.", next_step=advice) from None

    async def of_last_frame(self, task_id: str, part: int, frame: bytes) -> Picture:
        """Make a picture that Evolink takes from the last frame of a task's video.

        Args:
            task_id: the task.
            part: the place, in a chain of such tasks, of a video that begins with this frame.
            frame: a picture, as a whole file.

        Raises:
            PictureError: when it cannot be made to fit.
        """

        def load() -> Picture:
            notes = (DRIFTS.format(part=part),) if part > LONGEST_CHAIN else ()
            picture = _picture(frame, fit(frame), notes)
            # The same picture for the same task, whichever version of a decoder has read its video.
            digest = hashlib.sha256(f"task {task_id}".encode()).hexdigest()
            return replace(picture, digest=digest, name="last frame", parent=task_id, part=part)

        try:
            return await self._in_thread(load)
        except PictureError as error:
            text = f"image_urls: the last frame of {task_id} {error.message}."
            raise PictureError(text, next_step=error.next_step) from None

    async def of_upload(self, content: bytes) -> Picture:
        """Make a picture that Evolink takes from one that was uploaded.

        Args:
            content: the whole file.

        Raises:
            PictureError: when it cannot be made to fit.
        """

        def load() -> Picture:
            return replace(_picture(content, self._fit(content)), name="upload")

        try:
            return await self._in_thread(load)
        except PictureError as error:
            text = f"image_urls: the uploaded picture {error.message}."
            raise type(error)(text, next_step=error.next_step) from None

    async def check(self, content: bytes) -> None:
        """Refuse what ``of_upload`` would refuse.

        Raises:
            PictureError: when it cannot be made to fit. The message continues after the picture's name.
        """
        await self._in_thread(partial(self._fit, content))

    async def poster(self, picture: Picture) -> bytes | None:
        """A small JPEG of a picture, as ``images.poster`` makes it; None where its bytes were not read.

        Raises:
            PictureError: when it cannot be made.
        """
        content = picture.content or picture.seen
        return None if content is None else await self._in_thread(partial(poster, content))

    async def _from_file(self, reference: str) -> Picture:
        paths = sources.local_paths(reference)

        def load() -> Picture:
            content, elsewhere = files.read(paths, self._folders)
            notes = () if elsewhere is None else (f"The picture was read from {readable(str(elsewhere))}.",)
            return replace(
                _picture(content, fit(content), notes), name=_bounded((elsewhere or paths[0]).name)
            )

        return await self._in_thread(load)

    async def _from_data(self, reference: str) -> Picture:
        def load() -> Picture:
            content = sources.data_content(reference, self.accepted)
            return replace(_picture(content, self._fit(content)), name="data")

        try:
            return await self._in_thread(load)
        except PictureError as error:  # models invent such data for a picture that they only saw
            pasted = self.accepted.pasted
            advice = error.next_step if pasted in error.next_step else f"{error.next_step} {pasted}"
            raise PictureError(error.message, next_step=advice) from None

    async def _from_web(self, address: str) -> Picture:
        url = canonical(address)
        if not self._check:
            # A name that is unknown here may be known to Evolink.
            with anyio.move_on_after(_RESOLVING), suppress(FetchFailed):
                await self._fetcher.check(address)
            notes = ("The picture was passed on unchecked.", *self._notes(url))
            return Picture(place=place_at(url), address=str(url), notes=notes, name=_bounded(url.host))
        content = await web.read(self._fetcher, str(url), self.accepted.otherwise)

        def load() -> Picture:
            prepared = fit(content, has_address=True, max_pixels=self.accepted.max_pixels)
            picture = replace(_picture(content, prepared), place=place_at(url), name=_bounded(url.host))
            if prepared.content is not None:
                return picture
            return replace(picture, address=str(url), notes=self._notes(url), seen=content)

        return await self._in_thread(load)

    def _fit(self, content: bytes) -> Prepared:
        return fit(content, max_pixels=self.accepted.max_pixels)

    def _notes(self, url: httpx2.URL) -> tuple[str, ...]:
        return (ON_SIGNED[self.accepted],) if looks_signed(url.query) else ()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def run() -> T:
            with _THREADS:
                return work()

        async with self._turn, self._decoding:
            # A thread goes on when its caller has left: where there are others, the caller's turn does, too.
            return await anyio.to_thread.run_sync(run, abandon_on_cancel=self._local)


def _picture(content: bytes, prepared: Prepared, notes: tuple[str, ...] = ()) -> Picture:
    return Picture(
        digest=hashlib.sha256(content).hexdigest(),
        content=prepared.content,
        # The file's own name may contain something private.
        file_name=f"picture.{prepared.format}",
        media_type=f"image/{prepared.format}",
        width=prepared.width,
        height=prepared.height,
        format=prepared.format,
        adjusted=prepared.adjusted,
        notes=notes,
    )


def _bounded(name: str) -> str:
    """A name as it is kept and shown."""
    line = readable(name)
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _subject(reference: str) -> str:
    """What a message calls a picture: without its data, and without a query."""
    bare = unquoted(reference)
    if bare[:5].lower() == "data:":
        return "the data: URI"
    if bare[:4].lower() == "http":
        return shown(bare)
    # A malformed address or base64 can look like a path.
    if len(bare) > _LONGEST_PATH or "base64," in bare or ("://" in bare and "?" in bare):
        return f"the reference, {len(reference)} characters long,"
    return readable(bare)
