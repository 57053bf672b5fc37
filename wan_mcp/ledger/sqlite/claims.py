"""A claim in SQLite: the rows that ``policy`` decides about, and what is written then."""

import secrets
import sqlite3

from wan_mcp.ledger.base import Claim, ClaimRules, Intent
from wan_mcp.ledger.lease import LEASE, own_mark
from wan_mcp.ledger.policy import COUNTED_FOR, RESUMED_FOR, OpenRequest, Spending, check_cap, judge
from wan_mcp.ledger.sqlite.queries import by_number, entry_of


def decide(
    database: sqlite3.Connection, owner: str, intent: Intent, rules: ClaimRules, waited_for: int | None
) -> Claim:
    """Judge a claim; to be called inside one transaction, so that all processes agree.

    Raises:
        CapReached: when a new task would exceed the daily cap.
    """
    return (
        _answered(database, waited_for)
        or _open_request(database, owner, intent, rules, waited_for)
        or _existing_task(database, owner, intent, rules)
        or _new(database, owner, intent, rules)
    )


def _answered(database: sqlite3.Connection, waited_for: int | None) -> Claim | None:
    """The request that was waited for has its answer: that is ours as well, even if the task failed."""
    if waited_for is None:
        return None
    row = database.execute(
        "SELECT * FROM entries WHERE number = ? AND task_id IS NOT NULL", (waited_for,)
    ).fetchone()
    return Claim("repeat", entry_of(row)) if row else None


def _open_request(
    database: sqlite3.Connection, owner: str, intent: Intent, rules: ClaimRules, waited_for: int | None
) -> Claim | None:
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND fingerprint = ? AND task_id IS NULL"
        " AND (asked_at > ? OR held_until > ?) ORDER BY number DESC LIMIT 1",
        (owner, intent.fingerprint, rules.now - RESUMED_FOR, rules.now),
    ).fetchone()
    if row is None:
        return None
    found = OpenRequest(row["number"], row["posted_at"], row["holder"], row["held_until"])
    verdict = judge(found, waited_for, rules.now)
    if verdict == "drop":
        database.execute("DELETE FROM entries WHERE number = ?", (found.number,))
        return None
    if verdict == "resume":
        database.execute(
            "UPDATE entries SET holder = ?, held_until = ? WHERE number = ?",
            (own_mark(), rules.now + LEASE, found.number),
        )
    return Claim(verdict, entry_of(row))


def _existing_task(
    database: sqlite3.Connection, owner: str, intent: Intent, rules: ClaimRules
) -> Claim | None:
    """The task of an equal request within the repeat window, which begins when that was last sent."""
    if rules.new_take:
        return None
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND fingerprint = ? AND task_id IS NOT NULL"
        " AND status NOT IN ('failed', 'cancelled')"
        # held_until is the moment of the last POST plus LEASE.
        " AND max(asked_at, coalesce(held_until, 0) - ?) > ? ORDER BY number DESC LIMIT 1",
        (owner, intent.fingerprint, LEASE, rules.now - rules.repeat_seconds),
    ).fetchone()
    return Claim("repeat", entry_of(row)) if row else None


def _new(database: sqlite3.Connection, owner: str, intent: Intent, rules: ClaimRules) -> Claim:
    if rules.daily_credits is not None:
        check_cap(_spendings(database, owner, rules.now), intent, rules)
    cursor = database.execute(
        "INSERT INTO entries (owner, fingerprint, idempotency_key, asked_at, prompt, duration, quality,"
        " estimate, holder, held_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            owner,
            intent.fingerprint,
            f"wan-mcp-{secrets.token_hex(16)}",
            rules.now,
            intent.prompt,
            intent.duration,
            intent.quality,
            intent.estimate,
            own_mark(),
            rules.now + LEASE,
        ),
    )
    assert cursor.lastrowid is not None
    return Claim("fresh", by_number(database, cursor.lastrowid))


def _spendings(database: sqlite3.Connection, owner: str, now: float) -> list[Spending]:
    """What each request cost or may cost, oldest first; what failed cost nothing."""
    found = database.execute(
        "SELECT coalesce(reposted_at, asked_at) AS moment, coalesce(cost, estimate) AS credits FROM entries"
        " WHERE owner = ? AND fingerprint IS NOT NULL AND asked_at > ?"
        # What was claimed but not sent yet counts only while somebody may be about to send it.
        " AND (posted_at IS NOT NULL OR held_until > ?) ORDER BY moment",
        (owner, now - COUNTED_FOR, now),
    )
    return [Spending(row["moment"], row["credits"]) for row in found if row["credits"]]
