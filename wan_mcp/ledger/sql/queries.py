"""What is read and written in SQLite: each function is a few statements, inside the caller's transaction."""

import json
import sqlite3

from wan_mcp.errors import LedgerError
from wan_mcp.evolink import Task
from wan_mcp.evolink.responses import USUAL_DURATION
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.entries import Entry, EntryStatus, cost_of
from wan_mcp.ledger.sql.rows import entry_of

REQUEST_AGAIN = "Make the same request again."

MAX_GAP = 30.0
"""Seconds between two reads, at most, for a completion between them to tell how long the task took."""
REFRESHED_AFTER = 1.0
"""Seconds after which an unchanged state is written again, so that other processes need not read it."""
EQUAL = (
    "(other.content = entries.content OR other.address = entries.address OR (entries.content IS NULL"
    " AND entries.address IS NULL AND other.reference = entries.reference))"
)
"""Whether two rows are of the same request: ``Fingerprints.same``, in SQL."""


def by_number(database: sqlite3.Connection, number: int) -> Entry:
    row = database.execute("SELECT * FROM entries WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise LedgerError(f"The ledger no longer has request #{number}.", next_step=REQUEST_AGAIN)
    return entry_of(row)


def find(database: sqlite3.Connection, owner: str, task_id: str) -> Entry | None:
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND task_id = ?", (owner, task_id)
    ).fetchone()
    return entry_of(row) if row else None


