"""Whose tasks a server serves, where it runs for them, and who pays."""

from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True)
class Deployment:
    """Where a server runs, and who pays: what callers may do, see and are told follows from it."""

    local: bool
    """Whether it runs on the user's own machine: only then are files read and written for a caller."""
    operator_pays: bool = False
    """Whether the operator's key pays for all owners; else each owner's own key does."""


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
        """What tells owners apart; secret where it is the key. A key has no line break, a subject has."""
        return self.key.get_secret_value() if self.subject is None else f"\n{self.subject}"
