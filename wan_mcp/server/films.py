"""The free tools for videos that exist already: preview one, and join several into a film."""

import base64
from contextlib import suppress
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field

from wan_mcp.evolink.prices import estimate_text
from wan_mcp.evolink.values import iso, spoken
from wan_mcp.generation.frames import Preview
from wan_mcp.generation.joining import Film
from wan_mcp.generation.outcomes import MAX_TAKE
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import link_state
from wan_mcp.ledger import Entry
from wan_mcp.server import timeouts
from wan_mcp.server.arguments import JoinArguments, PreviewArguments
from wan_mcp.server.results import FileView, file_link, file_view
from wan_mcp.server.text import NOT_CHARGED, risen


class FilmView(BaseModel):
    """A film in the answer of ``join_videos``."""

    saved_to: Annotated[str, Field(description="Path")]
    file: FileView
    parts: list[str]
    """The tasks, in order."""
    lossless: Annotated[bool, Field(description="Whether the pictures were copied, not re-encoded")]
    remarks: list[str] | None = None
    next: str
    """What to do now."""


class KeptFilmView(BaseModel):
    """A film in the answer of a hosted server's ``join_videos``."""

    link: str
    """Where it is played and downloaded."""
    expires_at: Annotated[str | None, Field(description="ISO 8601, UTC")] = None
    kept_until: Annotated[str | None, Field(description="ISO 8601, UTC")] = None
    file: FileView
    parts: list[str]
    """The tasks, in order."""
    lossless: Annotated[bool, Field(description="Whether the pictures were copied, not re-encoded")]
    remarks: list[str] | None = None
    next: str
    """What to do now."""


async def preview_video(
    service: VideoService, arguments: PreviewArguments, context: Context[Any]
) -> CallToolResult:
    patience = timeouts.patience(context, service.settings)
    preview = await service.frames.preview(arguments.task_id, arguments.frames, patience)
    return preview_result(arguments.task_id, preview, service.now())


async def join_videos(
    service: VideoService, arguments: JoinArguments, context: Context[Any]
) -> CallToolResult:
    shown = 0.0

    async def on_share(share: float) -> None:
        nonlocal shown
        shown = risen(shown, 100 * share)
        with suppress(Exception):  # the join goes on even if the client is gone
            await context.report_progress(shown, 100, f"joining: {100 * share:.0f} %")

    patience = timeouts.patience(context, service.settings)
    film = await service.joiner.join(arguments.task_ids, arguments.filename, patience, on_share)
    return film_result(film, service.now())


def film_result(film: Film, now: float) -> CallToolResult:
    """The answer of ``join_videos``.

    Args:
        film: the film.
        now: Unix seconds.
    """
    saved, kept, link = film.found.saved, film.found.kept, film.found.link
    facts: dict[str, Any] = {
        "file": file_view(film.found.file),
        "parts": list(film.task_ids),
        "lossless": film.lossless,
        "remarks": list(film.remarks) or None,
    }
    view: FilmView | KeptFilmView
    if saved is not None:
        said = f"Tell the user: the film is saved at {saved.path}. {NOT_CHARGED}"
        view, address = FilmView(saved_to=saved.path, next=said, **facts), file_link(saved.path)
    else:
        assert kept is not None
        assert link is not None
        state = link_state(link.expires_at, now)
        until = spoken(film.found.kept_until, now)
        said = (
            f"Tell the user: the film is ready at {link.url} (the link {state}). This server keeps it until "
            f"{until}; the same call gives a new link while it has the parts. {NOT_CHARGED}"
        )
        view = KeptFilmView(
            link=link.url,
            expires_at=iso(link.expires_at),
            kept_until=iso(film.found.kept_until),
            next=said,
            **facts,
        )
        address = ResourceLink(type="resource_link", uri=link.url, name=kept.name, mime_type="video/mp4")
    how = "without loss"
    if not film.lossless:
        how = "re-encoded because they differ, with the size and the frame rate of the first"
    lines = [f"Joined {len(film.task_ids)} videos, {how}.", f"File: {view.file}", *film.remarks, view.next]
    content: list[ContentBlock] = [TextContent(type="text", text="\n".join(lines)), address]
    return CallToolResult(content=content, structured_content=view.model_dump(exclude_none=True))


def preview_result(task_id: str, preview: Preview, now: float) -> CallToolResult:
    """The answer of ``preview_video``; no structured content, since some clients show the model only that.

    Args:
        task_id: the task.
        preview: frames of its video.
        now: Unix seconds.
    """
    image = base64.b64encode(preview.sheet.content).decode()
    return CallToolResult(
        content=[
            ImageContent(type="image", data=image, mime_type="image/jpeg"),
            TextContent(type="text", text=_preview_text(task_id, preview, now)),
        ]
    )


def _preview_text(task_id: str, preview: Preview, now: float) -> str:
    sheet, entry = preview.sheet, preview.entry
    moments = ", ".join(f"{time:.1f}" for time in sheet.times)
    size, sound = f"{sheet.width}\u00d7{sheet.height}", "with sound" if sheet.has_sound else "without sound"
    facts = f"{sheet.seconds:g} s, {size}, {sheet.rate:g} frames a second, {sound}"
    lines = [f"Frames of the video of {task_id}, at {moments} s. The video: {facts}."]
    if entry is not None and entry.prompt:
        lines.append(f'Compare them with the prompt: "{entry.prompt}"')
    place = f"the video is saved at {preview.path}" if preview.path else "the video is ready"
    if entry is not None and entry.link is not None:
        place += f" at {entry.link.url} (the link {link_state(entry.link.expires_at, now)})"
    lines.append(f"If it is as intended, tell the user: {place}. If not, say what differs.")
    return " ".join(["\n".join(lines), *_another_try(entry), NOT_CHARGED])


def _another_try(entry: Entry | None) -> list[str]:
    """How to get a better video, and what that costs; empty for a task that was made elsewhere."""
    if entry is None or not entry.is_request:
        return []
    said = (
        "If the prompt led to it, change only those words (one motion, one camera move, what should be seen "
        "instead of what should not) and request it again"
    )
    if entry.take < MAX_TAKE:
        said += f"; if the prompt is right, request the same with take: {entry.take + 1}"
    cost = estimate_text(entry.estimate, from_text=entry.from_text)
    return [f"{said}. Each try costs about {cost}: ask the user first."]