def count(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM entries").fetchone()[0])


def newest(
    database: sqlite3.Connection, owner: str | None, status: EntryStatus | None, limit: int
) -> list[Entry]:
    conditions, values = ["(task_id IS NOT NULL OR posted_at IS NOT NULL)", "same_as IS NULL"], []
    if owner is not None:
        conditions, values = [*conditions, "owner = ?"], [owner]
    if status is not None:
        conditions.append("status IS NULL" if status == "unknown" else "status = ?")
        values += [] if status == "unknown" else [status]
    found = database.execute(
        f"SELECT * FROM entries WHERE {' AND '.join(conditions)} ORDER BY asked_at DESC, number DESC LIMIT ?",
        (*values, limit),
    )
    return [entry_of(row) for row in found]


_LEFT_TO_DO = (
    "status IN ('pending', 'processing', 'completed') AND idempotency_key IS NOT NULL AND same_as IS NULL"
    " AND max(asked_at, coalesce(reposted_at, 0), coalesce(completed_at, 0)) > ?"
)


def unsaved(database: sqlite3.Connection, owner: str, since: float) -> list[Entry]:
    found = database.execute(
        f"SELECT * FROM entries WHERE owner = ? AND saved IS NULL AND {_LEFT_TO_DO} ORDER BY asked_at DESC",
        (owner, since),
    )
    return [entry_of(row) for row in found]


def unkept(database: sqlite3.Connection, owner: str, since: float) -> list[Entry]:
    found = database.execute(
        f"SELECT * FROM entries WHERE owner = ? AND kept IS NULL AND {_LEFT_TO_DO} ORDER BY asked_at DESC",
        (owner, since),
    )
    return [entry_of(row) for row in found]


def owners_of_unkept(database: sqlite3.Connection, gateway: str, since: float) -> list[str]:
    found = database.execute(
        f"SELECT DISTINCT owner FROM entries WHERE gateway = ? AND kept IS NULL AND {_LEFT_TO_DO}",
        (gateway, since),
    )
    return [row["owner"] for row in found]


def rivals(database: sqlite3.Connection, gateway: str) -> list[Entry]:
    found = database.execute(
        # A row that is older than the column may be of any gateway.
        "SELECT * FROM entries WHERE gateway IN (?, '') AND task_id IS NULL AND closed = 0"
        " AND posted_at IS NOT NULL UNION ALL"
        # One that was sent again may have another task, until there is one for each of its POSTs.
        " SELECT * FROM entries WHERE gateway = ? AND task_id IS NOT NULL AND reposted_at > posted_at"
        " AND json_valid(posts) AND json_array_length(posts) >"
        " 1 + (SELECT count(*) FROM entries AS other WHERE other.beside = entries.number)",
        (gateway, gateway),
    )
    return [entry_of(row) for row in found]


def key_use(database: sqlite3.Connection, gateway: str) -> KeyUse:
    row = database.execute("SELECT key_use FROM gateways WHERE address = ?", (gateway,)).fetchone()
    return row["key_use"] if row else "unknown"


def taken_ids(database: sqlite3.Connection, task_ids: list[str]) -> set[str]:
    """Those of the ids that answer a request. A task that was only read may belong to any request."""
    marks = ", ".join("?" for _ in task_ids)
    found = database.execute(
        f"SELECT task_id FROM entries WHERE idempotency_key IS NOT NULL AND task_id IN ({marks})", task_ids
    )
    return {row["task_id"] for row in found}


def keys(database: sqlite3.Connection, numbers: list[int]) -> dict[int, str]:
    found = database.execute(
        "SELECT number, idempotency_key FROM entries WHERE idempotency_key IS NOT NULL"
        " AND number IN (SELECT value FROM json_each(?))",
        (json.dumps(numbers),),
    )
    return {row["number"]: row["idempotency_key"] for row in found}


def answer(
    database: sqlite3.Connection,
    owner: str,
    gateway: str,
    number: int,
    task: Task,
    now: float,
    *,
    recovered: bool,
) -> Entry:
    """Give the task to this row; a row of another request that found it in the account's list loses it.

    If the user removed the row, or another process gave it another task, the task is recorded by itself.
    """
    row = database.execute("SELECT task_id FROM entries WHERE number = ?", (number,)).fetchone()
    if row is None or row["task_id"] not in (None, task.id):
        return _record_paid_task(database, owner, gateway, task, now)
    database.execute(
        "DELETE FROM entries WHERE owner = ? AND task_id = ? AND idempotency_key IS NULL", (owner, task.id)
    )
    known = database.execute(
        f"SELECT other.number, other.recovered, {EQUAL} AS equal FROM entries, entries AS other"
        " WHERE entries.number = ? AND other.owner = ? AND other.task_id = ? AND other.number <> ?",
        (number, owner, task.id, number),
    ).fetchone()
    if known and not recovered and known["recovered"] and not known["equal"]:
        # The answer proves whose task it is; the list only made it likely.
        _take_task_away(database, known["number"])
        database.execute("UPDATE entries SET same_as = ? WHERE same_as = ?", (number, known["number"]))
    elif known:  # the gateway answers equal requests with one task: only one was paid
        database.execute(
            "UPDATE entries SET closed = 1, same_as = ?, holder = NULL, answered_at = ? WHERE number = ?",
            (known["number"], now, number),
        )
        return by_number(database, known["number"])
    database.execute(
        "UPDATE entries SET recovered = ?, holder = NULL, answered_at = ?, untold = 1 WHERE number = ?",
        (recovered, now, number),
    )
    _store(database, number, task, now)
    return by_number(database, number)


def paid_beside(database: sqlite3.Connection, number: int) -> tuple[str, ...]:
    found = database.execute("SELECT task_id FROM entries WHERE beside = ? ORDER BY number", (number,))
    return tuple(row["task_id"] for row in found)


def record_beside(database: sqlite3.Connection, number: int, task: Task, now: float) -> None:
    """Record a task that was paid for a row's request in addition; it belongs to that row's owner."""
    row = database.execute("SELECT owner, gateway FROM entries WHERE number = ?", (number,)).fetchone()
    if row is None:
        return
    entry = _record_paid_task(database, row["owner"], row["gateway"], task, now)
    database.execute(
        "UPDATE entries SET beside = ?, (prompt, duration, quality, estimate, take, parent, part) = (SELECT"
        " prompt, duration, quality, estimate, take, parent, part FROM entries WHERE number = ?)"
        " WHERE number = ?",
        (number, number, entry.number),
    )


def _record_paid_task(
    database: sqlite3.Connection, owner: str, gateway: str, task: Task, now: float
) -> Entry:
    """Record a task by itself. It was paid here: it counts towards the caps, and answers no other request."""
    entry = observe(database, owner, task, now)
    database.execute(
        "UPDATE entries SET idempotency_key = coalesce(idempotency_key, ''), gateway = ?,"
        " posted_at = coalesce(posted_at, ?), reposted_at = coalesce(reposted_at, ?) WHERE number = ?",
        (gateway, now, now, entry.number),
    )
    return by_number(database, entry.number)


def _take_task_away(database: sqlite3.Connection, number: int) -> None:
    """Remove the answer of a row; close the row where an equal request is open, since only one may be."""
    database.execute(
        "UPDATE entries SET task_id = NULL, status = NULL, task = NULL, cost = NULL, recovered = 0,"
        " saved = NULL, kept = NULL, completed_at = NULL, took = NULL, known_at = NULL, answered_at = NULL,"
        " closed = EXISTS (SELECT 1 FROM entries AS other WHERE other.owner = entries.owner"
        f" AND other.number <> entries.number AND other.task_id IS NULL AND other.closed = 0 AND {EQUAL})"
        " WHERE number = ?",
        (number,),
    )


def is_news(entry: Entry, task: Task, now: float) -> bool:
    """Whether a state that was just read has to be written."""
    if entry.task is None:
        return True
    if (entry.task.is_over and not task.is_over) or (entry.task.has_video and not task.has_video):
        return False
    quiet = {"progress": entry.task.progress, "estimated_time": entry.task.estimated_time}
    changed = entry.task != task.model_copy(update=quiet)
    return changed or abs(now - (entry.known_at or 0)) > REFRESHED_AFTER  # the clock may have been set back


def observe(database: sqlite3.Connection, owner: str, task: Task, now: float) -> Entry:
    known = find(database, owner, task.id)
    if known is not None and known.task is not None:
        task = task.completed_by(known.task)
    if known is None:
        number = _insert_elsewhere(database, owner, task, now)
    elif not is_news(known, task, now):
        return known
    else:
        number = known.number
    _store(database, number, task, now)
    return by_number(database, number)


def _insert_elsewhere(database: sqlite3.Connection, owner: str, task: Task, now: float) -> int:
    cursor = database.execute(
        "INSERT INTO entries (owner, asked_at, prompt, estimate) VALUES (?, ?, '', 0)",
        (owner, task.created or now),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def durations(database: sqlite3.Connection, owner: str, task_id: str, limit: int) -> list[float]:
    found = database.execute(
        "SELECT other.took FROM entries AS this JOIN entries AS other ON other.owner = this.owner"
        " AND other.duration = this.duration AND other.quality = this.quality"
        # A video from text has no picture.
        " AND (other.image IS NULL) = (this.image IS NULL)"
        " WHERE this.owner = ? AND this.task_id = ? AND other.took IS NOT NULL"
        " ORDER BY other.asked_at DESC LIMIT ?",
        (owner, task_id, limit),
    )
    return [row["took"] for row in found]


def _store(database: sqlite3.Connection, number: int, task: Task, now: float) -> None:
    cost = cost_of(task)
    database.execute(
        "UPDATE entries SET task_id = ?, status = ?, task = ?, known_at = ?, cost = coalesce(?, cost),"
        # Known only if a read shortly before saw the task running: the end is taken to be halfway between.
        " took = CASE WHEN ? AND completed_at IS NULL AND status IN ('pending', 'processing')"
        " AND ? - known_at BETWEEN 0 AND ? THEN (? + known_at) / 2 - asked_at ELSE took END,"
        # If no read saw it running, it may have been completed long ago: as soon as it was expected.
        " completed_at = coalesce(completed_at, CASE WHEN ? THEN"
        " min(?, max(coalesce(known_at, 0), asked_at + ?)) END) WHERE number = ?",
        (
            task.id,
            task.status,
            task.model_dump_json(),
            now,
            cost,
            task.status == "completed",
            now,
            MAX_GAP,
            now,
            task.status == "completed",
            now,
            task.estimated_time or USUAL_DURATION,
            number,
        ),
    )
