"""The posters of all owners' tasks: small JPEG files, each kept while the ledger has the task's row."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from wan_mcp.errors import LedgerError, NoPoster, PictureError, StorageError
from wan_mcp.images.poster import is_whole
from wan_mcp.ledger import Entry, Ledger

logger = logging.getLogger(__name__)

MAKING_AFTER = 0.2
"""Seconds from when the task is known: the caller gets its answer first."""
MAKING_SECONDS = 5.0
"""Seconds for which a reader waits for a poster that is being made."""

Make = Callable[[], Awaitable[bytes | None]]
"""Makes a poster, a JPEG file; None where the picture's bytes are not known."""


class PosterStore(Protocol):
    """Where posters are kept. Each method raises ``StorageError`` or ``OSError`` when it fails."""

    async def put(self, entry: Entry, content: bytes) -> None:
        """Keep the poster of a row, in place of a damaged one."""
        ...

    async def read(self, entry: Entry) -> bytes | None:
        """What is kept for a row, which may be damaged; None where there is nothing."""
        ...

    async def remove(self, entries: list[Entry]) -> None:
        """Remove the posters of rows; one that is not there is no error."""
        ...


class Posters:
    """Makes posters in the background, and reads them.

    Args:
        store: where they are kept.
        ledger: says which rows there are.
    """

    def __init__(self, store: PosterStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._making: dict[int, anyio.Event] = {}
        self._one_at_a_time = anyio.Lock()

    def keep(self, entry: Entry, make: Make, background: TaskGroup) -> None:
        """Make the poster of a row, unless there is one. A failure is only logged.

        Args:
            entry: the row.
            make: makes the poster.
            background: where this runs.
        """
        if entry.number not in self._making:
            self._making[entry.number] = anyio.Event()
            background.start_soon(self._keep, entry, make)

    async def read(self, entry: Entry | None) -> bytes:
        """The poster of a row, a JPEG file; one that is being made is waited for.

        Raises:
            NoPoster: when there is no row, none is kept, or it is damaged.
            StorageError: when a hosted server's storage cannot be read now.
        """
        if entry is None:
            raise NoPoster("You have no task of this id here, and therefore no poster.")
        if entry.number in self._making:
            with anyio.move_on_after(MAKING_SECONDS):
                await self._making[entry.number].wait()
        content = await self._whole(entry)
        if content is None:
            raise NoPoster("No poster of this task's picture is kept. The task itself is not affected.")
        return content

    async def _keep(self, entry: Entry, make: Make) -> None:
        try:
            await anyio.sleep(MAKING_AFTER)
            if await self._whole(entry) is None:
                async with self._one_at_a_time:  # new requests need the threads that decode pictures
                    content = await make()
                if content is not None:
                    await self._put(entry, content)
        except (PictureError, LedgerError, StorageError, OSError) as error:
            logger.warning("no poster of request #%d is kept: %s", entry.number, error)
        except Exception:  # it would end all work in the background
            logger.exception("making a poster failed unexpectedly")
        finally:
            self._making.pop(entry.number).set()

    async def _put(self, entry: Entry, content: bytes) -> None:
        await self._store.put(entry, content)
        if not await self._ledger.keys([entry.number]):  # the row was removed since
            await self._store.remove([entry])

    async def _whole(self, entry: Entry) -> bytes | None:
        """The poster of a row; None where it is missing or damaged."""
        content = await self._store.read(entry)
        if content is None or not await anyio.to_thread.run_sync(is_whole, content):
            return None
        return content
