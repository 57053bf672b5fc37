"""A claim: the rows that ``policy`` decides about, and what is written then."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from wan_mcp.errors import TakenOver
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.caps import COUNTED_FOR, Spending, check_caps
from wan_mcp.ledger.claim import Claim, ClaimRules, Intent
from wan_mcp.ledger.entries import Entry, Post
from wan_mcp.ledger.fingerprints import Fingerprints
from wan_mcp.ledger.policy import DAY, judge
from wan_mcp.ledger.sql.connection import Connection, Database, Holders
from wan_mcp.ledger.sql.queries import REQUEST_AGAIN, by_number, insert, key_use, row_of
from wan_mcp.ledger.sql.rows import entry_of

_WITHOUT_A_VIDEO = ("failed", "cancelled")
CLOCKS_DIFFER = 1.0
"""Seconds by which the corrected clocks of two machines with the same ledger differ at most."""


def decide(
    place: Database, database: Connection, owner: str, gateway: str, intent: Intent, rules: ClaimRules
) -> Claim:
    """Judge a claim; to be called inside one transaction, so that all processes agree.

    Raises:
        CapReached: when a new request would exceed a cap.
    """
    holders = place.holders(database)
    waited = database.execute(
        "SELECT coalesce(same_as, number) AS number FROM entries"
        " WHERE number = ? AND (task_id IS NOT NULL OR same_as IS NOT NULL)",
        (rules.waited_for,),
    ).fetchone()
    if waited is not None:  # its outcome is ours as well, even a failure
        return Claim("repeat", by_number(database, waited["number"]))
    for row in _equal_rows(database, owner, intent.fingerprints, "task_id IS NULL AND closed = 0"):
        entry = entry_of(row)
        alive = holders.is_alive(row["holder"], entry.number)
        verdict = judge(entry.posts, rules.now, rules.skew, alive=alive)
        if verdict == "busy":
            return Claim("busy", entry)
        if verdict == "expired" and not rules.skew_asked and rules.skew is None:
            return Claim("undated", entry)
        if verdict == "resume":
            _hold(database, entry.number, holders)
            return Claim("resume", entry)
        # Closed, not removed: its process may only have been paused, and must still find it.
        database.execute("UPDATE entries SET closed = 1, holder = NULL WHERE number = ?", (entry.number,))
    known = _existing_task(database, owner, intent, rules)
    if known is not None:
        return Claim("repeat", known)
    if not intent.can_be_sent:
        return Claim("absent", None)
    own = [] if rules.daily_credits is None else spent(database, owner, rules.now, holders)
    of_all = []
    if rules.total_daily_credits is not None:
        place.alone_at(database, gateway)
        of_all = spent_by_all(database, gateway, rules.now, holders)
    check_caps(own, of_all, intent, rules)
    replaces = _has_expired(database, owner, intent.fingerprints)
    entry = _insert(database, owner, gateway, intent, rules, place.machine, holders)
    return Claim("fresh", entry, replaces=replaces)


def abandoned(database: Connection, gateway: str, holders: Holders) -> list[tuple[str, int]]:
    """The rows that may have been sent, and whose programs died at work: their owners and numbers."""
    found = database.execute(
        "SELECT owner, number, holder FROM entries WHERE gateway = ? AND task_id IS NULL AND closed = 0"
        " AND posted_at IS NOT NULL AND holder IS NOT NULL ORDER BY number",
        (gateway,),
    ).fetchall()
    return [
        (row["owner"], row["number"]) for row in found if not holders.is_alive(row["holder"], row["number"])
    ]


def take_over(database: Connection, owner: str, number: int, holders: Holders) -> Entry | None:
    """Work from now on on a row that may have been sent, and whose program died at work."""
    row = database.execute(
        "SELECT * FROM entries WHERE owner = ? AND number = ? AND task_id IS NULL AND closed = 0"
        " AND posted_at IS NOT NULL AND holder IS NOT NULL",
        (owner, number),
    ).fetchone()
    if row is None or holders.is_alive(row["holder"], number):
        return None
    _hold(database, number, holders)
    return entry_of(row)


def _has_expired(database: Connection, owner: str, prints: Fingerprints) -> bool:
    """Whether the last equal request that may have been paid was given up without an answer."""
    expired = _equal_rows(database, owner, prints, "task_id IS NULL AND same_as IS NULL AND posted_at > 0")
    answered = _equal_rows(database, owner, prints, "(task_id IS NOT NULL OR same_as IS NOT NULL)")
    last = max((row["number"] for row in answered), default=0)
    return any(row["number"] > last for row in expired)


def _existing_task(database: Connection, owner: str, intent: Intent, rules: ClaimRules) -> Entry | None:
    """The task of an equal request within the repeat window, which begins when that request was answered."""
    rows = _equal_rows(database, owner, intent.fingerprints, "(task_id IS NOT NULL OR same_as IS NOT NULL)")
    for row in rows:
        since = rules.now - max(rules.repeat_seconds, DAY if row["untold"] else 0)
        entry = by_number(database, row["same_as"] or row["number"])
        if max(row["asked_at"], row["answered_at"] or 0) > since and entry.status not in _WITHOUT_A_VIDEO:
            return entry
    return None


def _equal_rows(database: Connection, owner: str, prints: Fingerprints, condition: str) -> list[Any]:
    """The newest row of equal content, then that of equal address: ``Fingerprints.same``, in SQL."""
    wanted = {"content": prints.content, "address": prints.address}
    if prints.content is None and prints.address is None:
        wanted = {"reference": prints.reference}
    found: dict[int, Any] = {}
    for column, value in wanted.items():
        if value is not None:
            rows = database.execute(
                f"SELECT * FROM entries WHERE owner = ? AND {column} = ? AND {condition}"
                " ORDER BY number DESC LIMIT 1",
                (owner, value),
            )
            found |= {row["number"]: row for row in rows}
    return list(found.values())


def _hold(database: Connection, number: int, holders: Holders) -> None:
    database.execute("UPDATE entries SET holder = ? WHERE number = ?", (holders.renew(), number))
    holders.working.add(number)


def _insert(
    database: Connection,
    owner: str,
    gateway: str,
    intent: Intent,
    rules: ClaimRules,
    machine: str | None,
    holders: Holders,
) -> Entry:
    prints = intent.fingerprints
    values: dict[str, Any] = {
        "owner": owner,
        "gateway": gateway,
        "reference": prints.reference,
        "content": prints.content,
        "address": prints.address,
        "idempotency_key": f"wan-mcp-{secrets.token_hex(16)}",
        "asked_at": rules.now,
        "prompt": intent.prompt,
        "duration": intent.duration,
        "quality": intent.quality,
        "estimate": intent.estimate,
        "take": intent.take,
        "parent": intent.parent,
        "part": intent.part,
        "image": json.dumps(asdict(intent.image)) if intent.image else None,
        "machine": machine,
        "holder": holders.renew(),
    }
    entry = entry_of(insert(database, values))
    holders.working.add(entry.number)
    return entry


def spent(database: Connection, owner: str, now: float, holders: Holders) -> list[Spending]:
    """What each of an owner's requests cost or may cost, oldest first; what failed cost nothing."""
    return _spendings(database, "owner = ?", owner, now, holders)


