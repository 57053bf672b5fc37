"""The rows of a ledger: requests and their tasks."""

from dataclasses import dataclass, field
from typing import Any, Literal

from wan_mcp.evolink import MODELS, TEXT_MODEL, Task
from wan_mcp.ledger.fingerprints import Fingerprints

EntryStatus = Literal["pending", "processing", "completed", "failed", "cancelled", "unknown"]
"""A task's status, or ``unknown`` for a request whose answer never came."""


@dataclass(frozen=True)
class Image:
    """The picture that was sent."""

    width: int | None = None
    """Pixels."""
    height: int | None = None
    format: str | None = None
    adjusted: tuple[str, ...] = ()
    """Each change that was made so that it fits, in words."""
    name: str | None = None
    """Its file's name, the host of its web address, or ``data``; None in rows older than this field."""


@dataclass(frozen=True)
class Post:
    """One POST that may have arrived."""

    at: float
    """When it was about to be written, in Unix seconds by this machine's clock."""
    skew: float | None
    """Seconds by which the gateway's clock was ahead then; None where that was not known."""


@dataclass(frozen=True)
class Saved:
    """A video on this machine's disk."""

    path: str
    size: int
    """Bytes."""
    sha256: str
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    remark: str | None = None
    """What is unusual about the file, in a sentence."""
    machine: str | None = None
    """The machine's name, where several share the ledger."""


@dataclass(frozen=True)
class Kept:
    """A video in the storage of a hosted server."""

    key: str
    """The name of its object."""
    name: str
    """What its file is called where somebody downloads it."""
    at: float
    """When it was put there, in Unix seconds."""
    size: int
    """Bytes."""
    sha256: str
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    remark: str | None = None
    """What is unusual about the file, in a sentence."""


@dataclass(frozen=True)
class SignedLink:
    """An address at which whoever has it gets a kept video, for some time. It must not be logged."""

    url: str = field(repr=False)
    expires_at: float
    """Unix seconds."""


@dataclass(frozen=True)
class Entry:
    """One row: a request and its task, or a task that was made elsewhere."""

    number: int
    fingerprints: Fingerprints | None
    """None for a task that was made elsewhere."""
    idempotency_key: str | None
    """None for a task that was made elsewhere."""
    asked_at: float
    """When it was first requested, in Unix seconds."""
    posts: tuple[Post, ...]
    """Every POST that may have arrived, oldest first."""
    guessed: bool
    """Whether it was repeated once without knowing whether the first POST had arrived."""
    body: dict[str, Any] | None
    """The body exactly as sent: a repeat under the same idempotency key must be the same."""
    prompt: str
    duration: int | None
    quality: str | None
    estimate: float
    take: int
    image: Image | None
    """The picture that was sent; None for a video from text."""
    untold: bool
    """Whether no caller was told of the task yet."""
    recovered: bool
    """Whether the task was found in the account's list, rather than in the answer to the POST."""
    task: Task | None
    """The last known state; None while there is no answer."""
    known_at: float | None
    """When that state was read, in Unix seconds."""
    completed_at: float | None
    """When the task was completed, in Unix seconds: as seen, or as expected where nobody polled it."""
    saved: Saved | None
    """Where its video was saved."""
    missing: str | None = None
    """The path of a saved video whose file no longer exists."""
    kept: Kept | None = None
    """Where its video is kept by a hosted server."""
    link: SignedLink | None = None
    """A link to the kept video, made for this answer."""
    kept_until: float | None = None
    """Until when the video is kept, in Unix seconds; also made for this answer."""
    parent: str | None = None
    """The task whose video's last frame is the picture; None for any other picture."""
    part: int = 1
    """The place of its video in a chain of such tasks: 1 for one without a parent."""

    @property
    def is_request(self) -> bool:
        """Whether it was requested here, rather than made elsewhere."""
        return self.idempotency_key is not None

    @property
    def model(self) -> str | None:
        """The model that makes the video, as it was requested, else as Evolink says; None: not known."""
        requested = (self.body or {}).get("model")
        if requested in MODELS:
            return str(requested)
        return self.task.model if self.task else None

    @property
    def from_text(self) -> bool:
        """Whether the video is known to be made from text alone."""
        return self.model == TEXT_MODEL

    @property
    def status(self) -> EntryStatus:
        return "unknown" if self.task is None else self.task.status

    @property
    def cost(self) -> float:
        """Credits: 0 where the task failed, else the first known of those used, reserved and estimated."""
        known = cost_of(self.task) if self.task else None
        return self.estimate if known is None else known


def cost_of(task: Task) -> float | None:
    """Credits that a task cost, as far as Evolink said; None where it did not."""
    if task.status in ("failed", "cancelled"):
        return 0.0
    return task.credits_used or task.credits_reserved or None
