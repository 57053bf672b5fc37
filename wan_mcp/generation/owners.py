"""Where a server runs, who pays, and whose tasks it serves."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class Deployment:
    """Where a server runs, who pays, and what is saved. What callers may do, see and read follows from it."""

    local: bool
    """Whether it runs on the user's own machine: only then it reads files and saves videos for a caller."""
    operator_pays: bool = False
    """Whether the operator's key pays for all owners; else each owner's own key does."""
    saves_to: Path | None = None
    """The folder in which it saves requested videos automatically; None where it does not."""
    keeps: bool = False
    """Whether it keeps requested videos automatically in a hosted server's storage."""

    @property
    def autosaves(self) -> bool:
        """Whether a video is saved, or kept in storage, without being asked."""
        return self.saves_to is not None or self.keeps

    @property
    def follows(self) -> bool:
        """Whether it follows tasks to their end even if nobody waits: it needs the key for that."""
        return self.autosaves and (self.local or self.operator_pays)


LOCAL = Deployment(local=True)
OWN_KEYS = Deployment(local=False)
"""Hosted: each caller brings an Evolink key."""
ONE_ACCOUNT = Deployment(local=False, operator_pays=True)
"""Hosted: the callers share the operator's account."""


@dataclass(frozen=True)
class Owner:
    """Whose tasks these are."""

    key: SecretStr
    """The Evolink API key that pays."""
    digest: str | None = None
    """The digest that stands for it in the ledger, where owners share the key; else None."""
