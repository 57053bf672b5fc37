"""``wan-mcp generate``: the whole job from a terminal, without MCP."""

from pathlib import Path

import click

from wan_mcp.errors import EvolinkError
from wan_mcp.generation.request import Wish
from wan_mcp.generation.service import Studio
from wan_mcp.generation.snapshot import Report
from wan_mcp.server.schema import plain_schema
from wan_mcp.settings import Settings
from wan_mcp.validation import parse

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
    folder, name = place(output)
    settings = settings.model_copy(update={"output_dir": folder})
    async with Studio(settings) as studio:
        report = await studio.generate(wish)
        click.echo(f"Task {report.task.id}: goes on even if this program stops.", err=True)
        while not report.task.is_over:
            report = await studio.wait(report.task.id, 45, _show)
        click.echo(err=True)
        if report.task.status != "completed":
            raise _failed(report)
        report = await studio.save(report.task.id, name, _silent)
    assert report.saved is not None
    return Path(report.saved.path)


def place(output: Path | None, name: str | None = None) -> tuple[Path, str | None]:
    """Folder and name for a video: as asked for, else here and under ``name``."""
    if output is None:
        return Path.cwd(), name
    return output.expanduser().absolute().parent, output.name


async def _show(report: Report | None) -> None:
    if report is not None:
        percent = report.task.progress or 0
        click.echo(f"\r{bar(percent)} {percent:3.0f} % {report.task.status:<10}", nl=False, err=True)


async def _silent(received: int, length: int | None) -> None:
    """A download of a few seconds needs no bar."""


def _failed(report: Report) -> EvolinkError:
    task = report.task
    reason = f"{task.error.code}: {task.error.message}" if task.error else "no reason given"
    return EvolinkError(
        f"The generation {task.status} ({reason}). It was not charged.",
        next_step="Change the prompt or the picture, or try again later.",
        task_id=task.id,
    )
