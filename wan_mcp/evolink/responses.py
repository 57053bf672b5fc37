"""What the API answers, read leniently: it promises none of these properties."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from wan_mcp.errors import UnreadableAnswer
from wan_mcp.evolink import values
from wan_mcp.evolink.values import Status

ASK_LATER = "Wait a little, then ask again."
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
USUAL_DURATION = 120.0
"""Seconds that a task is expected to take where there is no estimate: as in the API's own example."""

Number = Annotated[float | None, BeforeValidator(values.number)]
Time = Annotated[float | None, BeforeValidator(values.time)]
Text = Annotated[str | None, BeforeValidator(values.string)]
KEPT = ("model", "created", "estimated_time", "credits_reserved", "credits_used")
"""Facts of a task that do not change, and that some answers leave out."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TaskError(_Answer):
    """Why a task failed."""

    code: Annotated[str, BeforeValidator(lambda value: values.display(value) or "unknown_error")] = (
        "unknown_error"
    )
    message: Annotated[str, BeforeValidator(values.display)] = ""

    @property
    def retryable(self) -> bool:
        """Whether the same request, unchanged, may succeed later."""
        return self.code.lower() in RETRYABLE

    def __str__(self) -> str:
        """Code and reason, to be continued in a sentence; the code only once."""
        named = "" if self.code in self.message else f"{self.code}: "
        return f"{named}{self.message.removesuffix('.') or 'no reason'}"


class Task(_Answer):
    """One generation, as the API last described it."""

    id: str = Field(min_length=1)
    status: Annotated[Status, BeforeValidator(values.status)]
    progress: Number = None
    """Percent; a hint, which can go backwards."""
    model: Text = None
    created: Time = None
    """Unix seconds."""
    estimated_time: Annotated[float | None, BeforeValidator(values.duration)] = None
    """Seconds from submission to completion, as estimated when the task was created."""
    results: Annotated[tuple[str, ...], BeforeValidator(values.links)] = ()
    credits_reserved: Number = None
    credits_used: Number = None
    error: TaskError | None = None

    @property
    def is_over(self) -> bool:
        """Whether its state is final. A completed task without a link is not final: the link follows."""
        return self.status in ("failed", "cancelled") or self.has_video

    @property
    def has_video(self) -> bool:
        """Whether it is completed and has a link."""
        return self.status == "completed" and bool(self.results)

    def completed_by(self, earlier: Self) -> Self:
        """This state, with the facts of an earlier answer that it leaves out."""
        missing = [name for name in KEPT if getattr(self, name) is None]
        return self.model_copy(update={name: getattr(earlier, name) for name in missing})

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of a submission or of a task query.

        Raises:
            UnreadableAnswer: when it is not an object with an id.
        """
        if not isinstance(payload, dict) or not values.string(payload.get("id")):
            raise UnreadableAnswer("Evolink answered without a task id.", next_step=ASK_LATER)
        usage, info = values.mapping(payload.get("usage")), values.mapping(payload.get("task_info"))
        cost = values.mapping(usage.get("cost"))
        error = payload.get("error")
        failure = error if isinstance(error, dict) else {"message": error}
        status = values.status(payload.get("status"))
        return cls(
            id=payload["id"],
            status=status,
            progress=values.percent(payload.get("progress")),
            model=payload.get("model"),
            created=values.time(payload.get("created")) or payload.get("created_at"),
            estimated_time=info.get("estimated_time"),
            results=values.links(payload.get("results")) + values.links(payload.get("result_data")),
            credits_reserved=usage.get("credits_reserved"),
            credits_used=values.first_number(usage.get("credits_used"), cost.get("credits")),
            error=TaskError.model_validate(failure) if status == "failed" else None,
        )


class Listing(_Answer):
    """One page of the account's tasks: newest first, without links or prompts."""

    tasks: tuple[Task, ...]
    total: Number = None
    """Tasks on all pages."""

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of ``GET /v1/tasks``.

        Raises:
            UnreadableAnswer: when it is not a list of tasks.
        """
        items = values.mapping(payload).get("data")
        if not isinstance(items, list):
            raise UnreadableAnswer("Evolink answered without a list of tasks.", next_step=ASK_LATER)
        tasks = (Task.read(item) for item in map(values.mapping, items) if values.string(item.get("id")))
        return cls(tasks=tuple(tasks), total=values.mapping(payload).get("total"))


class Credits(_Answer):
    """What the account and this key have left, in credits. A balance may be negative."""

    remaining: float
    used: Number = None
    key_remaining: Number = None
    key_used: Number = None
    key_unlimited: bool = False

    @property
    def spendable(self) -> float:
        """What the account has left, or what the key has left where that is less."""
        if self.key_unlimited or self.key_remaining is None:
            return self.remaining
        return min(self.remaining, self.key_remaining)

    @classmethod
    def read(cls, payload: object) -> Self:
        """Read the answer of ``GET /v1/credits``.

        Raises:
            UnreadableAnswer: when it has no balance.
        """
        data = values.mapping(values.mapping(payload).get("data"))
        user, token = values.mapping(data.get("user")), values.mapping(data.get("token"))
        remaining = values.number(user.get("remaining_credits"))
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
            UnreadableAnswer: when it says that the upload failed, or has no address.
        """
        answer = values.mapping(payload)
        data = values.mapping(answer.get("data"))
        links = values.links(data.get("file_url"))
        if answer.get("success") is not True or not links:
            raise UnreadableAnswer(
                "Evolink's file service did not accept the picture.",
                next_step="Try again, or give a public https address of the picture instead.",
            )
        expires = values.iso_moment(data.get("expires_at"))
        return cls(url=links[0], expires_at=expires and expires.replace(tzinfo=expires.tzinfo or UTC))