def spent_by_all(database: Connection, gateway: str, now: float, holders: Holders) -> list[Spending]:
    """The same for the requests of all owners at an API."""
    # A row that is older than the column may be of any gateway.
    return _spendings(database, "gateway IN (?, '')", gateway, now, holders)


def _spendings(database: Connection, whose: str, value: str, now: float, holders: Holders) -> list[Spending]:
    found = database.execute(
        "SELECT number, holder, posted_at, coalesce(reposted_at, asked_at) AS moment,"
        " coalesce(cost, estimate) AS credits FROM entries"
        f" WHERE {whose} AND idempotency_key IS NOT NULL AND same_as IS NULL AND asked_at > ?"
        " ORDER BY moment",
        (value, now - COUNTED_FOR),
    ).fetchall()
    # What was claimed but not sent yet counts only while a process may be about to send it.
    return [
        Spending(row["moment"], row["credits"])
        for row in found
        if row["credits"] and (row["posted_at"] is not None or holders.is_alive(row["holder"], row["number"]))
    ]


def post(
    database: Connection,
    number: int,
    made: Post,
    body: dict[str, Any],
    holders: Holders,
    *,
    guess: bool,
) -> Entry:
    """Record a POST that is about to be sent."""
    holders.renew()
    entry = held(database, number, holders)
    # A repeat shows what the gateway does with the key, and other rows wait for that.
    facts = {"body": json.dumps(body), "guessing_at": made.at if entry.posts else None}
    facts["guessed"] = int(guess or entry.guessed)
    return _write_posts(database, number, [*entry.posts, made], facts)


