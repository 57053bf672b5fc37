"""``wan-mcp tasks``: the ledger for a person."""

import json
import time
from collections.abc import Callable

from wan_mcp.generation import forgetting
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.status import on_this_disk
from wan_mcp.ledger import Entry
from wan_mcp.ledger.opening import opened
from wan_mcp.settings import Settings

STILL_RUNNING = "A running task goes on; it is only no longer remembered here."
PAID_AGAIN = "An equal request is paid again from now on."


async def lines(
    settings: Settings, limit: int, *, as_json: bool, clock: Callable[[], float] = time.time
) -> list[str]:
    """The rows of all keys, newest first: each as a few lines of text, or as one line of JSON."""
    ledger = opened(settings)
    try:
        entries = [await on_this_disk(entry) for entry in await ledger.entries(limit=limit)]
    finally:
        await ledger.aclose()
    now = clock()
    if as_json:
        return [json.dumps(_facts(entry, now), ensure_ascii=False) for entry in entries]
    if not entries:
        return ["Nothing was requested yet."]
    return [f"#{entry.number} {TaskLine.of(entry, now)}{_kept(entry)}" for entry in entries]


async def forget(
    settings: Settings,
    task_id_or_number: str,
    *,
    gone: bool = False,
    clock: Callable[[], float] = time.time,
) -> str:
    """Remove a row, its poster, and its video in a hosted server's storage: see ``forgetting.forget``.

    Returns:
        What was removed and what was not, in sentences.
    """
    ledger = opened(settings)
    try:
        entries = await forgetting.forget(settings, ledger, task_id_or_number, clock, gone=gone)
    finally:
        await ledger.aclose()
    files = [entry.saved.path for entry in entries if entry.saved]
    return " ".join(
        [
            f"Forgot {task_id_or_number}.",
            *([] if gone or not any(entry.kept for entry in entries) else ["Its kept video was deleted."]),
            *(f"The saved file {path} stays." for path in files),
            *([PAID_AGAIN] if any(entry.is_request for entry in entries) else []),
            *([STILL_RUNNING] if any(not entry.task or not entry.task.is_over for entry in entries) else []),
        ]
    )


def _kept(entry: Entry) -> str:
    return f"\n  kept by a hosted server: {entry.kept.key}" if entry.kept else ""


def _facts(entry: Entry, now: float) -> dict[str, object]:
    line = TaskLine.of(entry, now)
    return {
        "number": entry.number,
        **line.model_dump(exclude={"kept_until"}),  # links are made for hosted callers alone
        "asked_at": line.asked_at or None,
        "prompt": entry.prompt,
        "results": line.results or [],
        "kept": entry.kept and entry.kept.key,
        "recovered": entry.recovered,
        "made_elsewhere": not entry.is_request,
    }
