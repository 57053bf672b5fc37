"""What a client sees of tasks and credits: typed objects, and the same facts as a few lines of text."""

from pathlib import Path
from typing import Annotated, Any

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel, Field

from wan_mcp.evolink import Credits, Status, Task
from wan_mcp.evolink.values import utc
from wan_mcp.generation.outcomes import ASK_AGAIN
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import Entry, EntryStatus, Image, Saved
from wan_mcp.server.text import balance_text, next_step

PROMPT_SHOWN = 60
"""Characters of a prompt: enough to tell one's own requests apart."""


class CreditsView(BaseModel):
    reserved: float | None = None
    used: float | None = None


class ErrorView(BaseModel):
    code: str
    message: str
    retryable: bool


class ImageView(BaseModel):
    width: int | None = None
    height: int | None = None
    format: str | None = None
    adjusted: list[str] | None = None


class FileView(BaseModel):
    bytes: int
    sha256: str
    seconds: float | None = None
    width: int | None = None
    height: int | None = None


class TaskView(BaseModel):
    """A task as the tools answer it; what is not known is absent."""

    id: str
    status: Status
    progress: Annotated[float | None, Field(description="Percent")] = None
    model: str | None = None
    created: Annotated[float | None, Field(description="Unix seconds")] = None
    estimated_time: Annotated[float | None, Field(description="Seconds in all")] = None
    results: Annotated[list[str] | None, Field(description="Video links")] = None
    expires_at: Annotated[str | None, Field(description="When the links expire, ISO 8601, UTC")] = None
    saved_to: Annotated[str | None, Field(description="Path of the saved video")] = None
    file: FileView | None = None
    take: Annotated[int | None, Field(description="Which version of the same request")] = None
    credits: CreditsView | None = None
    error: ErrorView | None = None
    image: ImageView | None = None
    repeated: Annotated[bool | None, Field(description="True: requested before, nothing new was paid")] = None
    next: Annotated[str, Field(description="What to do now")]

    @classmethod
    def of(cls, snapshot: TaskSnapshot) -> "TaskView":
        task = snapshot.task
        return cls(
            id=task.id,
            status=task.status,
            progress=task.progress,
            model=task.model,
            created=task.created,
            estimated_time=task.estimated_time,
            results=list(task.results) or None,
            expires_at=iso(snapshot.expires_at),
            saved_to=snapshot.saved.path if snapshot.saved else None,
            file=_file(snapshot.saved),
            credits=_credits(task),
            error=_error(task),
            take=snapshot.take,
            image=_image(snapshot.image),
            repeated=True if snapshot.repeated else None,
            next=next_step(snapshot),
        )


def task_result(snapshot: TaskSnapshot) -> CallToolResult:
    """The answer of a tool about one task."""
    view = TaskView.of(snapshot)
    facts = view.model_dump(exclude_none=True)
    content: list[ContentBlock] = [TextContent(type="text", text=_text(facts))]
    if view.saved_to is not None:
        uri = Path(view.saved_to).as_uri()
        content.append(
            ResourceLink(type="resource_link", uri=uri, name=Path(view.saved_to).name, mime_type="video/mp4")
        )
    content += [
        ResourceLink(type="resource_link", uri=link, name=f"{view.id}.mp4", mime_type="video/mp4")
        for link in view.results or ()
    ]
    return CallToolResult(content=content, structured_content=facts)


def _file(saved: Saved | None) -> FileView | None:
    if saved is None:
        return None
    return FileView(
        bytes=saved.size,
        sha256=saved.sha256,
        seconds=saved.seconds,
        width=saved.width,
        height=saved.height,
    )


def iso(moment: float | None) -> str | None:
    """A moment in Unix seconds, as ISO 8601 in UTC; None where it is none."""
    date = utc(moment)
    return f"{date:%Y-%m-%dT%H:%M:%SZ}" if date else None


def _credits(task: Task) -> CreditsView | None:
    view = CreditsView(reserved=task.credits_reserved, used=task.credits_used)
    return view if view != CreditsView() else None


def _error(task: Task) -> ErrorView | None:
    if task.error is None:
        return None
    return ErrorView(code=task.error.code, message=task.error.message, retryable=task.error.retryable)


def _image(image: Image | None) -> ImageView | None:
    if image is None:
        return None
    view = ImageView(
        width=image.width,
        height=image.height,
        format=image.format,
        adjusted=list(image.adjusted) or None,
    )
    return view if view != ImageView() else None


def _text(facts: dict[str, Any]) -> str:
    """The same facts as the object, one a line; the next step comes last, where it is read best."""
    percent = f", {facts['progress']:g} %" if "progress" in facts else ""
    lines = [f"Task {facts['id']}: {facts['status']}{percent}."]
    lines += [f"{name}: {_plain(value)}" for name, value in facts.items() if name not in _SAID_ELSEWHERE]
    return "\n".join([*lines, facts["next"]])


_SAID_ELSEWHERE = ("id", "status", "progress", "next")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:g}"
    return str(value)


class BalanceView(BaseModel):
    """What is left, in credits."""

    remaining: Annotated[float, Field(description="Credits of the account")]
    used: float | None = None
    key_remaining: Annotated[float | None, Field(description="Credits that this key may still spend")] = None
    key_used: float | None = None
    key_unlimited: bool = False


class LineView(BaseModel):
    id: Annotated[str | None, Field(description="Absent while unknown")] = None
    status: EntryStatus
    asked_at: Annotated[str, Field(description="ISO 8601, UTC")]
    """Empty where the ledger holds no time that can be shown."""
    prompt: Annotated[str | None, Field(description="Its beginning; absent for tasks made elsewhere")] = None
    take: int | None = None
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
            take=entry.take if entry.is_request else None,
            progress=task.progress if task and not task.is_over else None,
            results=list(task.results) or None if task else None,
            credits=entry.cost,
            error=task.error.code if task and task.error else None,
        )


class ListView(BaseModel):
    """Tasks, newest first."""

    tasks: list[LineView]
    next: Annotated[str, Field(description="What to do now")]


def list_result(entries: list[Entry]) -> CallToolResult:
    """The answer of ``list_tasks``."""
    view = ListView(tasks=[LineView.of(entry) for entry in entries], next=_next_of_list(entries))
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
    prompt += f", take {view.take}" if (view.take or 1) > 1 else ""
    links = "".join(f"\n  {link}" for link in view.results or ())
    task = f"{view.asked_at} {view.id or '(no id yet)'} {view.status}".lstrip()
    return f"{task}{percent}{error}, {view.credits:g} credits{prompt}{links}"


def _next_of_list(entries: list[Entry]) -> str:
    if not entries:
        return "No such tasks. generate_video makes one."
    statuses = {entry.status for entry in entries}
    if "unknown" in statuses:
        return f"unknown: that request never got an answer. {ASK_AGAIN}"
    if statuses & {"pending", "processing"}:
        return "Call wait_for_task with the id of one that is not over."
    return "All of these are over. get_task shows all of one."


def credits_result(credits: Credits) -> CallToolResult:
    """The answer of ``get_credits``."""
    view = BalanceView.model_validate(credits.model_dump())
    return CallToolResult(
        content=[TextContent(type="text", text=balance_text(credits))],
        structured_content=view.model_dump(exclude_none=True),
    )
