"""``wan-mcp generate``: the whole job from a terminal, without MCP."""

from pathlib import Path

import click

from wan_mcp.errors import EvolinkError
from wan_mcp.server.arguments import parse
from wan_mcp.server.schema import plain_schema
from wan_mcp.settings import Settings
from wan_mcp.studio import Report, Studio, Wish
from wan_mcp.videos import download, free_name

BAR = 24


def bar(percent: float) -> str:
    """A progress bar of fixed width."""
    filled = round(BAR * min(max(percent, 0), 100) / 100)
    return "█" * filled + "░" * (BAR - filled)


def wish_of(image: str, prompt: str, duration: str | None, quality: str | None) -> Wish:
    """What the command line asks for; a relative path is a file here.

    Raises:
        InvalidRequest: with everything that is wrong, in words.
    """
    reference = (
        image if "://" in image or image.startswith("data:") else str(Path(image).expanduser().absolute())
    )
    given = {"image_urls": reference, "prompt": prompt, "duration": duration, "quality": quality}
    return parse("generate", Wish, plain_schema(Wish), given)


def absolute(image: str) -> str:
    """An address as it is; a path as an absolute one, since a server's folder is another."""
    if "://" in image or image.startswith(("data:", "file:")):
        return image
    return str(Path(image).expanduser().absolute())


async def generate(settings: Settings, wish: Wish, output: Path | None) -> Path:
    """Ask for a video, wait until it is made, and save it.

    Raises:
        WanError: when it cannot be asked for, fails, or cannot be saved.
    """
    async with Studio(settings) as studio:
        report = await studio.generate(wish)
        click.echo(f"Task {report.task.id}: goes on even if this program stops.", err=True)
        while not report.task.is_over:
            report = await studio.wait(report.task.id, None, _show)
        click.echo(err=True)
        return await download(_link(report), output or free_name(Path.cwd(), report.task.id))


async def _show(report: Report | None) -> None:
    if report is not None:
        percent = report.task.progress or 0
        click.echo(f"\r{bar(percent)} {percent:3.0f} % {report.task.status:<10}", nl=False, err=True)


def _link(report: Report) -> str:
    task = report.task
    if task.status != "completed":
        reason = f"{task.error.code}: {task.error.message}" if task.error else "no reason given"
        raise EvolinkError(
            f"The generation {task.status} ({reason}).",
            next_step="Change the prompt or the picture, or try again later.",
            task_id=task.id,
        )
    return task.results[0]
