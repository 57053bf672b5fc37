"""Objects in a folder, in memory or in a bucket: each is there whole, or not at all."""

import logging
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import LocalStore

from wan_mcp.errors import StorageError
from wan_mcp.storage import folder
from wan_mcp.storage.stores import FAILURES, SHORT_ANSWER, Bucket, links_last, opened, reason

logger = logging.getLogger(__name__)

PART = 5 * 1024**2
"""Bytes that are sent to a bucket at once: the smallest part that S3 takes."""
BLOCK = 256 * 1024
"""Bytes that are read from a file at once."""
PUTS_AT_ONCE = 2
"""Files that are written at the same time at most: each may hold a part in memory."""
CHUNK = 128 * 1024
"""Bytes that are read from an object at once for a reader who may be slow."""
PROBE = "wan-mcp-probe"
"""The object that a check writes."""
CHECK_SECONDS = 1.0
"""Seconds in which a check has to succeed."""
CHECK_EVERY = 10.0
"""Seconds for which the outcome of a check counts."""
FULL_FOR = 60.0
"""Seconds after a file that could not be written: what a check writes may still fit on a full disk."""
CHECK_STORAGE = "Check WAN_MCP_STORAGE_URL, the rights on it, and the space that is left."


@dataclass(frozen=True)
class Facts:
    """What is known of an object without reading it."""

    size: int
    """Bytes."""
    version: str
    """Another one once the object has changed; in quotation marks, as HTTP has it."""
    tag: str | None = None
    """The same as the store knows it; None where it has no versions."""


