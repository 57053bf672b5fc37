"""The database's schema, version by version. A step is never changed once released: add another."""

import secrets
import sqlite3

from wan_mcp.errors import ANOTHER_DATA_FOLDER, LedgerError

APPLICATION_ID = 0x77616E31
"""Marks the file as a ledger of wan-mcp ("wan1")."""
UNCHANGED = "The file was not changed."

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
        """
        CREATE TABLE entries (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            owner TEXT NOT NULL,
            fingerprint TEXT,
            idempotency_key TEXT,
            asked_at REAL NOT NULL,
            posted_at REAL,
            reposted_at REAL,
            body TEXT,
            prompt TEXT NOT NULL,
            duration INTEGER,
            quality TEXT,
            estimate REAL NOT NULL,
            adopted INTEGER NOT NULL DEFAULT 0,
            task_id TEXT,
            status TEXT,
            task TEXT,
            cost REAL,
            known_at REAL,
            completed_at REAL,
            holder TEXT,
            held_until REAL
        )
        """,
        "CREATE UNIQUE INDEX entries_by_task ON entries (owner, task_id) WHERE task_id IS NOT NULL",
        "CREATE INDEX entries_by_wish ON entries (owner, fingerprint, number)",
        "CREATE INDEX entries_by_time ON entries (owner, asked_at)",
        "CREATE INDEX entries_unanswered ON entries (owner) WHERE task_id IS NULL",
    ),
    (
        "ALTER TABLE entries ADD COLUMN took REAL",
        "ALTER TABLE entries ADD COLUMN saved TEXT",
        """
        CREATE TABLE copies (
            owner TEXT NOT NULL,
            digest TEXT NOT NULL,
            url TEXT NOT NULL,
            expires_at REAL NOT NULL,
            PRIMARY KEY (owner, digest)
        )
        """,
    ),
    (
        "CREATE INDEX entries_by_status ON entries (owner, status, asked_at)",
        "CREATE INDEX entries_by_kind ON entries (owner, duration, quality, asked_at) WHERE took IS NOT NULL",
    ),
    (
        "ALTER TABLE entries RENAME COLUMN adopted TO recovered",
        "ALTER TABLE copies RENAME TO uploads",
        "DROP INDEX entries_by_wish",
        "CREATE INDEX entries_by_request ON entries (owner, fingerprint, number)",
    ),
    (
        "DROP INDEX entries_by_request",
        "ALTER TABLE entries RENAME COLUMN fingerprint TO content",
        "ALTER TABLE entries ADD COLUMN address TEXT",
        "ALTER TABLE entries ADD COLUMN reference TEXT",
        "ALTER TABLE entries ADD COLUMN gateway TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entries ADD COLUMN take INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE entries ADD COLUMN image TEXT",
        "ALTER TABLE entries ADD COLUMN posts TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE entries ADD COLUMN guessed INTEGER NOT NULL DEFAULT 0",
        # Set while other rows wait for what this row's guess shows.
        "ALTER TABLE entries ADD COLUMN guessing_at REAL",
        "ALTER TABLE entries ADD COLUMN answered_at REAL",
        # A row that will get no answer: it is too old, or its answer was the task of another row.
        "ALTER TABLE entries ADD COLUMN closed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE entries ADD COLUMN same_as INTEGER",
        # Answered when no caller waited: the next equal request is told of the task.
        "ALTER TABLE entries ADD COLUMN untold INTEGER NOT NULL DEFAULT 0",
        # Paid in addition for the request of that row.
        "ALTER TABLE entries ADD COLUMN beside INTEGER",
        "UPDATE entries SET reference = '' WHERE content IS NOT NULL",
        # Until here a row had one digest, of the content or of the address: as digests they cannot be equal.
        "UPDATE entries SET address = content, answered_at = coalesce(reposted_at, asked_at)",
        "UPDATE entries SET posts = CASE WHEN reposted_at > posted_at"
        " THEN json_array(json_array(posted_at, NULL), json_array(reposted_at, NULL))"
        " ELSE json_array(json_array(posted_at, NULL)) END WHERE posted_at IS NOT NULL",
        "UPDATE entries SET closed = 1 WHERE task_id IS NULL AND number NOT IN"
        " (SELECT max(number) FROM entries WHERE task_id IS NULL GROUP BY owner, content)",
        "ALTER TABLE entries DROP COLUMN held_until",
        "DROP INDEX entries_unanswered",
        "CREATE INDEX entries_by_content ON entries (owner, content, number)",
        "CREATE INDEX entries_by_address ON entries (owner, address, number)",
        "CREATE INDEX entries_by_reference ON entries (owner, reference, number)",
        "CREATE UNIQUE INDEX open_by_content ON entries (owner, content)"
        " WHERE task_id IS NULL AND closed = 0 AND content IS NOT NULL",
        "CREATE UNIQUE INDEX open_by_address ON entries (owner, address)"
        " WHERE task_id IS NULL AND closed = 0 AND address IS NOT NULL",
        "CREATE INDEX entries_open ON entries (gateway) WHERE task_id IS NULL AND closed = 0",
        "CREATE INDEX entries_guessing ON entries (gateway, guessing_at) WHERE guessing_at IS NOT NULL",
        "CREATE INDEX entries_beside ON entries (beside) WHERE beside IS NOT NULL",
        "CREATE INDEX entries_repeated ON entries (gateway) WHERE task_id IS NOT NULL"
        " AND reposted_at > posted_at",
        # Ids of the account's list are looked up for all owners.
        "CREATE INDEX entries_taken ON entries (task_id) WHERE idempotency_key IS NOT NULL",
        "CREATE TABLE gateways (address TEXT PRIMARY KEY, key_use TEXT NOT NULL)",
    ),
    (
        # The task whose last frame is the picture, and which place that gives the video in their chain.
        "ALTER TABLE entries ADD COLUMN parent TEXT",
        "ALTER TABLE entries ADD COLUMN part INTEGER NOT NULL DEFAULT 1",
    ),
    (
        # What all owners spent is counted at each claim where a server has a cap for all of them.
        "CREATE INDEX entries_spent ON entries (gateway, asked_at) WHERE idempotency_key IS NOT NULL",
    ),
    (
        # Where a hosted server keeps the video, in its storage.
        "ALTER TABLE entries ADD COLUMN kept TEXT",
    ),
    (
        # On which machine it was requested, where the ledger is one of several machines.
        "ALTER TABLE entries ADD COLUMN machine TEXT",
        # What is too old is looked for among the rows of all owners.
        "CREATE INDEX entries_by_age ON entries (asked_at)",
    ),
)
VERSION = len(STEPS)


