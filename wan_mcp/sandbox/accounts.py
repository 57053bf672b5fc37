"""The accounts at the imitated gateway: each has its own keys, credits and tasks."""

from dataclasses import dataclass, field

from wan_mcp.sandbox.tasks import Task


@dataclass
class Account:
    """One account. Its keys and credits can be changed at any time."""

    name: str
    """Stands for it in the records."""
    key: str = field(repr=False)
    credits: float = 1000.0
    other_keys: tuple[str, ...] = field(default=(), repr=False)
    """Further API keys of the account, each with its own idempotency keys."""
    tasks: dict[str, Task] = field(default_factory=dict, repr=False)

    def label(self, credentials: str) -> str | None:
        """What stands for a key of the account in the records, as in `main/1`; None for any other key."""
        for number, key in enumerate((self.key, *self.other_keys), start=1):
            if credentials == f"Bearer {key}":
                return f"{self.name}/{number}"
        return None

    def remaining(self, now: float) -> float:
        return round(self.credits - sum(task.credits_held(now) for task in self.created(now)), 4)

    def used(self, now: float) -> float:
        return round(sum(task.credits_used(now) for task in self.created(now)), 4)

    def created(self, now: float) -> list[Task]:
        return [task for task in self.tasks.values() if task.created <= now]
