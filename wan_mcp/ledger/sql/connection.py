"""What the statements need of a database."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Rows(Protocol):
    """The rows of a statement, which are read by the names of their columns."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements in the SQL of all databases, with ``?`` in place of each value."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows: ...


class Holders(Protocol):
    """Who works on rows: this program, and others that may have died."""

    working: set[int]
    """The rows that this program works on."""

    @property
    def own_name(self) -> str | None:
        """The name by which a row says that this program works on it; None until it has worked on one."""
        ...

    def renew(self) -> str:
        """Give a sign of life, and return the name."""
        ...

    def is_alive(self, holder: str | None, number: int) -> bool:
        """Whether a program may be working on a row.

        Args:
            holder: the name in the row.
            number: the row.
        """
        ...


class Database(Protocol):
    """A database of a ledger. Its methods raise ``LedgerError`` when it cannot be used."""

    working: set[int]
    """The rows that this program works on."""

    @property
    def machine(self) -> str | None:
        """The name of this machine, where several use the database."""
        ...

    async def open(self) -> None:
        """Make ready for the first statement."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` outside of the event loop."""
        ...

    async def write(self, work: Callable[[Connection], T], *, durable: bool, owner: str = "") -> T:
        """Run ``work`` in a transaction, alone among all writes of an owner.

        Args:
            work: what is written.
            durable: whether it must be on the disk when this returns.
            owner: the owner's digest.
        """
        ...

    def check_place(self, database: Connection) -> None:
        """Make sure, inside of a transaction, that other programs would use the same ledger.

        Raises:
            LedgerError: when they would not.
        """
        ...

    def holders(self, database: Connection) -> Holders:
        """Who works on rows, as the transaction sees it."""
        ...

    def alone_at(self, database: Connection, gateway: str) -> None:
        """Wait, until the transaction ends, for all others that work on what the owners at an API share."""
        ...

    def changed(self, database: Connection, owner: str, task_id: str) -> None:
        """Tell, when the transaction ends, other programs that a task has changed."""
        ...

    def answered(self, database: Connection, owner: str, gateway: str, task_id: str) -> None:
        """Record, in the transaction, that a task was made here and has to be followed."""
        ...
