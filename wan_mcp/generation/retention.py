"""What a hosted server keeps is removed once it is too old: rows, videos, uploads, posters."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import anyio

from wan_mcp.errors import LedgerError, StorageError
from wan_mcp.generation.poster_files import PosterFiles
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.stored import DAY, FILMS, HOUR, POSTERS, RESULTS, StoredPosters
from wan_mcp.generation.uploads import FOLDER as UPLOADS

logger = logging.getLogger(__name__)

FIRST = 20.0
"""Seconds after the start: the callers come first."""
EVERY = HOUR
"""Seconds between two searches."""
MARGIN = HOUR
"""Seconds for which files and objects stay beyond their time, since clocks differ."""
_OWN = re.compile(r"(results|films|posters)/[0-9a-f]{40}\.\w{1,8}|uploads/[0-9a-f]{40}")
"""The keys that servers give: what else is in the folder or the bucket belongs to others."""
ROWS = 100
"""Rows that are removed at once: callers who need the ledger wait meanwhile."""


class Retention:
    """Removes what is older than the settings say.

    Args:
        runtime: has the ledger and the storage. Its clock tells the age of rows.
        clock: tells the age of files and objects, which have the times of the real clock; Unix seconds.
    """

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.time) -> None:
        assert runtime.storage is not None
        self._runtime = runtime
        self._objects = runtime.storage.objects
        self._posters = StoredPosters(self._objects)
        # Earlier versions kept them in the data folder, where a server over stdio keeps its own.
        self._poster_files = PosterFiles(runtime.settings.data_dir, runtime.ledger)
        self._clock = clock

    async def run(self) -> None:
        """Search again and again, until this is cancelled."""
        await anyio.sleep(FIRST)
        while True:
            await self.sweep()
            await anyio.sleep(EVERY)

    async def sweep(self) -> None:
        """Remove what is too old now. A failure is only logged: the next search finds it again."""
        settings = self._runtime.settings
        results, posters = settings.result_days * DAY, settings.poster_days * DAY
        lives = {RESULTS: results, FILMS: results, POSTERS: posters, UPLOADS: settings.upload_hours * HOUR}
        await self._attempt("requests", self._remove_rows)
        for folder, life in lives.items():
            await self._attempt(folder, partial(self._remove_objects, folder, life))
        before = self._clock() - posters - MARGIN
        await self._attempt("files of posters", partial(self._poster_files.remove_older, before))

    async def _attempt(self, what: str, remove: Callable[[], Awaitable[None]]) -> None:
        try:
            await remove()
        except (LedgerError, StorageError, OSError) as error:
            logger.warning("old %s could not be removed: %s", what, error)
        except Exception:  # what else is old must be removed, and this again in an hour
            logger.exception("removing old %s failed unexpectedly", what)

    async def _remove_rows(self) -> None:
        """Remove each row after what belongs to it, so that nothing is left that nobody can find."""
        ledger, now = self._runtime.ledger, self._runtime.clock()
        before = now - self._runtime.settings.task_days * DAY
        while rows := await ledger.expired(before, now, limit=ROWS):
            await self._objects.delete(*(row.kept.key for row in rows if row.kept))
            await self._posters.remove(rows)
            await self._poster_files.remove(rows)
            await ledger.remove(rows)
        await ledger.remove_uploads(now)

    async def _remove_objects(self, folder: str, life: float) -> None:
        moment = datetime.fromtimestamp(self._clock() - life - MARGIN, UTC)
        async for keys in self._objects.older_than(folder, moment):
            await self._objects.delete(*filter(_OWN.fullmatch, keys))