class ObjectStore:
    """A folder, a memory or a bucket.

    Args:
        url: ``file:///folder``, ``memory:``, ``s3://bucket/folder``, ``gs://bucket/folder`` or
            ``az://container/folder``; how to sign in is read from the usual variables of that service.

    Raises:
        SettingsError: when there can be no such store, or a folder cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._store = opened(url)
        self._brief = opened(url, SHORT_ANSWER) if isinstance(self._store, Bucket) else self._store
        prefix = self._store.prefix if isinstance(self._store, LocalStore) else None
        self._folder = Path(prefix) if prefix else None
        self._signs_links = isinstance(self._store, Bucket) and links_last(url)
        self._puts = anyio.Semaphore(PUTS_AT_ONCE)
        self._failed = False
        self._checked_at = -math.inf
        self._checking = anyio.Lock()
        self._full_until = -math.inf
        self._signing_failed = False

    @property
    def failed(self) -> bool:
        """Whether the last attempt to write or to read failed because of the store."""
        return self._failed

    @property
    def staging(self) -> Path | None:
        """The folder for files that are to be put: on the disk of the objects, if these are on a disk."""
        return self._folder / folder.STAGING if self._folder else None

    async def check(self) -> bool:
        """Whether an object can be written now; this takes a second at most, and is not asked too often."""
        if anyio.current_time() < self._full_until:
            return False
        async with self._checking:  # calls at the same time share one check
            if anyio.current_time() - self._checked_at >= CHECK_EVERY:
                write = partial(obstore.put, self._brief, PROBE, b"ok")
                with anyio.move_on_after(CHECK_SECONDS) as scope, suppress(StorageError), self._noted():
                    await anyio.to_thread.run_sync(write, abandon_on_cancel=True)
                self._checked_at = anyio.current_time()
                if scope.cancelled_caught:
                    self._note(f"it did not answer within {CHECK_SECONDS:g} s")
        return not self._failed

    async def put_file(self, key: str, path: Path, *, media_type: str, name: str) -> None:
        """Put a file, in place of an older object of this key; the file may be the object from then on.

        Args:
            key: the object's name.
            path: the file, which must not be written to any more.
            media_type: what it is, such as ``video/mp4``.
            name: what the file is to be called where somebody downloads it from a bucket.

        Raises:
            StorageError: when it cannot be written.
        """
        async with self._puts:
            with self._noted(FULL_FOR):
                if self._folder:
                    await anyio.to_thread.run_sync(folder.put, self._folder, key, path)
                    return
                about = {"Content-Type": media_type, "Content-Disposition": disposition(name)}
                attributes = about if isinstance(self._store, Bucket) else None
                with path.open("rb") as file:
                    # Where obstore reads the file itself, it holds two parts and more.
                    blocks = iter(partial(file.read, BLOCK), b"")
                    await obstore.put_async(
                        self._store, key, blocks, attributes=attributes, chunk_size=PART, max_concurrency=1
                    )

    async def create(self, key: str, content: bytes) -> bool:
        """Put an object unless there is one of this key already; returns whether it was put.

        Raises:
            StorageError: when it cannot be written.
        """
        with self._noted():
            try:
                await obstore.put_async(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

    async def facts(self, key: str) -> Facts | None:
        """What is known of an object; None where there is none.

        Raises:
            StorageError: when that cannot be told now.
        """
        with self._noted():
            try:
                meta = await obstore.head_async(self._brief, key)
            except (FileNotFoundError, ValueError):  # no object can have such a key
                return None
            tag = meta["e_tag"]
            version = (tag or str(meta["last_modified"].timestamp())).removeprefix("W/").strip('"')
            return Facts(meta["size"], f'"{version}"', tag)

    async def read(self, key: str) -> bytes | None:
        """A small object; None where there is none.

        Raises:
            StorageError: when it cannot be read now.
        """
        with self._noted():
            try:
                return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
            except (FileNotFoundError, ValueError):
                return None

    async def chunks(
        self,
        key: str,
        start: int = 0,
        end: int | None = None,
        *,
        facts: Facts | None = None,
        piece: int = CHUNK,
    ) -> AsyncGenerator[bytes]:
        """The bytes of an object; nothing where there is no such object.

        Each piece is a request of its own: a slow reader holds one piece, and no connection to a bucket.

        Args:
            key: the object's name.
            start: the first byte.
            end: the byte before which to end; None: the end of the object.
            facts: what is known of the object; another version of it is not read.
            piece: bytes that are read at once.

        Raises:
            StorageError: when it cannot be read now, or has changed or gone since it was begun.
        """
        facts = facts or await self.facts(key)
        if facts is None:
            return
        end = facts.size if end is None else min(end, facts.size)
        for first in range(start, end, piece):
            last = min(first + piece, end)
            with self._noted():
                try:
                    options = {"range": (first, last), "if_match": facts.tag}
                    found = await obstore.get_async(self._store, key, options=options)  # type: ignore[arg-type]
                    content = await found.bytes_async()
                except (FileNotFoundError, PreconditionError) as error:
                    raise StorageError("An object was replaced or deleted while it was read.") from error
            yield bytes(content)

    async def download(self, key: str, path: Path) -> bool:
        """Write an object into a file; returns whether there is such an object.

        Raises:
            StorageError: when it cannot be read now.
            OSError: when the file cannot be written.
        """
        facts = await self.facts(key)
        if facts is None:
            return False
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in self.chunks(key, facts=facts, piece=PART):
                await file.write(chunk)
        return True

    async def delete(self, *keys: str) -> None:
        """Delete objects; one that is not there is no error.

        Raises:
            StorageError: when one cannot be deleted now.
        """
        for key in keys:
            with self._noted(), suppress(FileNotFoundError):
                await obstore.delete_async(self._brief, key)

    async def older_than(self, within: str, moment: datetime) -> AsyncIterator[list[str]]:
        """The keys in a folder whose objects were written before a moment, some at a time.

        Raises:
            StorageError: when they cannot be listed now.
        """
        with self._noted():
            async for page in obstore.list(self._store, within, chunk_size=1000):
                yield [meta["path"] for meta in page if meta["last_modified"] < moment]

    async def link(self, key: str, seconds: float) -> str | None:
        """An address at which the bucket itself serves an object until then.

        None for a folder and a memory, and where the bucket's links would end before: then this server
        has to serve it.

        Raises:
            StorageError: when it cannot be signed now.
        """
        store = self._store
        if not self._signs_links or not isinstance(store, Bucket):
            return None
        try:  # this says nothing about whether the store can be written
            address = await obstore.sign_async(store, "GET", key, timedelta(seconds=max(int(seconds), 1)))
        except FAILURES as error:
            if not self._signing_failed:
                logger.error("the storage cannot sign links now: %s", reason(error))
            self._signing_failed = True
            raise StorageError(f"No link can be signed: {reason(error)}.") from error
        self._signing_failed = False
        return address

    def origin(self) -> str | None:
        """Where the addresses of ``link`` lead, such as ``https://bucket.example.com``; None without them."""
        if not self._signs_links or not isinstance(self._store, Bucket):
            return None
        try:
            parts = urlsplit(obstore.sign(self._store, "GET", PROBE, timedelta(minutes=1)))
        except FAILURES as error:
            logger.warning("the storage cannot sign links now: %s", reason(error))
            return None
        return f"{parts.scheme}://{parts.netloc}"

    @contextmanager
    def _noted(self, full_for: float = 0.0) -> Iterator[None]:
        """Turn errors into ours, and remember them: no check succeeds for ``full_for`` seconds after one."""
        try:
            yield
        except FAILURES as error:
            self._note(reason(error))
            self._full_until = max(self._full_until, anyio.current_time() + full_for)
            raise StorageError(f"The storage failed: {reason(error)}.", next_step=CHECK_STORAGE) from error
        if self._failed:
            logger.warning("the storage works again")
            self._failed = False

    def _note(self, failure: str) -> None:
        """Remember a failure, and log the first one of several."""
        if not self._failed:
            logger.error("the storage failed: %s. %s", failure, CHECK_STORAGE)
        self._failed = True


def disposition(name: str) -> str:
    """The ``Content-Disposition`` of a video: it is shown, and saved under this name."""
    plain = re.sub(r'[^ -~]|["\\\\]', "_", name)
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