def drop_post(database: Connection, number: int, holders: Holders, *, guessed: bool) -> Entry:
    """Remove the last POST, which was surely refused."""
    entry = held(database, number, holders)  # else the last POST is another process's
    facts = {"guessed": int(entry.guessed and not guessed), "guessing_at": None}
    return _write_posts(database, number, list(entry.posts[:-1]), facts)


def release(database: Connection, number: int, holders: Holders) -> None:
    """Give up a claim; a row without a POST that may have arrived is removed."""
    ours = "number = ? AND holder = ? AND task_id IS NULL"
    values = (number, holders.own_name)
    database.execute(f"DELETE FROM entries WHERE {ours} AND posted_at IS NULL", values)
    database.execute(f"UPDATE entries SET holder = NULL WHERE {ours}", values)


def begin_guess(
    database: Connection, gateway: str, number: int, now: float, within: float, holders: Holders
) -> bool:
    """Let one row at a time be repeated as a guess, while the gateway's use of the key is not known.

    A guess that seems to be far in the future was made before the clock was set back: it does not count.
    """
    holders.renew()
    held(database, number, holders)
    other = database.execute(
        "SELECT 1 FROM entries WHERE gateway = ? AND number <> ? AND guessing_at > ? AND guessing_at <= ?"
        # A row that has no answer and that no process works on will show nothing.
        " AND (holder IS NOT NULL OR task_id IS NOT NULL)",
        (gateway, number, now - within, now + CLOCKS_DIFFER),
    ).fetchone()
    if other is not None or key_use(database, gateway) != "unknown":
        return False
    database.execute("UPDATE entries SET guessing_at = ? WHERE number = ?", (now, number))
    return True


def answered_guesses(database: Connection, gateway: str) -> list[Entry]:
    found = database.execute(
        "SELECT * FROM entries WHERE gateway = ? AND guessing_at IS NOT NULL AND task_id IS NOT NULL",
        (gateway,),
    )
    return [entry_of(row) for row in found]


def end_guess(database: Connection, number: int) -> None:
    database.execute("UPDATE entries SET guessing_at = NULL WHERE number = ?", (number,))


def held(database: Connection, number: int, holders: Holders) -> Entry:
    """A row that this process works on.

    Raises:
        TakenOver: when another process has taken it over, because this one was paused for too long.
        LedgerError: when the user has removed it.
    """
    row = row_of(database, number)
    entry = entry_of(row)
    if row["holder"] is None or row["holder"] != holders.own_name or entry.task is not None:
        raise TakenOver("Another process took over this request.", next_step=REQUEST_AGAIN)
    return entry


def learn_key_use(database: Connection, gateway: str, use: KeyUse) -> None:
    database.execute(
        "INSERT INTO gateways VALUES (?, ?) ON CONFLICT (address) DO UPDATE SET key_use = excluded.key_use"
        " WHERE gateways.key_use <> 'honoured'",
        (gateway, use),
    )


def _write_posts(database: Connection, number: int, posts: list[Post], facts: Mapping[str, Any]) -> Entry:
    """Record the POSTs of a row, and what else is to be in it."""
    moments = [made.at for made in posts]
    values: dict[str, Any] = {
        "posts": json.dumps([[made.at, made.skew] for made in posts]),
        "posted_at": moments[0] if moments else None,
        "reposted_at": moments[-1] if moments else None,
        **facts,
    }
    columns = ", ".join(f"{name} = ?" for name in values)
    row = database.execute(
        f"UPDATE entries SET {columns} WHERE number = ? RETURNING *", (*values.values(), number)
    ).fetchone()
    return entry_of(row)
