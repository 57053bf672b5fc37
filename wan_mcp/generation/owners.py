"""Where a server runs, who pays, and whose tasks it serves."""

from dataclasses import dataclass, field
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
    """Where it saves requested videos automatically; None where it does not."""


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
    subject: str | None = field(default=None, repr=False)
    """Who it is among those who share the key; None where the key is one owner's."""

    @property
    def identity(self) -> str:
        """What tells owners apart; secret where it is the key. No key begins with a line break."""
        return self.key.get_secret_value() if self.subject is None else f"\n{self.subject}"
