"""Objects in a folder, in memory or in a bucket: each is there whole, or not at all."""

import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import anyio
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store, from_url

from wan_mcp.errors import SettingsError, StorageError

logger = logging.getLogger(__name__)

PART = 5 * 1024**2
"""Bytes that are sent to a bucket at once: the smallest part that S3 takes."""
PUTS_AT_ONCE = 2
"""Files that are written at the same time at most: each may hold a part in memory."""
CHUNK = 256 * 1024
"""Bytes that are read from an object at once."""
CONNECTING = timedelta(seconds=5)
ANSWER = timedelta(seconds=120)
"""Seconds for one request to a bucket, such as a part of a large file on a slow network."""
RETRYING = timedelta(seconds=10)
"""Seconds after which a failed request to a bucket is not tried again."""
PROBE = "probe"
"""The object that a check writes."""
CHECK_SECONDS = 1.0
"""Seconds in which a check has to succeed."""
CHECK_EVERY = 10.0
"""Seconds for which the outcome of a check counts."""
FULL_FOR = 60.0
"""Seconds after a file that could not be written: what a check writes may still fit on a full disk."""
CHECK_STORAGE = "Check WAN_MCP_STORAGE_URL, the rights on it, and the space that is left."
_FAILURES = (BaseError, OSError, NotImplementedError)
"""What obstore raises: some of its errors are Python's own."""


@dataclass(frozen=True)
class Facts:
    """What is known of an object without reading it."""

    size: int
    """Bytes."""
    version: str
    """Another one once the object has changed; in quotation marks, as HTTP has it."""


