"""The decision about a wish: whose it is, whether it was paid for already, whether it may cost more."""

import math
import secrets
import sqlite3
from datetime import UTC, datetime

from wan_mcp.errors import CapReached
from wan_mcp.evolink import prices
from wan_mcp.ledger.base import Claim, Intent, Terms
from wan_mcp.ledger.lease import LEASE, is_alive, myself
from wan_mcp.ledger.sqlite.queries import by_number, entry_of

RESUMED_FOR = 23 * 3600.0
"""Seconds for which a request without an answer is gone on with: the idempotency key's life at the vendor."""
DAY = 24 * 3600.0
TINY = 1e-6
"""Credits that are no difference: sums of decimals are not exact."""


def decide(database: sqlite3.Connection, intent: Intent, terms: Terms, waited_for: int | None) -> Claim:
    """Judge a claim; to be called inside one transaction, so that all processes agree.

    Raises:
        CapReached: when a new task would go over the daily cap.
    """
    return (
        _joined(database, waited_for)
        or _open_request(database, intent, terms, waited_for)
        or _existing_task(database, intent, terms)
        or _new(database, intent, terms)
    )


def _joined(database: sqlite3.Connection, waited_for: int | None) -> Claim | None:
    """The request that was waited for has its answer: that is ours as well, whatever it is."""
    if waited_for is None:
        return None
    row = database.execute(
        "SELECT * FROM entries WHERE number = ? AND task_id IS NOT NULL", (waited_for,)
    ).fetchone()
    return Claim("repeat", entry_of(row)) if row else None


def _open_request(
    database: sqlite3.Connection, intent: Intent, terms: Terms, waited_for: int | None
) -> Claim | None:
    """The latest request for the same without an answer: joined while someone is at it, else gone on with.

    It comes before ``new_take``: a client that repeats a broken call repeats that argument, too.
    """
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND fingerprint = ? AND task_id IS NULL"
        " AND (asked_at > ? OR held_until > ?) ORDER BY number DESC LIMIT 1",
        (intent.owner, intent.fingerprint, terms.now - RESUMED_FOR, terms.now),
    ).fetchone()
    if row is None:
        return None
    if is_alive(row["holder"], row["held_until"], terms.now):
        return Claim("busy", entry_of(row))
    if row["number"] == waited_for and row["holder"] is None:
        return Claim("unknown", entry_of(row))
    if row["posted_at"] is None:  # its process died before anything was sent: judged anew, the cap included
        database.execute("DELETE FROM entries WHERE number = ?", (row["number"],))
        return None
    database.execute(
        "UPDATE entries SET holder = ?, held_until = ? WHERE number = ?",
        (myself(), terms.now + LEASE, row["number"]),
    )
    return Claim("resume", entry_of(row))


def _existing_task(database: sqlite3.Connection, intent: Intent, terms: Terms) -> Claim | None:
    """The task that the wish has, if it was asked for in time; a request gone on with, from then on."""
    if terms.new_take:
        return None
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND fingerprint = ? AND task_id IS NOT NULL"
        " AND status NOT IN ('failed', 'cancelled')"
        " AND max(asked_at, coalesce(held_until, 0) - ?) > ? ORDER BY number DESC LIMIT 1",
        (intent.owner, intent.fingerprint, LEASE, terms.now - terms.repeat_seconds),
    ).fetchone()
    return Claim("repeat", entry_of(row)) if row else None


def _new(database: sqlite3.Connection, intent: Intent, terms: Terms) -> Claim:
    if terms.daily_credits is not None:
        _check_cap(database, intent, terms, terms.daily_credits)
    cursor = database.execute(
        "INSERT INTO entries (owner, fingerprint, idempotency_key, asked_at, prompt, duration, quality,"
        " estimate, holder, held_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            intent.owner,
            intent.fingerprint,
            f"wan-mcp-{secrets.token_hex(16)}",
            terms.now,
            intent.prompt,
            intent.duration,
            intent.quality,
            intent.estimate,
            myself(),
            terms.now + LEASE,
        ),
    )
    assert cursor.lastrowid is not None
    return Claim("fresh", by_number(database, cursor.lastrowid))


def _check_cap(database: sqlite3.Connection, intent: Intent, terms: Terms, cap: float) -> None:
    spendings = _spendings(database, intent.owner, terms.now)
    if _fits(spendings, intent.estimate, cap):
        return
    spent = math.fsum(credits for _, credits in spendings)
    raise CapReached(
        f"The daily cap of {cap:g} credits (WAN_MCP_DAILY_CREDITS) would be exceeded: {spent:g} were spent in"
        f" the last 24 hours, and this video is estimated at {intent.estimate:g} (prices of {prices.AS_OF}).",
        next_step=_when_it_fits(spendings, intent.estimate, cap),
    )


def _spendings(database: sqlite3.Connection, owner: str, now: float) -> list[tuple[float, float]]:
    """Time and credits of each request of the last 24 hours, oldest first; what failed cost nothing.

    A request that was sent again counts from then on: it may be that one that was paid.
    """
    found = database.execute(
        "SELECT coalesce(reposted_at, asked_at) AS moment, coalesce(cost, estimate) AS credits FROM entries"
        " WHERE owner = ? AND fingerprint IS NOT NULL AND asked_at > ?"
        " AND (posted_at IS NOT NULL OR held_until > ?) ORDER BY moment",
        (owner, now - DAY - RESUMED_FOR - LEASE, now),
    )
    return [(row["moment"], row["credits"]) for row in found if row["credits"] and row["moment"] > now - DAY]


def _fits(spendings: list[tuple[float, float]], estimate: float, cap: float) -> bool:
    return math.fsum(credits for _, credits in spendings) + estimate <= cap + TINY


def _when_it_fits(spendings: list[tuple[float, float]], estimate: float, cap: float) -> str:
    """When enough of the spendings are a day old that what is wanted has room."""
    for count, (moment, _) in enumerate(spendings, start=1):
        if _fits(spendings[count:], estimate, cap):
            free = datetime.fromtimestamp(math.ceil(moment + DAY), UTC)
            return f"There is room for it from {free:%Y-%m-%d %H:%M:%S} UTC on, or raise the cap."
    return "It alone is over the cap: ask for a shorter or smaller video, or raise the cap."
