"""The pictures in Evolink's file service: where each is, and until when."""

from wan_mcp.ledger.sql.connection import Connection

MARGIN = 3600.0
"""Seconds before its expiry from which an upload is no longer used: Evolink still has to fetch it."""
KEPT = 86_400.0
"""Seconds after its expiry for which the row of an upload is kept, where a server removes what is old."""

KEPT_AT_MOST = 30 * 86_400.0
"""Seconds before the expiry of a new one at which the expiry of those is that are removed in any case."""


def find(database: Connection, owner: str, digest: str, now: float) -> str | None:
    row = database.execute(
        "SELECT url FROM uploads WHERE owner = ? AND digest = ? AND expires_at > ?",
        (owner, digest, now + MARGIN),
    ).fetchone()
    return row["url"] if row else None


def record(database: Connection, owner: str, digest: str, url: str, expires_at: float) -> None:
    database.execute("DELETE FROM uploads WHERE expires_at < ?", (expires_at - KEPT_AT_MOST,))
    database.execute(
        "INSERT INTO uploads VALUES (?, ?, ?, ?) ON CONFLICT (owner, digest)"
        " DO UPDATE SET url = excluded.url, expires_at = excluded.expires_at",
        (owner, digest, url, expires_at),
    )


def remove_expired(database: Connection, now: float) -> None:
    database.execute("DELETE FROM uploads WHERE expires_at < ?", (now - KEPT,))
