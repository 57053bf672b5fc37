"""What a client gets to see of a task: one object, and the same facts in a few lines of text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from mcp.types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel, Field

from wan_mcp.evolink import Status, Task
from wan_mcp.generation.snapshot import Report
from wan_mcp.images import Picture
from wan_mcp.ledger import Saved
from wan_mcp.server import text


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
    expires_at: Annotated[str | None, Field(description="When the links die, ISO 8601, UTC")] = None
    saved_to: Annotated[str | None, Field(description="Path of the saved video")] = None
    file: FileView | None = None
    credits: CreditsView | None = None
    error: ErrorView | None = None
    image: ImageView | None = None
    repeated: Annotated[bool | None, Field(description="True: asked for before, nothing new was paid")] = None
    next: Annotated[str, Field(description="What to do now")]

    @classmethod
    def of(cls, report: Report) -> "TaskView":
        task = report.task
        return cls(
            id=task.id,
            status=task.status,
            progress=task.progress,
            model=task.model,
            created=task.created,
            estimated_time=task.estimated_time,
            results=list(task.results) or None,
            expires_at=iso(report.expires_at),
            saved_to=report.saved.path if report.saved else None,
            file=_file(report.saved),
            credits=_credits(task),
            error=_error(task),
            image=_image(report.picture),
            repeated=True if report.repeated else None,
            next=text.next_step(report),
        )


def result(report: Report) -> CallToolResult:
    """The answer of a tool that speaks of one task."""
    view = TaskView.of(report)
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
    """A moment in Unix seconds, as ISO 8601 in UTC."""
    return None if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _credits(task: Task) -> CreditsView | None:
    view = CreditsView(reserved=task.credits_reserved, used=task.credits_used)
    return view if view != CreditsView() else None


def _error(task: Task) -> ErrorView | None:
    if task.error is None:
        return None
    return ErrorView(code=task.error.code, message=task.error.message, retryable=task.error.retryable)


def _image(picture: Picture | None) -> ImageView | None:
    if picture is None:
        return None
    view = ImageView(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        adjusted=list(picture.adjusted) or None,
    )
    return view if view != ImageView() else None


def _text(facts: dict[str, Any]) -> str:
    """The same facts as the object, one to a line; the next step comes last, where it is read best."""
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
