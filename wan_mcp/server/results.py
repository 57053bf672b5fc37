"""What a client sees of tasks and credits: objects with a schema, and the same facts as lines of text."""

import mimetypes
from pathlib import Path
from typing import Annotated, Any

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel, Field

from wan_mcp.evolink import Credits, Status, Task
from wan_mcp.evolink.prices import cost_text, dollars
from wan_mcp.evolink.values import iso
from wan_mcp.generation.allowance import Allowance
from wan_mcp.generation.listing import TaskLine, facts_text
from wan_mcp.generation.outcomes import balance_text
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import Entry, Image, Kept, Saved
from wan_mcp.ledger.entries import cost_of
from wan_mcp.server.text import next_of_list, next_step, paid

NEXT_READ = "wan-mcp/next_read_seconds"
"""In an answer's ``_meta``: seconds until a running task is read again; asking sooner shows nothing new."""
TIME_LEFT = "wan-mcp/time_left_seconds"
"""In an answer's ``_meta``: seconds, estimated, until the task is over."""


def _size(width: int | None, height: int | None) -> str:
    return f"{width}\u00d7{height}" if width and height else ""


class CreditsView(BaseModel):
    reserved: float | None = None
    used: float | None = None


class ErrorView(BaseModel):
    code: str
    message: str
    retryable: bool


class ImageView(BaseModel):
    name: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    adjusted: list[str] | None = None

    def __str__(self) -> str:
        return ", ".join(
            filter(None, [self.name, _size(self.width, self.height), self.format, *(self.adjusted or ())])
        )


class FileView(BaseModel):
    bytes: int
    sha256: str
    seconds: float | None = None
    width: int | None = None
    height: int | None = None

    def __str__(self) -> str:
        length = f"{self.seconds:g} s" if self.seconds else ""
        return ", ".join(filter(None, [f"{self.bytes / 1e6:.1f} MB", length, _size(self.width, self.height)]))


class TaskView(BaseModel):
    """A task in the answers of the tools; what is not known is absent."""

    id: str
    status: Status
    progress: Annotated[float | None, Field(description="Percent")] = None
    model: str | None = None
    created: Annotated[float | None, Field(description="Unix seconds")] = None
    estimated_time: Annotated[float | None, Field(description="Seconds in all")] = None
    results: list[str] | None = None
    """Links of the video, while they work."""
    expires_at: Annotated[str | None, Field(description="ISO 8601, UTC")] = None
    kept_until: Annotated[str | None, Field(description="ISO 8601, UTC; absent: not kept")] = None
    saved_to: Annotated[str | None, Field(description="Path")] = None
    file: FileView | None = None
    take: int | None = None
    """Which version of the same request."""
    continues: str | None = None
    """The task whose last frame it begins with."""
    part: int | None = None
    """The place in the chain of parts, from 2 on."""
    duration: Annotated[int | None, Field(description="Seconds")] = None
    quality: str | None = None
    credits: CreditsView | None = None
    dollars: str | None = None
    error: ErrorView | None = None
    image: ImageView | None = None
    repeated: bool | None = None
    """True: requested before, nothing new was paid."""
    next: str
    """What to do now."""

    @classmethod
    def of(cls, snapshot: TaskSnapshot, deployment: Deployment) -> "TaskView":
        task, entry = snapshot.task, snapshot.entry
        request = entry if entry is not None and entry.is_request else None
        return cls(
            id=task.id,
            status=task.status,
            progress=task.progress,
            model=task.model,
            created=task.created,
            estimated_time=task.estimated_time,
            results=list(snapshot.links) or None,
            expires_at=iso(snapshot.links_expire_at),
            kept_until=iso(snapshot.kept_until),
            saved_to=snapshot.saved.path if snapshot.saved else None,
            file=file_view(file) if (file := snapshot.saved or snapshot.kept) else None,
            credits=_credits(task),
            dollars=_dollars(task),
            error=_error(task),
            take=snapshot.take,
            continues=request.parent if request else None,
            part=request.part if request and request.parent else None,
            duration=request.duration if request else None,
            quality=request.quality if request else None,
            image=_image(snapshot.image),
            repeated=True if snapshot.repeated else None,
            next=next_step(snapshot, deployment),
        )


def task_result(snapshot: TaskSnapshot, deployment: Deployment) -> CallToolResult:
    """The answer of a tool about one task.

    Args:
        snapshot: the task.
        deployment: where the server runs, and what it saves.
    """
    view = TaskView.of(snapshot, deployment)
    content: list[ContentBlock] = [TextContent(type="text", text=_text(view))]
    if view.saved_to is not None:
        content.append(file_link(view.saved_to))
    content += [
        ResourceLink(type="resource_link", uri=link, name=f"{view.id}.mp4", mime_type="video/mp4")
        for link in view.results or ()
    ]
    return CallToolResult(
        content=content,
        structured_content=view.model_dump(exclude_none=True),
        _meta=_pace(snapshot),
    )


