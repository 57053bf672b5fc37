"""What becomes of a request: the task that answers it, and the states of that task."""

from wan_mcp.evolink import Task
from wan_mcp.evolink.responses import USUAL_DURATION
from wan_mcp.ledger.entries import Entry, cost_of
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sql.queries import by_number, find, insert

MAX_GAP = 30.0
"""Seconds between two reads, at most, for a completion between them to tell how long the task took."""
REFRESHED_AFTER = 1.0
"""Seconds after which an unchanged state is written again, so that other processes need not read it."""
EQUAL = (
    "(other.content = entries.content OR other.address = entries.address OR (entries.content IS NULL"
    " AND entries.address IS NULL AND other.reference = entries.reference))"
)
"""Whether two rows are of the same request: ``Fingerprints.same``, in SQL."""


def answer(
    database: Connection,
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
        (int(recovered), now, number),
    )
    _store(database, number, task, now)
    return by_number(database, number)


def record_beside(database: Connection, number: int, task: Task, now: float) -> None:
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


def _record_paid_task(database: Connection, owner: str, gateway: str, task: Task, now: float) -> Entry:
    """Record a task by itself. It was paid here: it counts towards the caps, and answers no other request."""
    entry, _ = observe(database, owner, task, now)
    database.execute(
        "UPDATE entries SET idempotency_key = coalesce(idempotency_key, ''), gateway = ?,"
        " posted_at = coalesce(posted_at, ?), reposted_at = coalesce(reposted_at, ?) WHERE number = ?",
        (gateway, now, now, entry.number),
    )
    return by_number(database, entry.number)


def _take_task_away(database: Connection, number: int) -> None:
    """Remove the answer of a row; close the row where an equal request is open, since only one may be."""
    database.execute(
        "UPDATE entries SET task_id = NULL, status = NULL, task = NULL, cost = NULL, recovered = 0,"
        " saved = NULL, kept = NULL, completed_at = NULL, took = NULL, known_at = NULL, answered_at = NULL,"
        " closed = CASE WHEN EXISTS (SELECT 1 FROM entries AS other WHERE other.owner = entries.owner"
        f" AND other.number <> entries.number AND other.task_id IS NULL AND other.closed = 0 AND {EQUAL})"
        " THEN 1 ELSE 0 END WHERE number = ?",
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


def observe(database: Connection, owner: str, task: Task, now: float) -> tuple[Entry, bool]:
    """Record a state that was read. Return the row, and whether the state is another than before."""
    known = find(database, owner, task.id)
    if known is None:
        made = {"owner": owner, "asked_at": task.created or now, "prompt": "", "estimate": 0}
        number = int(insert(database, made)["number"])
    else:
        number = known.number
        task = task.completed_by(known.task) if known.task is not None else task
        if not is_news(known, task, now):
            return known, False
    _store(database, number, task, now)
    entry = by_number(database, number)
    return entry, known is None or known.task != entry.task


def _store(database: Connection, number: int, task: Task, now: float) -> None:
    row = database.execute(
        "SELECT asked_at, status, cost, known_at, completed_at, took FROM entries WHERE number = ?", (number,)
    ).fetchone()
    took, completed_at, cost = row["took"], row["completed_at"], cost_of(task)
    if task.status == "completed" and completed_at is None:
        known_at = row["known_at"] or 0.0
        # Known only if a read shortly before saw the task running: the end is taken to be halfway between.
        if row["status"] in ("pending", "processing") and 0 <= now - known_at <= MAX_GAP:
            took = (now + known_at) / 2 - row["asked_at"]
        # If no read saw it running, it may have been completed long ago: as soon as it was expected.
        expected = row["asked_at"] + (task.estimated_time or USUAL_DURATION)
        completed_at = min(now, max(known_at, expected))
    database.execute(
        "UPDATE entries SET task_id = ?, status = ?, task = ?, known_at = ?, cost = ?, took = ?,"
        " completed_at = ? WHERE number = ?",
        (
            task.id,
            task.status,
            task.model_dump_json(),
            now,
            row["cost"] if cost is None else cost,
            took,
            completed_at,
            number,
        ),
    )
