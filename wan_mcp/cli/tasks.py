"""``wan-mcp tasks``: the ledger for a person."""

import json
from pathlib import Path

from wan_mcp.errors import InvalidRequest
from wan_mcp.evolink.values import utc
from wan_mcp.ledger import Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger


async def lines(folder: Path, limit: int, *, as_json: bool) -> list[str]:
    """The rows of all keys, newest first: a table, or one JSON object a line."""
    ledger = SqliteLedger(folder)
    try:
        entries = await ledger.entries(limit=limit)
    finally:
        await ledger.aclose()
    if as_json:
        return [json.dumps(_facts(entry), ensure_ascii=False) for entry in entries]
    if not entries:
        return ["Nothing was requested yet."]
    return [
        f"{'':>5} {'requested (UTC)':<16} {'status':<10} {'credits':>7}  {'task':<40} prompt",
        *map(_row, entries),
    ]


async def forget(folder: Path, task_id_or_number: str) -> None:
    """Remove a row.

    Raises:
        InvalidRequest: when there is none of that id.
    """
    ledger = SqliteLedger(folder)
    try:
        found = await ledger.forget(task_id_or_number)
    finally:
        await ledger.aclose()
    if not found:
        raise InvalidRequest(
            f"The ledger has no {task_id_or_number}.", next_step="wan-mcp tasks lists what it has."
        )


def _row(entry: Entry) -> str:
    date = utc(entry.asked_at)
    asked = f"{date:%Y-%m-%d %H:%M}" if date else "-"
    task_id = entry.task.id if entry.task else "-"
    prompt = " ".join(entry.prompt.split())[:60] + (f" (take {entry.take})" if entry.take > 1 else "")
    return f"{f'#{entry.number}':>5} {asked:<16} {entry.status:<10} {entry.cost:>7g}  {task_id:<40} {prompt}"


def _facts(entry: Entry) -> dict[str, object]:
    task, asked = entry.task, utc(entry.asked_at)
    return {
        "number": entry.number,
        "id": task.id if task else None,
        "status": entry.status,
        "asked_at": asked.isoformat(timespec="seconds") if asked else None,
        "prompt": entry.prompt,
        "duration": entry.duration,
        "quality": entry.quality,
        "take": entry.take if entry.is_request else None,
        "credits": entry.cost,
        "results": list(task.results) if task else [],
        "error": task.error.code if task and task.error else None,
        "recovered": entry.recovered,
        "made_elsewhere": not entry.is_request,
    }