class ObjectStore:
    """A folder, a memory or a bucket.

    Args:
        url: ``file:///folder``, ``memory:``, ``s3://bucket/folder``, ``gs://bucket/folder`` or
            ``az://container/folder``; how to sign in is read from the usual variables of that service.

    Raises:
        SettingsError: when there can be no such store, or a folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        self._store = _opened(url)
        self._puts = anyio.Semaphore(PUTS_AT_ONCE)
        self._failed = False
        self._checked_at = -math.inf
        self._checking = anyio.Lock()
        self._full_until = -math.inf
        self._signs = True

    @property
    def failed(self) -> bool:
        """Whether the last attempt to write or to read failed because of the store."""
        return self._failed

    async def check(self) -> bool:
        """Whether an object can be written now; this takes a second at most, and is not asked too often."""
        if anyio.current_time() < self._full_until:
            return False
        async with self._checking:  # calls at the same time share one check
            if anyio.current_time() - self._checked_at >= CHECK_EVERY:
                with anyio.move_on_after(CHECK_SECONDS) as scope, suppress(StorageError), self._noted():
                    await obstore.put_async(self._store, PROBE, b"ok")
                self._checked_at = anyio.current_time()
                if scope.cancelled_caught:
                    self._note(f"it did not answer within {CHECK_SECONDS:g} s")
        return not self._failed

    async def put_file(self, key: str, path: Path, *, media_type: str, name: str) -> None:
        """Put a file, in place of an older object of this key.

        Args:
            key: the object's name.
            path: the file.
            media_type: what it is, such as ``video/mp4``.
            name: what the file is to be called where somebody downloads it from a bucket.

        Raises:
            StorageError: when it cannot be written.
        """
        async with self._puts:
            with self._noted(FULL_FOR):
                await obstore.put_async(
                    self._store,
                    key,
                    path,
                    attributes=self._attributes(media_type, name),
                    chunk_size=PART,
                    max_concurrency=1,
                )

    async def create(self, key: str, content: bytes) -> bool:
        """Put an object unless there is one of this key already; returns whether it was put.

        Raises:
            StorageError: when it cannot be written.
        """
        try:
            with self._noted():
                await obstore.put_async(self._store, key, content, mode="create")
        except StorageError as error:
            if isinstance(error.__cause__, AlreadyExistsError):
                self._failed = False
                return False
            raise
        return True

    async def facts(self, key: str) -> Facts | None:
        """What is known of an object; None where there is none.

        Raises:
            StorageError: when that cannot be told now.
        """
        with self._noted():
            try:
                meta = await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return None
            return Facts(meta["size"], meta["e_tag"] or f'"{meta["last_modified"].timestamp()}"')

    async def read(self, key: str) -> bytes | None:
        """A small object; None where there is none.

        Raises:
            StorageError: when it cannot be read now.
        """
        with self._noted():
            try:
                return bytes(await (await obstore.get_async(self._store, key)).bytes_async())
            except FileNotFoundError:
                return None

    async def chunks(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of an object from ``start`` to before ``end``; nothing where there is no such object.

        Raises:
            StorageError: when it cannot be read now.
        """
        with self._noted():
            try:
                found = await obstore.get_async(
                    self._store, key, options={"range": (start, end)} if end is not None else {}
                )
            except FileNotFoundError:
                return
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    async def download(self, key: str, path: Path) -> bool:
        """Write an object into a file; returns whether there is such an object.

        Raises:
            StorageError: when it cannot be read now.
        """
        is_there = False
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in self.chunks(key):
                is_there = True
                await file.write(chunk)
        return is_there

    async def delete(self, *keys: str) -> None:
        """Delete objects; one that is not there is no error.

        Raises:
            StorageError: when one cannot be deleted now.
        """
        for key in keys:
            with self._noted(), suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    async def older_than(self, folder: str, moment: datetime) -> AsyncIterator[list[str]]:
        """The keys in a folder whose objects were written before a moment, some at a time.

        Raises:
            StorageError: when they cannot be listed now.
        """
        with self._noted():
            async for page in obstore.list(self._store, folder, chunk_size=1000):
                yield [meta["path"] for meta in page if meta["last_modified"] < moment]

    async def link(self, key: str, seconds: float) -> str | None:
        """An address at which the bucket itself serves an object; None for a folder and a memory.

        Raises:
            StorageError: when it cannot be signed now.
        """
        store = self._store
        if not isinstance(store, S3Store | GCSStore | AzureStore):
            return None
        try:  # this says nothing about whether the store can be written
            address = await obstore.sign_async(store, "GET", key, timedelta(seconds=int(seconds)))
        except _FAILURES as error:
            if self._signs:
                logger.error("the storage cannot sign links now: %s", _reason(error))
            self._signs = False
            raise StorageError(f"No link can be signed: {_reason(error)}.") from error
        self._signs = True
        return address

    def origin(self) -> str | None:
        """Where the addresses of ``link`` lead, such as ``https://storage.example.com``; None without them.

        This may ask the service for credentials, and block.
        """
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        try:
            parts = urlsplit(obstore.sign(self._store, "GET", PROBE, timedelta(minutes=1)))
        except _FAILURES as error:
            logger.warning("the storage cannot sign links now: %s", _reason(error))
            return None
        return f"{parts.scheme}://{parts.netloc}"

    def _attributes(self, media_type: str, name: str) -> dict[str, str] | None:
        if isinstance(self._store, LocalStore | MemoryStore):  # served by the server itself
            return None
        return {"Content-Type": media_type, "Content-Disposition": disposition(name)}

    @contextmanager
    def _noted(self, full_for: float = 0.0) -> Iterator[None]:
        """Turn errors into ours, and remember them: no check succeeds for ``full_for`` seconds after one."""
        try:
            yield
        except _FAILURES as error:
            self._note(_reason(error))
            self._full_until = max(self._full_until, anyio.current_time() + full_for)
            raise StorageError(f"The storage failed: {_reason(error)}.", next_step=CHECK_STORAGE) from error
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
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def folder_of(url: str) -> Path:
    """The folder of a ``file:`` address."""
    return Path(unquote(urlsplit(url).path))


def _opened(url: str) -> LocalStore | MemoryStore | S3Store | GCSStore | AzureStore:
    try:
        if (scheme := urlsplit(url).scheme) == "memory":
            return MemoryStore()
        if scheme == "file":
            folder = folder_of(url)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return LocalStore(folder)
        store = from_url(
            url,
            client_options={"timeout": ANSWER, "connect_timeout": CONNECTING},
            retry_config={"max_retries": 2, "retry_timeout": RETRYING},
        )
    except (*_FAILURES, ValueError) as error:
        raise SettingsError(
            f"WAN_MCP_STORAGE_URL cannot be used: {_reason(error)}.", next_step="Correct it."
        ) from None
    assert isinstance(store, S3Store | GCSStore | AzureStore)
    return store


def _reason(error: Exception) -> str:
    """What an error of obstore says, in a line and without its debug output."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).split("\n", 1)[0].partition("?")[0][:300].rstrip(". ") or type(error).__name__
