"""Rows that are to be removed: those that a person names, and those that are too old."""

from wan_mcp.ledger.entries import Entry
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sql.queries import marks, parts
from wan_mcp.ledger.sql.rows import entry_of

MAX_NUMBER = 2**63 - 1
RECENT = 2 * 86_400.0
"""Seconds for which a row stays in any case: for a day, it keeps its request from being paid twice."""


def named(database: Connection, task_id_or_number: str) -> list[Entry]:
    number = task_id_or_number.removeprefix("#")
    column: str = "task_id"
    value: str | int = task_id_or_number
    if number.isdecimal():
        column, value = "number", min(int(number), MAX_NUMBER)
    found = database.execute(
        # Also the rows that were closed because they have the same task.
        f"SELECT * FROM entries WHERE {column} = ? OR same_as IN"
        f" (SELECT number FROM entries WHERE {column} = ?) ORDER BY number",
        (value, value),
    )
    return [entry_of(row) for row in found]


def expired(database: Connection, before: float, now: float, limit: int) -> list[Entry]:
    before = min(before, now - RECENT)
    found = database.execute(
        # The index alone tells which are old: the rows themselves are a hundred times larger.
        "SELECT * FROM entries WHERE number IN (SELECT number FROM entries WHERE asked_at < ?)"
        " AND coalesce(posted_at, 0) < ? AND coalesce(reposted_at, 0) < ? AND coalesce(completed_at, 0) < ?"
        " ORDER BY number LIMIT ?",
        (before, *[now - RECENT] * 3, limit),
    )
    return [entry_of(row) for row in found]


def remove(database: Connection, numbers: list[int]) -> None:
    for part in parts(numbers):
        database.execute(f"DELETE FROM entries WHERE number IN ({marks(part)})", part)
