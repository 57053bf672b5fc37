"""The arguments of the tools that do not request a video."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wan_mcp.evolink.values import is_task_id
from wan_mcp.ledger import EntryStatus

MAX_TASK_ID = 128
"""Characters."""


def _task_id(value: str) -> str:
    if not is_task_id(value):
        raise ValueError("takes ids of Evolink tasks, which look like task-unified-1757169743-7cvnl5zw")
    return value


TaskId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TASK_ID, description="Id of a task, like task-unified-…"),
    AfterValidator(_task_id),
]


Filename = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="File name, without a folder. Default: the words of the prompt.",
    ),
]


class Arguments(BaseModel):
    """Strict: unknown arguments are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskArguments(Arguments):
    task_id: TaskId


class WaitArguments(TaskArguments):
    timeout_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="Seconds to wait; 0 reads once. Default 45, usually at most 50.",
        ),
    ] = None


class SaveArguments(TaskArguments):
    filename: Filename | None = None


class ListArguments(Arguments):
    status: Annotated[
        EntryStatus | None,
        Field(description="Only this status; unknown: the request got no answer. Default all."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=50, description="How many at most. Default 10.")] = 10


class NoArguments(Arguments):
    pass


class PreviewArguments(TaskArguments):
    frames: Annotated[int, Field(ge=2, le=9, description="How many frames. Default 4.")] = 4


class JoinArguments(Arguments):
    task_ids: Annotated[
        list[TaskId], Field(min_length=2, max_length=20, description="2 to 20 completed tasks, in order.")
    ]
    filename: Filename | None = None
