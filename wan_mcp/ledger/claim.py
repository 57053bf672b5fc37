"""A claim: a request that is about to be paid for, the rules by which it is judged, and the decision."""

from dataclasses import dataclass
from typing import Literal

from wan_mcp.ledger.entries import Entry, Image
from wan_mcp.ledger.fingerprints import Fingerprints


@dataclass(frozen=True)
class Intent:
    """A request that is about to be paid for."""

    fingerprints: Fingerprints
    prompt: str
    duration: int
    """Seconds of video."""
    quality: str
    estimate: float
    """Credits that it is expected to cost."""
    take: int = 1
    """Which version of the same request."""
    parent: str | None = None
    """The task whose video's last frame is the picture."""
    part: int = 1
    """The place of its video in a chain of such tasks."""
    from_text: bool = False
    """Whether the video is made from text: without a picture, and at a price that is a guess."""
    image: Image | None = None
    """The picture; None where there is none, or it cannot be read now."""

    @property
    def can_be_sent(self) -> bool:
        """Whether it is complete. Where its picture cannot be read, only an earlier equal request helps."""
        return self.from_text or self.image is not None


@dataclass(frozen=True)
class ClaimRules:
    """The rules by which a claim is judged.

    Args:
        now: Unix seconds.
        repeat_seconds: within this time, an equal request gets the same task.
        daily_credits: the owner's cap over 24 hours; None for none.
        total_daily_credits: the cap over 24 hours for all owners at the same API together; None for none.
        request_credits: the cap of one request; None for none.
        skew: seconds by which the gateway's clock is ahead; None where that is not known.
        skew_asked: whether the gateway was asked for its time; this machine's counts where it did not tell.
        waited_for: the row that an earlier claim for the same request found busy.
    """

    now: float
    repeat_seconds: float
    daily_credits: float | None = None
    total_daily_credits: float | None = None
    request_credits: float | None = None
    skew: float | None = None
    skew_asked: bool = False
    waited_for: int | None = None


ClaimKind = Literal["fresh", "resume", "repeat", "busy", "absent", "undated"]


@dataclass(frozen=True)
class Claim:
    """What this process may do about a request now.

    ``fresh``: it is ours and was never sent. ``resume``: it is ours, and an earlier POST for it has
    no answer. ``repeat``: it has a task already. ``busy``: another process is submitting it right now.
    ``absent``: its picture cannot be read, and no equal request is known. ``undated``: an earlier POST seems
    to be more than 24 hours old, but only by this machine's clock: ask the gateway, and claim again.
    """

    kind: ClaimKind
    entry: Entry | None
    """None for ``absent``."""
    replaces: bool = False
    """Whether an equal request of more than 24 hours ago never got an answer: it may have been paid."""

    @property
    def is_ours(self) -> bool:
        """Whether this process works on the row now."""
        return self.kind in ("fresh", "resume")
