"""A generation task: its state depends on the time alone."""

import secrets
import string
from dataclasses import dataclass

from wan_mcp.sandbox.dates import Dates, written
from wan_mcp.sandbox.orders import Order

PREFIX = "task-unified-"
RECORD_SECONDS = 7 * 24 * 3600
RESULT_SECONDS = 24 * 3600
FILTERS = ("processing", "completed", "failed", "cancelled")


@dataclass(frozen=True)
class Failure:
    """Why a task fails, and whether it has failed already when it is created."""

    code: str
    message: str
    at_once: bool = False


@dataclass(frozen=True)
class Task:
    id: str
    order: Order
    created: float
    ends: float
    picture: bytes
    failure: Failure | None = None

    def status(self, now: float) -> str:
        if now >= self.ends:
            return "failed" if self.failure else "completed"
        return "processing" if self._share(now) >= 0.1 else "pending"

    def progress(self, now: float) -> int:
        status = self.status(now)
        if status == "processing":
            return min(99, int(100 * self._share(now)))
        return 100 if status == "completed" else 0

    def credits_used(self, now: float) -> float:
        return self.order.credits if self.status(now) == "completed" else 0.0

    def credits_held(self, now: float) -> float:
        """What the task takes from the balance: a failed one has given it back."""
        return 0.0 if self.status(now) == "failed" else self.order.credits

    def is_on_record(self, now: float) -> bool:
        return self.created <= now < self.created + RECORD_SECONDS

    def has_result(self, now: float) -> bool:
        return self.status(now) == "completed" and now < self.ends + RESULT_SECONDS

    def answer(self, dates: Dates) -> dict[str, object]:
        """The body that answers the submission."""
        failed = self.failure is not None and self.failure.at_once
        body = self._facts("failed" if failed else "pending", 0, dates)
        return body | self._error() if failed else body

    def body(self, now: float, base: str, dates: Dates) -> dict[str, object]:
        """The body that answers a query; result links start with `base`."""
        status = self.status(now)
        body = self._facts(status, self.progress(now), dates)
        if status == "completed":
            body["results"] = [f"{base}/results/{self.id}.mp4"]
        if status in ("completed", "failed"):
            body["usage"] = self._usage() | {"credits_used": self.credits_used(now)}
        return body | self._error() if status == "failed" else body

    def summary(self, now: float, dates: Dates) -> dict[str, object]:
        """The task in the account's list."""
        return {
            "id": self.id,
            "model": self.order.model,
            "type": "video",
            "status": self.status(now),
            "progress": self.progress(now),
            "created_at": written(self.created, dates),
        }

    def matches(self, model: str | None, status: str | None, now: float) -> bool:
        actual = self.status(now)
        fits = status in (None, "processing" if actual == "pending" else actual)
        return fits and model in (None, self.order.model)

    def _share(self, now: float) -> float:
        return (now - self.created) / (self.ends - self.created)

    def _facts(self, status: str, progress: int, dates: Dates) -> dict[str, object]:
        return {
            # Only the list has dates that are texts.
            "created": written(self.created, "milliseconds" if dates == "milliseconds" else "seconds"),
            "id": self.id,
            "model": self.order.model,
            "object": "video.generation.task",
            "progress": progress,
            "status": status,
            "task_info": {
                "can_cancel": status in ("pending", "processing"),
                "estimated_time": max(1, round(self.ends - self.created)),
            },
            "type": "video",
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, object]:
        return {
            "billing_rule": "per_call",
            "credits_reserved": self.order.credits,
            "user_group": "default",
        }

    def _error(self) -> dict[str, object]:
        assert self.failure is not None
        return {"error": {"code": self.failure.code, "message": self.failure.message, "type": "task_error"}}


def new_task_id(now: float) -> str:
    alphabet = string.ascii_lowercase + string.digits
    return f"{PREFIX}{int(now)}-{''.join(secrets.choice(alphabet) for _ in range(8))}"
