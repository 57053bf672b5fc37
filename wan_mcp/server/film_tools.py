"""The tools that work on videos which exist already: to look at one, and to join several. Both are free."""

from contextlib import suppress
from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult

from wan_mcp.generation.service import VideoService
from wan_mcp.server import timeouts
from wan_mcp.server.arguments import JoinArguments, PreviewArguments
from wan_mcp.server.films import film_result, preview_result
from wan_mcp.server.text import risen


async def preview_video(
    service: VideoService, arguments: PreviewArguments, context: Context[Any]
) -> CallToolResult:
    patience = timeouts.patience(context, service.settings)
    preview = await service.films.preview(arguments.task_id, arguments.frames, patience)
    return preview_result(arguments.task_id, preview)


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
    return film_result(await service.joiner.join(arguments.task_ids, arguments.filename, patience, on_share))
