"""The list of tasks as a client sees it: few tokens for each."""

from typing import Annotated

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from wan_mcp.generation.submission import ASK_AGAIN
from wan_mcp.ledger import Entry, EntryStatus
from wan_mcp.server.results import iso

PROMPT_SHOWN = 60
"""Characters of a prompt: enough to tell one's own wishes apart."""


class LineView(BaseModel):
    id: Annotated[str | None, Field(description="Absent while unknown")] = None
    status: EntryStatus
    asked_at: Annotated[str, Field(description="ISO 8601, UTC")]
    prompt: Annotated[str | None, Field(description="Its beginning; absent for tasks made elsewhere")] = None
    progress: float | None = None
    results: list[str] | None = None
    credits: Annotated[float, Field(description="Used, else reserved, else estimated")]
    error: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> "LineView":
        task = entry.task
        return cls(
            id=task.id if task else None,
            status=entry.status,
            asked_at=iso(entry.asked_at) or "",
            prompt=_shortened(entry.prompt) or None,
            progress=task.progress if task and not task.is_over else None,
            results=list(task.results) or None if task else None,
            credits=entry.cost,
            error=task.error.code if task and task.error else None,
        )


class ListView(BaseModel):
    """Tasks, newest first."""

    tasks: list[LineView]
    next: Annotated[str, Field(description="What to do now")]


def result(entries: list[Entry]) -> CallToolResult:
    """The answer of ``list_tasks``."""
    view = ListView(tasks=[LineView.of(entry) for entry in entries], next=_next_step(entries))
    lines = [_line(task) for task in view.tasks]
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join([*lines, view.next]))],
        structured_content=view.model_dump(exclude_none=True),
    )


def _shortened(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= PROMPT_SHOWN else line[: PROMPT_SHOWN - 1] + "…"


def _line(view: LineView) -> str:
    percent = f" {view.progress:g} %" if view.progress is not None else ""
    error = f", {view.error}" if view.error else ""
    prompt = f' "{view.prompt}"' if view.prompt else ""
    links = "".join(f"\n  {link}" for link in view.results or ())
    task = f"{view.asked_at} {view.id or '(no id yet)'} {view.status}"
    return f"{task}{percent}{error}, {view.credits:g} credits{prompt}{links}"


def _next_step(entries: list[Entry]) -> str:
    if not entries:
        return "No such tasks. generate_video makes one."
    statuses = {entry.status for entry in entries}
    if "unknown" in statuses:
        return f"unknown: no answer ever came to that request. {ASK_AGAIN}"
    if statuses & {"pending", "processing"}:
        return "Call wait_for_task with the id of one that is not over."
    return "All of these are over. get_task shows all of one."
