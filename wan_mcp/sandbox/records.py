"""The records: everything that reached the sandbox, and everything that was paid."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass
class Call:
    """One request; `at` is its place (as in `Fault`), or empty where its address is unknown."""

    method: str
    path: str
    time: float
    idempotency_key: str | None
    authorized: bool | None
    """Whether the key was right; None: there was no key."""
    headers: Mapping[str, str]
    """All but `authorization`."""
    at: str = ""
    body: object = None
    """The JSON of a submission."""
    status: int | None = None
    """The HTTP status of the answer; None: there was no answer."""
    fault: str | None = None
    """The kind of the fault that applied."""
    sent_by: str | None = None
    """The account and the number of its key, as in `main/1`; None: there was no key, or a wrong one."""


@dataclass(frozen=True)
class Payment:
    """One accepted paid task."""

    task_id: str
    idempotency_key: str | None
    prompt: str
    credits: float
    time: float
    sent_by: str | None = None
    """The account and the number of its key, as in `main/1`."""


@dataclass
class Records:
    calls: list[Call] = field(default_factory=list)
    paid: list[Payment] = field(default_factory=list)

    @property
    def posts(self) -> int:
        """How many POSTs reached the paid endpoint."""
        return self._count("submit")

    @property
    def reads(self) -> int:
        """How many queries of one task arrived."""
        return self._count("task")

    @property
    def uploads(self) -> int:
        """How many uploads arrived."""
        return self._count("upload")

    def as_json(self) -> dict[str, object]:
        counts = {"posts": self.posts, "reads": self.reads, "uploads": self.uploads}
        return counts | asdict(self)

    def _count(self, at: str) -> int:
        return sum(call.at == at for call in self.calls)
