"""The tools: what each takes, answers and does."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations

from wan_mcp.generation.outcomes import FROM_PICTURE, FROM_TEXT
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.request import (
    GenerationRequest,
    HostedGenerationRequest,
    Request,
    TextGenerationRequest,
)
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.server import timeouts
from wan_mcp.server.arguments import (
    JoinArguments,
    ListArguments,
    NoArguments,
    PreviewArguments,
    SaveArguments,
    TaskArguments,
    WaitArguments,
)
from wan_mcp.server.card import SHOWN_BY_THE_PLAYER
from wan_mcp.server.films import FilmView, KeptFilmView, join_videos, preview_video
from wan_mcp.server.results import (
    AllowanceView,
    BalanceView,
    ListView,
    TaskView,
    allowance_result,
    credits_result,
    list_result,
    task_result,
)
from wan_mcp.server.text import PRICE, TEXT_PRICE, progress_text, risen
from wan_mcp.server.tool import Definition
from wan_mcp.server.uploads import PREPARE_UPLOAD


async def generate_video(service: VideoService, request: Request, context: Context[Any]) -> CallToolResult:
    began = anyio.current_time()

    async def on_stage(stage: str) -> None:
        with suppress(Exception):  # the submission goes on even if the client is gone
            await context.report_progress(anyio.current_time() - began, None, stage)

    patience = timeouts.patience(context, service.settings)
    return task_result(await service.generate(request, patience, on_stage), service.deployment)


async def get_task(service: VideoService, arguments: TaskArguments, context: Context[Any]) -> CallToolResult:
    return task_result(await service.get_task(arguments.task_id), service.deployment)


async def wait_for_task(
    service: VideoService, arguments: WaitArguments, context: Context[Any]
) -> CallToolResult:
    shown = 0.0

    async def on_progress(snapshot: TaskSnapshot | None) -> None:
        nonlocal shown
        percent = (snapshot.task.progress or 0) if snapshot else 0
        shown = risen(shown, percent)
        await context.report_progress(shown, 100, progress_text(snapshot))

    limits = timeouts.wait_limits(context, service.settings)
    asked = limits.default if arguments.timeout_seconds is None else arguments.timeout_seconds
    snapshot = await service.wait(arguments.task_id, min(asked, limits.longest), on_progress)
    snapshot = replace(snapshot, asked_to_wait=asked if asked > limits.longest else None)
    return task_result(snapshot, service.deployment)


async def save_video(
    service: VideoService, arguments: SaveArguments | TaskArguments, context: Context[Any]
) -> CallToolResult:
    async def on_progress(received: int, length: int | None) -> None:
        with suppress(Exception):  # the call may be over while the download goes on
            await context.report_progress(received, length, f"{received / 1e6:.1f} MB")

    name = arguments.filename if isinstance(arguments, SaveArguments) else None
    snapshot = await service.save(arguments.task_id, name, on_progress)
    return task_result(snapshot, service.deployment)


async def list_tasks(
    service: VideoService, arguments: ListArguments, context: Context[Any]
) -> CallToolResult:
    entries = await service.tasks(arguments.status, arguments.limit)
    return list_result(entries, service.now(), service.deployment)


async def get_credits(service: VideoService, arguments: NoArguments, context: Context[Any]) -> CallToolResult:
    if service.deployment.operator_pays:  # the balance is the operator's
        return allowance_result(await service.allowance())
    return credits_result(await service.credits())


_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_CHANGES = _READS.model_copy(update={"read_only_hint": False})
"""Also of the tools that cost credits, which are not destructive.

The protocol calls a tool destructive if it does more than add to what there is. A paid call adds a task: it
deletes and overwrites nothing, and its repetition is not paid again. The directories of Anthropic and
OpenAI want each hint to be set as the tool behaves; OpenAI's reference means data that is deleted or
overwritten, its review also irreversible transactions.

