"""The posters of this machine's user: small files in the data folder, removed once the row is gone."""

import hashlib
import logging
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio.to_thread

from wan_mcp.errors import LedgerError
from wan_mcp.images.poster import MAX_BYTES
from wan_mcp.ledger import Entry, Ledger
from wan_mcp.videos import files

logger = logging.getLogger(__name__)

FOLDER = "posters"
_NAME = re.compile(r"(\d{1,18})-[0-9a-f]{16}\.jpg")


class PosterFiles:
    """Posters in a folder; see ``PosterStore``.

    Args:
        data_dir: the folder of the ledger, in which the folder of the posters is.
        ledger: says which rows there are.
    """

    def __init__(self, data_dir: Path, ledger: Ledger) -> None:
        self._folder = data_dir / FOLDER
        self._ledger = ledger
        self._is_tidy = False

    async def put(self, entry: Entry, content: bytes) -> None:
        await anyio.to_thread.run_sync(_write, self._path(entry), content)
        if not self._is_tidy:  # an earlier process may have been killed between a row and its poster
            self._is_tidy = True
            await self.remove_orphans()

    async def read(self, entry: Entry) -> bytes | None:
        return await anyio.to_thread.run_sync(_content, self._path(entry))

    async def remove(self, entries: list[Entry]) -> None:
        await anyio.to_thread.run_sync(_remove, [self._path(entry) for entry in entries])

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

    def _path(self, entry: Entry) -> Path:
        return self._folder / _name(entry.number, entry.idempotency_key)


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


def _content(path: Path) -> bytes | None:
    """What a file holds; None where there is none that can be read, or it is too large for a poster."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            return path.read_bytes()
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