def _pace(snapshot: TaskSnapshot) -> dict[str, Any] | None:
    """The answer's ``_meta``, for programs that follow a task; models do not need it."""
    known = {NEXT_READ: snapshot.next_read, TIME_LEFT: snapshot.time_left}
    return {name: round(value, 1) for name, value in known.items() if value is not None} or None


def file_link(saved_to: str) -> ResourceLink:
    """A link to a file on this machine."""
    path = Path(saved_to)
    kind = mimetypes.guess_type(path.name)[0]
    return ResourceLink(type="resource_link", uri=path.as_uri(), name=path.name, mime_type=kind)


def file_view(saved: Saved | Kept) -> FileView:
    return FileView(
        bytes=saved.size,
        sha256=saved.sha256,
        seconds=saved.seconds,
        width=saved.width,
        height=saved.height,
    )


def _credits(task: Task) -> CreditsView | None:
    view = CreditsView(reserved=task.credits_reserved, used=task.credits_used)
    return view if view != CreditsView() else None


def _dollars(task: Task) -> str | None:
    cost = cost_of(task)
    return None if cost is None else dollars(cost)


def _error(task: Task) -> ErrorView | None:
    if task.error is None:
        return None
    return ErrorView(code=task.error.code, message=task.error.message, retryable=task.error.retryable)


def _image(image: Image | None) -> ImageView | None:
    if image is None:
        return None
    view = ImageView(
        name=image.name,
        width=image.width,
        height=image.height,
        format=image.format,
        adjusted=list(image.adjusted) or None,
    )
    return view if view != ImageView() else None


def _text(view: TaskView) -> str:
    """The facts of the object without those that only a program needs; the next step comes last."""
    running = view.status in ("pending", "processing")
    percent = f", {view.progress:g} %" if running and view.progress is not None else ""
    cost = _cost_text(view)
    facts = facts_text(view.duration, view.quality, view.take, cost, view.part, view.continues)
    lines = [f"Task {view.id}: {view.status}{percent}", facts]
    if view.image is not None:
        lines.append(f"Picture: {view.image}")
    if view.file is not None:
        lines.append(f"File: {view.file}")
    lines += [f"Link: {link}" for link in view.results or () if link not in view.next]
    return "\n".join(filter(None, [*lines, view.next]))


def _cost_text(view: TaskView) -> str:
    """The credits used or reserved; empty where the next step says what the task cost."""
    if view.credits is None or view.status in ("failed", "cancelled"):
        return ""
    if view.credits.used is not None:
        return "" if paid(view.credits.used) in view.next else f"{cost_text(view.credits.used)} used"
    return f"{cost_text(view.credits.reserved)} reserved" if view.credits.reserved is not None else ""


class BalanceView(BaseModel):
    """The credits left."""

    remaining: Annotated[float, Field(description="Credits of the account")]
    dollars: str
    used: float | None = None
    key_remaining: Annotated[float | None, Field(description="Credits that this key may still spend")] = None
    key_used: float | None = None
    key_unlimited: bool = False


class AllowanceView(BaseModel):
    """What the caller may still spend, where the server's operator pays."""

    spent: Annotated[float, Field(description="Credits that you spent in the last 24 hours")]
    left: Annotated[float | None, Field(description="Credits that your daily cap leaves; absent: no cap")] = (
        None
    )
    daily_cap: Annotated[float | None, Field(description="Credits in 24 hours")] = None
    request_cap: Annotated[float | None, Field(description="Credits of one request")] = None


class ListView(BaseModel):
    """Tasks, newest first."""

    tasks: list[TaskLine]
    next: str
    """What to do now."""


def list_result(entries: list[Entry], now: float, deployment: Deployment) -> CallToolResult:
    """The answer of ``list_tasks``."""
    lines = [TaskLine.of(entry, now) for entry in entries]
    view = ListView(tasks=lines, next=next_of_list(lines, deployment))
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join([*map(str, lines), view.next]))],
        structured_content=view.model_dump(exclude_none=True),
    )


def allowance_result(allowance: Allowance) -> CallToolResult:
    """The answer of ``get_credits`` where the operator pays."""
    view = AllowanceView(
        spent=allowance.spent,
        left=allowance.left,
        daily_cap=allowance.daily_credits,
        request_cap=allowance.request_credits,
    )
    return CallToolResult(
        content=[TextContent(type="text", text=str(allowance))],
        structured_content=view.model_dump(exclude_none=True),
    )


def credits_result(credits: Credits) -> CallToolResult:
    """The answer of ``get_credits``."""
    view = BalanceView(**credits.model_dump(), dollars=dollars(credits.remaining))
    return CallToolResult(
        content=[TextContent(type="text", text=balance_text(credits))],
        structured_content=view.model_dump(exclude_none=True),
    )
