"""The videos of a hosted server's callers, in its storage."""

import hashlib
import mimetypes
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from wan_mcp.errors import StorageError
from wan_mcp.generation.places import Found
from wan_mcp.ledger import Entry, Kept, OwnerLedger, Saved, SignedLink
from wan_mcp.settings import Settings
from wan_mcp.storage.storage import Storage
from wan_mcp.videos import files

RESULTS = "results"
FILMS = "films"
"""The folders of the objects: of tasks' videos, and of films of several."""
DAY = 86_400.0
HOUR = 3600.0


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

    async def shown(self, entry: Entry) -> Entry:
        """Without the files of this machine: a server over stdio may have saved them."""
        kept, link = entry.kept, None
        if kept is not None and self._is_kept(kept):
            with suppress(StorageError):
                link = await self._link(kept)
        return replace(entry, saved=None, missing=None, kept=kept if link else None, link=link)

    async def unsaved(self, *, since: float) -> list[Entry]:
        return await self._ledger.unkept(since=since)

    def alone_with(self, task_id: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()  # a video that is put twice is the same object

    async def find(self, entry: Entry, stem: str, *, is_asked: bool) -> Found | None:
        kept = entry.kept
        if kept is None or not self._is_kept(kept):
            return None
        facts = await self._storage.objects.facts(kept.key)
        if facts is None or facts.size != kept.size:
            return None
        return Found(kept=kept, link=await self._link(kept))

    def workshop(self) -> AbstractContextManager[Path]:
        return files.temporary_folder()

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
        return Found(kept=kept, link=await self._link(kept))

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
        with suppress(StorageError):  # the link may work
            if await self._storage.objects.download(kept.key, path):
                return path
        return None

    def _is_kept(self, kept: Kept) -> bool:
        return self._clock() < kept.at + self._kept_for

    async def _link(self, kept: Kept) -> SignedLink:
        now = self._clock()
        expires_at = min(now + self._life, kept.at + self._kept_for)
        return await self._storage.video_link(kept.key, kept.name, media_type(kept.name), expires_at, now)


def media_type(name: str) -> str:
    """What a video file is, by its ending."""
    return mimetypes.guess_type(name)[0] or "video/mp4"