def migrate(database: sqlite3.Connection) -> None:
    """Bring an open database to the current version, step by step, in one transaction.

    Raises:
        LedgerError: when the file is not a ledger, or has a newer version; it is not changed.
    """
    if _version(database) == VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        _upgrade(database, _version(database))  # read again: another process may have been faster
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _version(database: sqlite3.Connection) -> int:
    # The tables first: another process may be making them, and sets the mark together with them.
    tables = int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    mark = int(database.execute("PRAGMA application_id").fetchone()[0])
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION and mark == APPLICATION_ID:
        raise LedgerError(
            f"The ledger was written by a newer wan-mcp. {UNCHANGED}",
            next_step=f"Update wan-mcp, or {ANOTHER_DATA_FOLDER}",
        )
    if tables and mark != APPLICATION_ID:
        raise LedgerError(
            f"The ledger's file belongs to another program. {UNCHANGED}",
            next_step=f"Move the file away, or {ANOTHER_DATA_FOLDER}",
        )
    return version


def _upgrade(database: sqlite3.Connection, version: int) -> None:
    for number, step in enumerate(STEPS[version:], start=version + 1):
        for statement in step:
            database.execute(statement)
        if number == 1:
            database.execute("INSERT INTO meta VALUES ('salt', ?)", (secrets.token_bytes(32),))
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")
