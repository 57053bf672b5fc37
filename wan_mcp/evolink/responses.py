"""What the API answers, read leniently: it promises none of these properties."""

import logging
import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from wan_mcp.errors import UnreadableAnswer

logger = logging.getLogger(__name__)

ASK_LATER = "Wait a little, then ask again."
_QUERY = re.compile(r"(https?://[^\s?#\"<>]+)[?#][^\s\"<>]*", re.IGNORECASE)


def tidy(text: str, limit: int = 400) -> str:
    """Upstream text as it may be shown and logged: one bounded line, without the queries of addresses."""
    # Cut first: on a very long text the pattern would take very long.
    bare = _QUERY.sub(r"\1?…", text[: 10 * limit])
    line = " ".join("".join(char if char.isprintable() else " " for char in bare).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
_STATUS: dict[str, Status] = {
    "pending": "pending",
    "processing": "processing",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
RETRYABLE = frozenset(
    (
        "service_error",
        "generation_timeout",
        "resource_exhausted",
        "quota_exceeded",
        "service_unavailable",
        "request_cancelled",
    )
)
"""Codes of failed tasks after which the same request may be tried again. An unknown code is not retryable."""


def _status(value: object) -> Status:
    known = _STATUS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        shown = tidy(value, 40) if isinstance(value, str) else type(value).__name__
        logger.warning("unknown task status, read as processing: %r", shown)
    return known or "processing"


def _number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or abs(value) > 1e15
        or math.isnan(value)
    ):
        return None
    return value


def _string(value: object) -> str | None:
    """A line of printable text: what is not printable breaks lines, or cannot be encoded as UTF-8."""
    return value if isinstance(value, str) and value and value.isprintable() else None


def _tidy(value: object) -> str:
    return tidy(str(value)) if value and isinstance(value, str | int) else ""


def _links(value: object) -> tuple[str, ...]:
    """URL strings, or objects with one under ``url`` or ``video_url``."""
    found = []
    for item in value if isinstance(value, list | tuple) else [value]:
        link = _string((item.get("url") or item.get("video_url")) if isinstance(item, dict) else item)
        if link and link.startswith(("https://", "http://")):
            found.append(link)
    return tuple(found)


Number = Annotated[float | None, BeforeValidator(_number)]
Text = Annotated[str | None, BeforeValidator(_string)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TaskError(_Answer):
    """Why a task failed."""

    code: Annotated[str, BeforeValidator(lambda value: _tidy(value) or "unknown_error")] = "unknown_error"
    message: Annotated[str, BeforeValidator(_tidy)] = ""

    @property
    def retryable(self) -> bool:
        """Whether the same request, unchanged, may succeed later."""
        return self.code.lower() in RETRYABLE


class Task(_Answer):
    """One generation, as the API last described it."""

    id: str = Field(min_length=1)
    status: Annotated[Status, BeforeValidator(_status)]
    progress: Number = None
    """Percent; a hint, which can go backwards."""
    model: Text = None
    created: Number = None
    """Unix seconds."""
    estimated_time: Number = None
    """Seconds from submission to completion, as estimated when the task was created."""
    results: Annotated[tuple[str, ...], BeforeValidator(_links)] = ()
    credits_reserved: Number = None
    credits_used: Number = None
    error: TaskError | None = None

    @property
    def is_over(self) -> bool:
        """Whether its state is final. Completed without a link is not final: the link follows."""
        return self.status in ("failed", "cancelled") or (self.status == "completed" and bool(self.results))

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of a submission or of a task query.

        Raises:
            UnreadableAnswer: when it is not an object with an id.
        """
        if not isinstance(payload, dict) or not _string(payload.get("id")):
            raise UnreadableAnswer("Evolink answered without a task id.", next_step=ASK_LATER)
        usage, info = _dict(payload.get("usage")), _dict(payload.get("task_info"))
        cost = _dict(usage.get("cost"))
        error = payload.get("error")
        status = _status(payload.get("status"))
        return cls(
            id=payload["id"],
            status=status,
            progress=_percent(payload.get("progress")),
            model=payload.get("model"),
            created=payload.get("created"),
            estimated_time=info.get("estimated_time"),
            results=_links(payload.get("results")) or _links(payload.get("result_data")),
            credits_reserved=usage.get("credits_reserved"),
            credits_used=_first_number(usage.get("credits_used"), cost.get("credits")),
            error=_task_error(error) if status == "failed" else None,
        )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _task_error(value: object) -> TaskError:
    return TaskError.model_validate(value if isinstance(value, dict) else {"message": value})


def _first_number(*values: object) -> float | None:
    return next((number for value in values if (number := _number(value)) is not None), None)


def _percent(value: object) -> float | None:
    number = _number(value)
    return None if number is None else min(max(number, 0), 100)


class Listing(_Answer):
    """One page of the account's tasks: newest first, without links or prompts."""

    tasks: tuple[Task, ...]
    total: Number = None
    """How many there are on all pages."""

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of ``GET /v1/tasks``.

        Raises:
            UnreadableAnswer: when it is no list of tasks.
        """
        items = _dict(payload).get("data")
        if not isinstance(items, list):
            raise UnreadableAnswer("Evolink answered without a list of tasks.", next_step=ASK_LATER)
        tasks = (
            Task.read({"created": _seconds(item.get("created_at"))} | item)
            for item in map(_dict, items)
            if _string(item.get("id"))
        )
        return cls(tasks=tuple(tasks), total=_dict(payload).get("total"))


def _seconds(value: object) -> float | None:
    moment = _moment(value)
    return moment.timestamp() if moment else _number(value)


def http_date(value: str) -> float | None:
    """The moment that a ``Date`` header tells, in Unix seconds."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class Credits(_Answer):
    """What the account and this key have left, in credits. A balance may be negative."""

    remaining: float
    used: Number = None
    key_remaining: Number = None
    key_used: Number = None
    key_unlimited: bool = False

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of ``GET /v1/credits``.

        Raises:
            UnreadableAnswer: when it holds no balance.
        """
        data = _dict(_dict(payload).get("data"))
        user, token = _dict(data.get("user")), _dict(data.get("token"))
        remaining = _number(user.get("remaining_credits"))
        if remaining is None:
            raise UnreadableAnswer("Evolink answered without a balance.", next_step=ASK_LATER)
        return cls(
            remaining=remaining,
            used=user.get("used_credits"),
            key_remaining=token.get("remaining_credits"),
            key_used=token.get("used_credits"),
            key_unlimited=token.get("unlimited_credits") is True,
        )


class Upload(_Answer):
    """A file in Evolink's file service."""

    url: str
    expires_at: datetime | None = None

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of an upload.

        Raises:
            UnreadableAnswer: when it says that the upload failed, or holds no address.
        """
        answer = _dict(payload)
        data = _dict(answer.get("data"))
        links = _links(data.get("file_url"))
        if answer.get("success") is not True or not links:
            raise UnreadableAnswer(
                "Evolink's file service did not take the picture.",
                next_step="Try again, or give a public https address of the picture instead.",
            )
        return cls(url=links[0], expires_at=_moment(data.get("expires_at")))


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
