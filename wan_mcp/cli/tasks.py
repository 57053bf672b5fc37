"""``wan-mcp tasks``: the ledger for a person."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from wan_mcp.errors import InvalidRequest
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.posters import Posters
from wan_mcp.generation.status import on_this_disk
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger


async def lines(
    folder: Path, limit: int, *, as_json: bool, clock: Callable[[], float] = time.time
) -> list[str]:
    """The rows of all keys, newest first: each as a few lines of text, or as one line of JSON."""
    ledger = SqliteLedger(folder)
    try:
        entries = [await on_this_disk(entry) for entry in await ledger.entries(limit=limit)]
    finally:
        await ledger.aclose()
    now = clock()
    if as_json:
        return [json.dumps(_facts(entry, now), ensure_ascii=False) for entry in entries]
    if not entries:
        return ["Nothing was requested yet."]
    return [f"#{entry.number} {TaskLine.of(entry, now)}" for entry in entries]


async def forget(folder: Path, task_id_or_number: str) -> None:
    """Remove a row, and its poster.

    Raises:
        InvalidRequest: when there is no such row.
    """
    ledger = SqliteLedger(folder)
    try:
        found = await ledger.forget(task_id_or_number)
        await Posters(folder, ledger).remove_orphans()
    finally:
        await ledger.aclose()
    if not found:
        raise InvalidRequest(
            f"The ledger has no row {task_id_or_number}.", next_step="wan-mcp tasks lists the rows."
        )


def _facts(entry: Entry, now: float) -> dict[str, object]:
    line = TaskLine.of(entry, now)
    return {
        "number": entry.number,
        **line.model_dump(exclude={"kept_until"}),  # links are made for hosted callers alone
        "asked_at": line.asked_at or None,
        "prompt": entry.prompt,
        "results": line.results or [],
        "recovered": entry.recovered,
        "made_elsewhere": not entry.is_request,
    }
