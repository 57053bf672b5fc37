"""The posters of all owners' tasks: small JPEG files, each kept while the ledger has the task's row."""

import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from wan_mcp.errors import LedgerError, NoPoster, PictureError
from wan_mcp.images.poster import MAX_BYTES, is_whole
from wan_mcp.ledger import Entry, Ledger
from wan_mcp.videos import files

logger = logging.getLogger(__name__)

FOLDER = "posters"
MAKING_AFTER = 0.2
"""Seconds from when the task is known: the caller gets its answer first."""
MAKING_SECONDS = 5.0
"""Seconds for which a reader waits for a poster that is being made."""
_NAME = re.compile(r"(\d{1,18})-[0-9a-f]{16}\.jpg")

Make = Callable[[], Awaitable[bytes | None]]
"""Makes a poster, a JPEG file; None where the picture's bytes are not known."""


class Posters:
    """Makes posters in the background, and keeps their files.

    Args:
        data_dir: the folder of the ledger, in which the folder of the posters is.
        ledger: says which rows there are.
    """

    def __init__(self, data_dir: Path, ledger: Ledger) -> None:
        self._folder = data_dir / FOLDER
        self._ledger = ledger
        self._making: dict[str, anyio.Event] = {}
        self._one_at_a_time = anyio.Lock()
        self._is_tidy = False

    def keep(self, entry: Entry, make: Make, background: TaskGroup) -> None:
        """Make the poster of a row, unless there is one. A failure is only logged.

        Args:
            entry: the row.
            make: makes the poster.
            background: where this runs.
        """
        name = _name(entry.number, entry.idempotency_key)
        if name not in self._making:
            self._making[name] = anyio.Event()
            background.start_soon(self._keep, name, entry.number, make)

    async def read(self, entry: Entry | None) -> bytes:
        """The poster of a row, a JPEG file; one that is being made is waited for.

        Raises:
            NoPoster: when there is no row, none is kept, or its file is damaged.
        """
        if entry is None:
            raise NoPoster("You have no task of this id here, and therefore no poster.")
        name = _name(entry.number, entry.idempotency_key)
        if name in self._making:
            with anyio.move_on_after(MAKING_SECONDS):
                await self._making[name].wait()
        content = await anyio.to_thread.run_sync(_whole, self._folder / name)
        if content is None:
            raise NoPoster("No poster of this task's picture is kept. The task itself is not affected.")
        return content

    async def remove(self, entries: list[Entry]) -> None:
        """Remove the posters of rows; raises ``OSError`` when one cannot be removed."""
        names = [_name(entry.number, entry.idempotency_key) for entry in entries]
        await anyio.to_thread.run_sync(_remove, [self._folder / name for name in names])

    async def remove_older(self, moment: float) -> None:
        """Remove the posters that were made before a moment; raises ``OSError`` when one cannot be removed.

        Args:
            moment: Unix seconds, by the clock of the disk.
        """
        await anyio.to_thread.run_sync(_remove_older, self._folder, moment)

    async def remove_orphans(self) -> None:
        """Remove the posters whose rows are gone. A failure is only logged."""
        try:
            # The files are listed first: a poster is written after its row.
            names = await anyio.to_thread.run_sync(_names, self._folder)
            keys = await self._ledger.keys(list(names.values())) if names else {}
            kept = {_name(number, key) for number, key in keys.items()}
            await anyio.to_thread.run_sync(_remove, [self._folder / name for name in names.keys() - kept])
        except (LedgerError, OSError) as error:
            logger.warning("posters of requests that are gone could not be removed: %s", error)

    async def _keep(self, name: str, number: int, make: Make) -> None:
        path = self._folder / name
        try:
            await anyio.sleep(MAKING_AFTER)
            async with self._one_at_a_time:  # new requests need the threads that decode pictures
                if await anyio.to_thread.run_sync(_whole, path) is None:
                    await self._make(path, number, make)
        except (PictureError, LedgerError, OSError) as error:
            logger.warning("no poster of request #%d is kept: %s", number, error)
        except Exception:  # it would end all work in the background
            logger.exception("making a poster failed unexpectedly")
        finally:
            self._making.pop(name).set()

    async def _make(self, path: Path, number: int, make: Make) -> None:
        content = await make()
        if content is None:
            return
        await anyio.to_thread.run_sync(_write, path, content)
        if not self._is_tidy:  # an earlier process may have been killed between a row and its poster
            self._is_tidy = True
            await self.remove_orphans()
        elif not await self._ledger.keys([number]):  # the row was removed since
            await anyio.to_thread.run_sync(_remove, [path])


def _name(number: int, idempotency_key: str | None) -> str:
    """The name of a row's file: without anything that the API sent, and different in another ledger."""
    return f"{number}-{hashlib.sha256((idempotency_key or '').encode()).hexdigest()[:16]}.jpg"


def _names(folder: Path) -> dict[str, int]:
    """The posters in a folder, with the numbers of their rows; abandoned partial files are removed."""
    if not folder.exists():
        return {}
    files.prepare(folder)
    found = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    return {match[0]: int(match[1]) for match in found if match}


def _whole(path: Path) -> bytes | None:
    """The content of a poster; None where the file is missing or damaged."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            content = path.read_bytes()
            return content if is_whole(content) else None
    return None


def _write(path: Path, content: bytes) -> None:
    """Write a file that only this user can read; it gets its name once it is whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = files.partial_path(path.parent)
    try:
        with open(unfinished, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(content)
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _remove_older(folder: Path, moment: float) -> None:
    old = []
    for name in _names(folder):
        with suppress(FileNotFoundError):
            if (folder / name).lstat().st_mtime < moment:
                old.append(folder / name)
    _remove(old)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with suppress(NotADirectoryError):  # then there is no poster
            path.unlink(missing_ok=True)
