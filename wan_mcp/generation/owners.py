"""Where a server runs, who pays, and whose tasks it serves."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from wan_mcp.settings import Settings


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
    kept_days: float = 0.0
    """For how many days a hosted server keeps a video."""

    def under(self, settings: Settings) -> Self:
        """The same with what the settings say of saving."""
        saves_to = settings.output_dir if self.local and settings.autosave else None
        kept_days = 0.0 if self.local else settings.result_days
        keeps = not self.local and settings.autosave
        return replace(self, saves_to=saves_to, keeps=keeps, kept_days=kept_days)

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