No client needs the hint in order to ask: Codex, VS Code, Claude and ChatGPT ask before a tool that is not
read-only, unless the user has allowed it. With the hint, Claude Code would also ask in its auto mode, which
users choose in order not to be asked. What limits spending is the price in the description, and the caps.
"""
_GENERATES = (
    "refunded if it fails. "
    "Answers within seconds with a task id and does not wait: call wait_for_task next. "
    "Safe to repeat: the same arguments give the same task, paid once; take: 2, 3, … make others."
)

TOOLS = (
    Definition(
        name=FROM_PICTURE,
        title="Generate a video from a picture",
        description=(
            "Start making a video of 5 or 10 seconds from one picture (its first frame) and a prompt; from "
            f"text alone: {FROM_TEXT}. COSTS CREDITS: {PRICE}; {_GENERATES}"
        ),
        arguments=GenerationRequest,
        answer=TaskView,
        annotations=_CHANGES,
        handler=generate_video,
        meta=SHOWN_BY_THE_PLAYER,
    ),
    Definition(
        name=FROM_TEXT,
        title="Generate a video from text",
        description=(
            f"Start making a video of 5 or 10 seconds from a prompt alone; from a picture: {FROM_PICTURE}. "
            f"COSTS CREDITS: {TEXT_PRICE}; {_GENERATES}"
        ),
        arguments=TextGenerationRequest,
        answer=TaskView,
        annotations=_CHANGES,
        handler=generate_video,
        meta=SHOWN_BY_THE_PLAYER,
    ),
    Definition(
        name="get_task",
        title="Get a task",
        description="Read a task once: status, progress, result links. Free. To wait, use wait_for_task.",
        arguments=TaskArguments,
        answer=TaskView,
        annotations=_READS,
        handler=get_task,
    ),
    Definition(
        name="wait_for_task",
        title="Wait for a task",
        description=(
            "Wait until a task is completed or failed, or the time is up; the answer says how to go on. A "
            "video takes minutes: expect to call this several times. Free. Cancelling does not stop the task."
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
            "conversations: to find a video, with its path or link, or a request whose answer was lost. Free."
        ),
        arguments=ListArguments,
        answer=ListView,
        annotations=_READS.model_copy(update={"open_world_hint": False}),
        handler=list_tasks,
    ),
    Definition(
        name="save_video",
        title="Save a video",
        description=(
            "Save the video of a completed task on this machine before its link expires; returns its path. "
            "Free. If it was saved before, returns that file; never overwrites a file."
        ),
        arguments=SaveArguments,
        answer=TaskView,
        annotations=_CHANGES,
        handler=save_video,
    ),
    Definition(
        name="preview_video",
        title="Look at a video",
        description=(
            "See frames of a completed task's video, with their times, in one picture: to judge your own "
            "work before you show, continue or join it. Free."
        ),
        arguments=PreviewArguments,
        answer=None,
        annotations=_READS,
        handler=preview_video,
    ),
    Definition(
        name="join_videos",
        title="Join videos",
        description=(
            "Join the videos of completed tasks, in this order, into one MP4 on this machine; returns its "
            "path. Free. Videos of one kind are copied without loss; others get the size of the first."
        ),
        arguments=JoinArguments,
        answer=FilmView,
        annotations=_CHANGES,
        handler=join_videos,
    ),
    Definition(
        name="get_credits",
        title="Show the credits left",
        description="Show the credits left to the account and this key, and whether the key works. Free.",
        arguments=NoArguments,
        answer=BalanceView,
        annotations=_READS,
        handler=get_credits,
    ),
)
"""In the order in which a conversation uses them."""

ALLOWANCE = Definition(
    name="get_credits",
    title="Show what you may spend",
    description=(
        "Show how many credits you spent on this server in the last 24 hours, and your caps. The server's "
        "account pays. Free."
    ),
    arguments=NoArguments,
    answer=AllowanceView,
    annotations=_READS.model_copy(update={"open_world_hint": False}),
    handler=get_credits,
)
"""Replaces the tool of the same name where the operator's account pays for all callers."""
_OF_SAVED_FILES = frozenset(("saved_to", "missing"))
_OF_KEPT_VIDEOS = frozenset(("kept_until",))
_HOSTED: dict[str, dict[str, Any]] = {
    FROM_PICTURE: {"arguments": HostedGenerationRequest},
    "save_video": {
        "description": (
            "Keep the video of a completed task on this server before Evolink's link expires; returns a new "
            "link to it. Free. If it was kept before, returns a link to that."
        ),
        "arguments": TaskArguments,
    },
    "join_videos": {
        "description": (
            "Join the videos of completed tasks, in this order, into one MP4 on this server; returns a link "
            "to it. Free. Videos of one kind are copied without loss; others get the size of the first."
        ),
        "answer": KeptFilmView,
    },
    "list_tasks": {
        "description": (
            "List your tasks that this server knows, newest first, also from earlier conversations: to find "
            "a video's link, or a request whose answer was lost. Free."
        )
    },
    "preview_video": {
        "description": (
            "See frames of a completed task's video, with their times, in one picture: to judge your own "
            "work before you show, continue or join it. Free."
        )
    },
}
"""What differs in tools of a hosted server."""


def tools_for(deployment: Deployment) -> tuple[Definition, ...]:
    """The tools that a server offers."""
    if deployment.local:
        return tuple(replace(tool, hidden=_OF_KEPT_VIDEOS) for tool in TOOLS)
    offered = [
        ALLOWANCE if deployment.operator_pays and tool.name == ALLOWANCE.name else tool for tool in TOOLS
    ]
    differing = [replace(tool, hidden=_OF_SAVED_FILES, **_HOSTED.get(tool.name, {})) for tool in offered]
    return (PREPARE_UPLOAD, *differing)
