"""The list of one owner's requests and tasks, as they are now."""

from contextlib import suppress

import anyio

from wan_mcp.errors import EvolinkError, LedgerError
from wan_mcp.generation.places import VideoPlace
from wan_mcp.generation.reading import FRESH, TaskReader
from wan_mcp.ledger import Entry, EntryStatus, OwnerLedger

MAX_REFRESHED = 5
"""Unfinished tasks that one listing reads again at most."""
REFRESH_SECONDS = 8.0
"""Seconds that a listing waits for these reads."""


class TaskList:
    """The list of one owner's requests and tasks.

    Args:
        ledger: has them.
        tasks: reads tasks again.
        place: where their videos are.
    """

    def __init__(self, ledger: OwnerLedger, tasks: TaskReader, place: VideoPlace) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._place = place

    async def newest(self, status: EntryStatus | None, limit: int) -> list[Entry]:
        """The newest entries; up to ``MAX_REFRESHED`` of the unfinished tasks are read again first."""
        entries = await self._ledger.entries(status=status, limit=limit)
        running = [entry.task.id for entry in entries if entry.task and not entry.task.is_over]
        async with anyio.create_task_group() as group:
            for task_id in running[:MAX_REFRESHED]:
                group.start_soon(self._refresh, task_id)
        if running:
            entries = await self._ledger.entries(status=status, limit=limit)
        return await self._shown(entries)

    async def _refresh(self, task_id: str) -> None:
        with anyio.move_on_after(REFRESH_SECONDS), suppress(EvolinkError, LedgerError):
            await self._tasks.poll(task_id, FRESH)

    async def _shown(self, entries: list[Entry]) -> list[Entry]:
        """Rows as their owner may see them, together: a link that is slow to be signed delays no other."""
        shown = list(entries)

        async def show(index: int, entry: Entry) -> None:
            shown[index] = await self._place.shown(entry)

        async with anyio.create_task_group() as group:
            for index, entry in enumerate(entries):
                group.start_soon(show, index, entry)
        return shown
