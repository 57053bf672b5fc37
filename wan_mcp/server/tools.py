"""The tools: what each takes, answers and does."""

from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wan_mcp.evolink import prices
from wan_mcp.generation.request import Wish
from wan_mcp.generation.service import Studio
from wan_mcp.generation.snapshot import Report
from wan_mcp.ledger import EntryStatus
from wan_mcp.server import listing, text, timeouts
from wan_mcp.server.results import BalanceView, TaskView, result
from wan_mcp.server.tool import Definition


def _task_id(value: str) -> str:
    if not value.startswith("task-") or not all(c.isascii() and (c.isalnum() or c in "-_") for c in value):
        raise ValueError("is not an Evolink task id; those look like task-unified-1757169743-7cvnl5zw")
    return value


TaskId = Annotated[
    str,
    Field(min_length=1, max_length=128, description="Id from generate_video, like task-unified-…"),
    AfterValidator(_task_id),
]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskArguments(_Arguments):
    task_id: TaskId


class WaitArguments(TaskArguments):
    timeout_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="Seconds to wait; 0 looks once. Default 45, usually at most 50.",
        ),
    ] = None


class SaveArguments(TaskArguments):
    filename: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="Name for the file, without a folder. Default the task id.",
        ),
    ] = None


class ListArguments(_Arguments):
    status: Annotated[
        EntryStatus | None,
        Field(description="Only these; unknown: asked for, but no answer came. Default all."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=50, description="How many at most. Default 10.")] = 10


class NoArguments(_Arguments):
    pass


async def generate_video(studio: Studio, wish: Wish, context: Context[Any]) -> CallToolResult:
    return result(await studio.generate(wish))


async def get_task(studio: Studio, arguments: TaskArguments, context: Context[Any]) -> CallToolResult:
    return result(await studio.look(arguments.task_id))


async def wait_for_task(studio: Studio, arguments: WaitArguments, context: Context[Any]) -> CallToolResult:
    shown = 0.0

    async def notice(report: Report | None) -> None:
        nonlocal shown
        percent = (report.task.progress or 0) if report else 0
        shown = max(percent, shown + 0.01)  # must rise with every notification, whatever upstream says
        await context.report_progress(shown, 100, text.progress(report))

    patience = timeouts.patience(context, studio.settings)
    asked = patience.default if arguments.timeout_seconds is None else arguments.timeout_seconds
    report = await studio.wait(arguments.task_id, min(asked, patience.most), notice)
    return result(replace(report, asked_to_wait=asked if asked > patience.most else None))


async def save_video(studio: Studio, arguments: SaveArguments, context: Context[Any]) -> CallToolResult:
    async def notice(received: int, length: int | None) -> None:
        with suppress(Exception):  # the call may be over while the download goes on
            await context.report_progress(received, length, f"{received / 1e6:.1f} MB")

    return result(await studio.save(arguments.task_id, arguments.filename, notice))


async def list_tasks(studio: Studio, arguments: ListArguments, context: Context[Any]) -> CallToolResult:
    return listing.result(await studio.tasks(arguments.status, arguments.limit))


async def get_credits(studio: Studio, arguments: NoArguments, context: Context[Any]) -> CallToolResult:
    credits = await studio.credits()
    view = BalanceView.model_validate(credits.model_dump())
    return CallToolResult(
        content=[TextContent(type="text", text=text.balance(credits))],
        structured_content=view.model_dump(exclude_none=True),
    )


_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)

TOOLS = (
    Definition(
        name="generate_video",
        title="Generate a video from a picture",
        description=(
            "Start making a video of 5 or 10 seconds from one picture (its first frame) and a prompt. "
            f"COSTS CREDITS: about {prices.estimate(5, '720p'):.0f} for 5 s at 720p; given back if it fails. "
            "Answers within seconds with a task id and does not wait: call wait_for_task next. "
            "Safe to repeat: the same arguments give the same task, paid once."
        ),
        arguments=Wish,
        answer=TaskView,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
        ),
        handler=generate_video,
    ),
    Definition(
        name="get_task",
        title="Look at a task",
        description="Look once at a task: status, progress, result links. Free. To wait, use wait_for_task.",
        arguments=TaskArguments,
        answer=TaskView,
        annotations=_READS,
        handler=get_task,
    ),
    Definition(
        name="wait_for_task",
        title="Wait for a task",
        description=(
            "Wait until a task is completed or failed, or the time is up; then its answer says how to go on. "
            "A video takes minutes: expect to call this several times. Free; the task never stops by it."
        ),
        arguments=WaitArguments,
        answer=TaskView,
        annotations=_READS,
        handler=wait_for_task,
    ),
    Definition(
        name="list_tasks",
        title="List tasks",
        description=(
            "List the tasks of this key that this machine knows, newest first, also from earlier "
            "conversations: to find a task again, or a request whose answer was lost. Free."
        ),
        arguments=ListArguments,
        answer=listing.ListView,
        annotations=_READS.model_copy(update={"open_world_hint": False}),
        handler=list_tasks,
    ),
    Definition(
        name="save_video",
        title="Save a video",
        description=(
            "Save the video of a completed task on this machine, before its link dies, and tell its path. "
            "Free. Saved before, it is found again; no file is ever overwritten."
        ),
        arguments=SaveArguments,
        answer=TaskView,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
        ),
        handler=save_video,
    ),
    Definition(
        name="get_credits",
        title="Show the credits left",
        description="Show the credits left to the account and this key; free. Tells whether the key works.",
        arguments=NoArguments,
        answer=BalanceView,
        annotations=_READS,
        handler=get_credits,
    ),
)
"""In the order in which a conversation uses them."""
