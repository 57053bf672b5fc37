"""Copies of pictures in the file service, so that the same bytes are uploaded once while they live."""

import sqlite3

MARGIN = 3600.0
"""Seconds before its end from which a copy is no longer used: the generation has to fetch it."""


def find(database: sqlite3.Connection, owner: str, digest: str, now: float) -> str | None:
    row = database.execute(
        "SELECT url FROM copies WHERE owner = ? AND digest = ? AND expires_at > ?",
        (owner, digest, now + MARGIN),
    ).fetchone()
    return row["url"] if row else None


def keep(database: sqlite3.Connection, owner: str, digest: str, url: str, expires_at: float) -> None:
    database.execute("DELETE FROM copies WHERE expires_at < ?", (expires_at - 30 * 24 * 3600,))
    database.execute("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?)", (owner, digest, url, expires_at))
