"""What is read and written: each function is a few statements, inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from wan_mcp.errors import LedgerError
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.entries import Entry, EntryStatus
from wan_mcp.ledger.sql.connection import Connection
from wan_mcp.ledger.sql.rows import entry_of

T = TypeVar("T")
AT_ONCE = 500
"""Values that are looked up in one statement."""
REQUEST_AGAIN = "Make the same request again."


def by_number(database: Connection, number: int) -> Entry:
    return entry_of(row_of(database, number))


def row_of(database: Connection, number: int) -> Any:
    row = database.execute("SELECT * FROM entries WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise LedgerError(f"The ledger no longer has request #{number}.", next_step=REQUEST_AGAIN)
    return row


def find(database: Connection, owner: str, task_id: str) -> Entry | None:
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND task_id = ?", (owner, task_id)
    ).fetchone()
    return entry_of(row) if row else None


def count(database: Connection) -> int:
    return int(database.execute("SELECT count(*) AS rows FROM entries").fetchone()["rows"])


def salt(database: Connection) -> bytes:
    """What the digests of owners are keyed with."""
    return bytes(database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()["value"])


def insert(database: Connection, values: Mapping[str, Any]) -> Any:
    """Add a row with these columns, and return it."""
    columns, marks = ", ".join(values), ", ".join("?" for _ in values)
    return database.execute(
        f"INSERT INTO entries ({columns}) VALUES ({marks}) RETURNING *", tuple(values.values())
    ).fetchone()


def newest(database: Connection, owner: str | None, status: EntryStatus | None, limit: int) -> list[Entry]:
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
    " AND (asked_at > ? OR reposted_at > ? OR completed_at > ?)"
)


def unsaved(database: Connection, owner: str, since: float, machine: str | None) -> list[Entry]:
    """Those that a program on this machine has to save: each machine saves what was requested there."""
    found = database.execute(
        f"SELECT * FROM entries WHERE owner = ? AND saved IS NULL AND (machine IS NULL OR machine = ?)"
        f" AND {_LEFT_TO_DO} ORDER BY asked_at DESC",
        (owner, machine, since, since, since),
    )
    return [entry_of(row) for row in found]


def unkept(database: Connection, owner: str, since: float) -> list[Entry]:
    found = database.execute(
        f"SELECT * FROM entries WHERE owner = ? AND kept IS NULL AND {_LEFT_TO_DO} ORDER BY asked_at DESC",
        (owner, since, since, since),
    )
    return [entry_of(row) for row in found]


def owners_of_unkept(database: Connection, gateway: str, since: float) -> list[str]:
    found = database.execute(
        f"SELECT DISTINCT owner FROM entries WHERE gateway = ? AND kept IS NULL AND {_LEFT_TO_DO}",
        (gateway, since, since, since),
    )
    return [row["owner"] for row in found]


def rivals(database: Connection, gateway: str) -> list[Entry]:
    found = database.execute(
        # A row that is older than the column may be of any gateway.
        "SELECT * FROM entries WHERE gateway IN (?, '') AND task_id IS NULL AND closed = 0"
        " AND posted_at IS NOT NULL UNION ALL"
        # One that was sent again may have another task, until there is one for each of its POSTs.
        " SELECT * FROM entries WHERE gateway = ? AND task_id IS NOT NULL AND reposted_at > posted_at",
        (gateway, gateway),
    ).fetchall()
    entries = [entry_of(row) for row in found]
    return [
        entry
        for entry in entries
        if entry.task is None or len(entry.posts) > 1 + len(paid_beside(database, entry.number))
    ]


def key_use(database: Connection, gateway: str) -> KeyUse:
    row = database.execute("SELECT key_use FROM gateways WHERE address = ?", (gateway,)).fetchone()
    return row["key_use"] if row else "unknown"


def taken_ids(database: Connection, task_ids: list[str]) -> set[str]:
    """Those of the ids that answer a request. A task that was only read may belong to any request."""
    found: set[str] = set()
    for part in parts(task_ids):
        rows = database.execute(
            f"SELECT task_id FROM entries WHERE idempotency_key IS NOT NULL AND task_id IN ({marks(part)})",
            part,
        )
        found |= {row["task_id"] for row in rows}
    return found


def keys(database: Connection, numbers: list[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in parts(numbers):
        rows = database.execute(
            "SELECT number, idempotency_key FROM entries WHERE idempotency_key IS NOT NULL"
            f" AND number IN ({marks(part)})",
            part,
        )
        found |= {row["number"]: row["idempotency_key"] for row in rows}
    return found


def parts(values: Sequence[T]) -> list[Sequence[T]]:
    """The values in portions that one statement can take."""
    return [values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE)]


def marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


def paid_beside(database: Connection, number: int) -> tuple[str, ...]:
    found = database.execute("SELECT task_id FROM entries WHERE beside = ? ORDER BY number", (number,))
    return tuple(row["task_id"] for row in found)


def durations(database: Connection, owner: str, task_id: str, limit: int) -> list[float]:
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
