"""Which programs use the ledger: each gives a sign of life every few seconds, and its rows name it."""

import hashlib
import secrets
import time
from typing import Any

import psycopg
from pydantic import SecretStr

from wan_mcp.errors import LedgerError

BEAT_EVERY = 5.0
"""Seconds between two signs of life."""
DEAD_AFTER = 20.0
"""Seconds without a sign of life after which a program counts as dead."""
RECENT = 7.0
"""Seconds after which a sign of life is renewed with the record of a POST. With the 12 seconds by which the
POST can be late after that, it is less than ``DEAD_AFTER``: a program that was paused does not send what
another one has taken over."""
FORGOTTEN_AFTER = 86_400.0
"""Seconds after which the row of a dead program is removed."""
CORRECTED = 0.2
"""Seconds by which the clocks have to differ more, or less, for the difference to be used."""


class Replica:
    """This program among those that use the ledger.

    Args:
        secret: what it signs links with; None where it has none. All must have the same.
    """

    def __init__(self, secret: SecretStr | None) -> None:
        self.name = secrets.token_hex(8)
        self.working: set[int] = set()
        self.offset = 0.0
        """Seconds by which the database's clock is ahead of this machine's."""
        self._secret = secret

    def register(self, database: psycopg.Connection[Any]) -> None:
        """Join the programs that are alive; to be called while no other program can do so.

        Raises:
            LedgerError: when another one has another secret.
        """
        self.beat(database)
        other = database.execute(
            "SELECT 1 FROM replicas AS other, replicas AS this WHERE this.id = %s AND other.id <> this.id"
            f" AND other.secret <> this.secret AND {_ALIVE}",
            (self.name, DEAD_AFTER),
        ).fetchone()
        if other is not None:
            raise LedgerError(
                "Another server with this database has another WAN_MCP_SECRET, so that one would refuse the "
                "links of the other.",
                next_step="Give all of them the same. To change it, stop them all, wait "
                f"{DEAD_AFTER:g} seconds, and start them with the new one.",
            )
        database.execute(
            "DELETE FROM replicas WHERE seen_at < clock_timestamp() - make_interval(secs => %s)",
            (FORGOTTEN_AFTER,),
        )

    def beat(self, database: psycopg.Connection[Any]) -> None:
        """Give a sign of life, and compare the clocks."""
        secret, asked = self._digest(database), time.time()
        row = database.execute(
            "INSERT INTO replicas (id, seen_at, secret) VALUES (%s, clock_timestamp(), %s) ON CONFLICT (id)"
            " DO UPDATE SET seen_at = clock_timestamp()"
            " RETURNING extract(epoch FROM clock_timestamp())::float8 AS now",
            (self.name, secret),
        ).fetchone()
        assert row is not None
        took = time.time() - asked
        offset = row["now"] - asked - took / 2
        if abs(offset - self.offset) > CORRECTED + took / 2:  # an answer that took long tells little
            self.offset = offset
        database.execute(
            # Where nobody gave a sign of life for long, the database was away: nobody is dead for that.
            "INSERT INTO pulse AS last VALUES (1, clock_timestamp(), clock_timestamp()) ON CONFLICT (id)"
            " DO UPDATE SET seen_at = clock_timestamp(), since = CASE WHEN"
            " last.seen_at < clock_timestamp() - make_interval(secs => %s) THEN clock_timestamp()"
            " ELSE last.since END",
            (DEAD_AFTER - BEAT_EVERY,),
        )

    def free_lost(self, database: psycopg.Connection[Any]) -> None:
        """Free the rows that name this program and on which it does not work.

        A claim was written whose answer was lost. Others would wait for this program as long as it lives.
        """
        ours = "number = %s AND holder = %s AND task_id IS NULL"
        found = database.execute(
            "SELECT number FROM entries WHERE holder = %s AND task_id IS NULL AND closed = 0", (self.name,)
        ).fetchall()
        for number in {row["number"] for row in found} - self.working:
            with database.transaction():
                database.execute("SELECT 1 FROM entries WHERE number = %s FOR UPDATE", (number,))
                if number not in self.working:  # also not since it was found
                    values = (number, self.name)
                    database.execute(f"DELETE FROM entries WHERE {ours} AND posted_at IS NULL", values)
                    # As of a program that is dead, so that another one goes on without being asked.
                    database.execute(f"UPDATE entries SET holder = '' WHERE {ours}", values)

    def leave(self, database: psycopg.Connection[Any]) -> None:
        """Free the rows of this program at once."""
        database.execute("DELETE FROM replicas WHERE id = %s", (self.name,))

    def renew(self, database: psycopg.Connection[Any]) -> str:
        """Give a sign of life if the last one is old, as after a pause; return the name."""
        # By the database's clock: this machine's may have been stopped together with this program.
        recent = database.execute(
            "SELECT 1 FROM replicas WHERE id = %s"
            " AND seen_at > clock_timestamp() - make_interval(secs => %s)",
            (self.name, RECENT),
        ).fetchone()
        if recent is None:
            self.beat(database)
        return self.name

    def _digest(self, database: psycopg.Connection[Any]) -> bytes | None:
        if self._secret is None:
            return None
        row = database.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()
        assert row is not None
        secret = self._secret.get_secret_value().encode()
        return hashlib.blake2b(secret, key=bytes(row["value"]), digest_size=16, person=b"replicas").digest()


_ALIVE = "other.seen_at > clock_timestamp() - make_interval(secs => %s)"


class Replicas:
    """Who works on rows, as a transaction sees it.

    Args:
        replica: this program.
        database: the connection of the transaction.
    """

    def __init__(self, replica: Replica, database: psycopg.Connection[Any]) -> None:
        self._replica = replica
        self._database = database
        self._judged: dict[str, bool] = {}
        self.working = replica.working

    @property
    def own_name(self) -> str | None:
        return self._replica.name

    def renew(self) -> str:
        return self._replica.renew(self._database)

    def is_alive(self, holder: str | None, number: int) -> bool:
        if holder is None:
            return False
        if holder == self._replica.name:
            return number in self.working
        if holder not in self._judged:  # an owner's requests may all be one program's
            self._judged[holder] = self._is_seen(holder)
        return self._judged[holder]

    def _is_seen(self, holder: str) -> bool:
        found = self._database.execute(
            f"SELECT 1 FROM replicas AS other, pulse WHERE other.id = %s AND ({_ALIVE}"
            " OR pulse.since > clock_timestamp() - make_interval(secs => %s)"
            " OR pulse.seen_at < clock_timestamp() - make_interval(secs => %s))",
            (holder, DEAD_AFTER, DEAD_AFTER, DEAD_AFTER - BEAT_EVERY),
        )
        return found.fetchone() is not None
