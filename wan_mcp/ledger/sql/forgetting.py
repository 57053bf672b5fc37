"""Rows that are to be removed: those that a person names, and those that are too old."""

import json
import sqlite3

from wan_mcp.ledger.entries import Entry
from wan_mcp.ledger.sql.rows import entry_of

RECENT = 2 * 86_400.0
"""Seconds for which a row stays in any case: for a day, it keeps its request from being paid twice."""


def named(database: sqlite3.Connection, task_id_or_number: str) -> list[Entry]:
    number = task_id_or_number.removeprefix("#")
    column, value = ("number", number) if number.isdecimal() else ("task_id", task_id_or_number)
    found = database.execute(
        # Also the rows that were closed because they have the same task.
        f"SELECT * FROM entries WHERE {column} = ? OR same_as IN"
        f" (SELECT number FROM entries WHERE {column} = ?) ORDER BY number",
        (value, value),
    )
    return [entry_of(row) for row in found]


def expired(database: sqlite3.Connection, before: float, now: float, limit: int) -> list[Entry]:
    before = min(before, now - RECENT)
    found = database.execute(
        # The index alone tells which are old: the rows themselves are a hundred times larger.
        "SELECT * FROM entries WHERE number IN (SELECT number FROM entries INDEXED BY entries_by_time"
        " WHERE asked_at < ?) AND max(coalesce(posted_at, 0), coalesce(reposted_at, 0),"
        " coalesce(completed_at, 0)) < ? ORDER BY number LIMIT ?",
        (before, now - RECENT, limit),
    )
    return [entry_of(row) for row in found]


def remove(database: sqlite3.Connection, numbers: list[int]) -> int:
    removed = database.execute(
        "DELETE FROM entries WHERE number IN (SELECT value FROM json_each(?))", (json.dumps(numbers),)
    )
    return removed.rowcount
