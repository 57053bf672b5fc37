"""The videos of a hosted server's callers, and the posters of their tasks, in its storage."""

import hashlib
import logging
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import replace
from pathlib import Path

import anyio

from wan_mcp.errors import StorageError
from wan_mcp.generation.places import Found
from wan_mcp.ledger import Entry, Kept, OwnerLedger, Saved, SignedLink
from wan_mcp.settings import Settings
from wan_mcp.storage.objects import ObjectStore
from wan_mcp.storage.storage import Storage
from wan_mcp.videos import files

logger = logging.getLogger(__name__)

RESULTS = "results"
FILMS = "films"
POSTERS = "posters"
"""The folders of the objects: of tasks' videos, of films of several, and of tasks' pictures."""
DAY = 86_400.0
HOUR = 3600.0
NOT_THERE = "A kept video is not in the storage."
SIGNING = 2.0
"""Seconds that an answer waits for a link: some services sign only what they are asked to."""
FINDING = 4.0
"""Seconds in which storage has to tell whether it has a video, and to take or give a poster."""


class StoredVideos:
    """The kept videos of one owner's tasks.

    Args:
        storage: where they are.
        ledger: the owner's.
        settings: for how long they are kept, and links to them work.
        clock: the time, in Unix seconds.
    """

    has_files = False

    def __init__(
        self, storage: Storage, ledger: OwnerLedger, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._ledger = ledger
        self._life = settings.link_hours * HOUR
        self._kept_for = settings.result_days * DAY
        self._clock = clock

    def has(self, entry: Entry) -> bool:
        return entry.kept is not None

    async def check(self) -> None:
        if not await self._storage.objects.check():
            raise StorageError("The storage cannot be written now.")

    async def shown(self, entry: Entry) -> Entry:
        """Without the files of this machine: a server over stdio may have saved them."""
        shown = replace(entry, saved=None, missing=None, kept=None)
        if entry.kept is None or not self._is_kept(entry.kept):
            return shown
        link = None
        with suppress(StorageError), anyio.move_on_after(SIGNING):
            link = await self._link(entry.kept)
        return replace(shown, kept=entry.kept, link=link, kept_until=self._until(entry.kept))

    async def unsaved(self, *, since: float) -> list[Entry]:
        return await self._ledger.unkept(since=since)

    def alone_with(self, task_id: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()  # a video that is put twice is the same object

    async def find(self, entry: Entry, stem: str, *, is_asked: bool) -> Found | None:
        kept = entry.kept
        if kept is None or not self._is_kept(kept):
            return None
        with _in_time():
            facts = await self._storage.objects.facts(kept.key)
        if facts is None or facts.size != kept.size:
            logger.warning("a kept video is not in the storage: %s", kept.key)
            return None  # the row stays as it is: it may be another storage that is used by mistake
        return await self._found(kept)

    def staging(self) -> AbstractContextManager[Path]:
        return files.temporary_folder(self._storage.objects.staging)

    async def add(self, saved: Saved, *, film: bool = False, task_id: str = "") -> Found:
        path = Path(saved.path)
        # The name tells nobody whose it is, and two ledgers can share a bucket.
        which = saved.sha256 if film else task_id
        name = hashlib.sha256(f"{await self._ledger.digest()}\n{which}".encode()).hexdigest()[:40]
        key = f"{FILMS if film else RESULTS}/{name}{path.suffix}"
        await self._storage.objects.put_file(key, path, media_type=media_type(path.name), name=path.name)
        kept = Kept(
            key=key,
            name=path.name,
            at=self._clock(),
            size=saved.size,
            sha256=saved.sha256,
            seconds=saved.seconds,
            width=saved.width,
            height=saved.height,
            remark=saved.remark,
        )
        return await self._found(kept)

    async def record(self, task_id: str, found: Found) -> None:
        assert found.kept is not None
        await self._ledger.mark_kept(task_id, found.kept)
        if await self._ledger.find(task_id) is None:  # its row was removed in the meantime
            with suppress(StorageError):  # it will be removed because of its age
                await self._storage.objects.delete(found.kept.key)

    async def local_file(self, entry: Entry, folder: Path) -> Path | None:
        kept = entry.kept
        if kept is None or not self._is_kept(kept):
            return None
        path = folder / f"{kept.sha256}{Path(kept.name).suffix}"
        with files.disk_errors(folder):
            is_there = await self._storage.objects.download(kept.key, path)
        if not is_there or path.stat().st_size != kept.size:
            raise StorageError(NOT_THERE)
        return path

    def loss(self, entry: Entry) -> StorageError | None:
        return StorageError(NOT_THERE) if entry.kept and self._is_kept(entry.kept) else None

    def _is_kept(self, kept: Kept) -> bool:
        return self._clock() < self._until(kept)

    def _until(self, kept: Kept) -> float:
        return kept.at + self._kept_for

    async def _found(self, kept: Kept) -> Found:
        return Found(kept=kept, link=await self._link(kept), kept_until=self._until(kept))

    async def _link(self, kept: Kept) -> SignedLink:
        now = self._clock()
        expires_at = min(now + self._life, self._until(kept))
        return await self._storage.video_link(kept.key, kept.name, media_type(kept.name), expires_at, now)


class StoredPosters:
    """The posters of all owners' tasks; see ``PosterStore``.

    Args:
        objects: where they are.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def put(self, entry: Entry, content: bytes) -> None:
        if key := _poster_key(entry):
            with _in_time():
                if not await self._objects.create(key, content):
                    await self._objects.delete(key)
                    await self._objects.create(key, content)

    async def read(self, entry: Entry) -> bytes | None:
        key = _poster_key(entry)
        if key is None:
            return None
        with _in_time():
            return await self._objects.read(key)

    async def remove(self, entries: list[Entry]) -> None:
        await self._objects.delete(*filter(None, map(_poster_key, entries)))


def _poster_key(entry: Entry) -> str | None:
    """The object of a row's poster: made of what is random, so that it is no other row's in any ledger.

    Rows without an idempotency key, as of tasks that were made elsewhere, have no poster.
    """
    if not entry.idempotency_key:
        return None
    digest = hashlib.sha256(f"{entry.idempotency_key}\nposter".encode()).hexdigest()
    return f"{POSTERS}/{digest[:40]}.jpg"


@contextmanager
def _in_time() -> Iterator[None]:
    """Bound a short operation of the storage.

    Raises:
        StorageError: when it takes too long.
    """
    with anyio.move_on_after(FINDING) as scope:
        yield
    if scope.cancelled_caught:
        raise StorageError(f"The storage did not answer within {FINDING:g} seconds.")


def media_type(name: str) -> str:
    """What a video file is, by its ending."""
    return mimetypes.guess_type(name)[0] or "video/mp4"
