"""``wan-mcp generate``: the whole job from a terminal, without MCP."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from wan_mcp.errors import EvolinkError, PictureError
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.images import sources
from wan_mcp.images.names import spellings, unquoted
from wan_mcp.settings import Settings
from wan_mcp.validation import parse, plain_schema

BAR = 24
"""Characters of a progress bar."""
WAIT_SECONDS = 45.0
SANDBOX_KEY = "sk-sandbox"


def bar(percent: float) -> str:
    """A progress bar of fixed width."""
    filled = round(BAR * min(max(percent, 0), 100) / 100)
    return "█" * filled + "░" * (BAR - filled)


def request_of(
    image: str, prompt: str, duration: str | None, quality: str | None, take: int
) -> GenerationRequest:
    """What the command line requests.

    Raises:
        InvalidRequest: with everything that is wrong, in words.
    """
    settings = {"duration": duration, "quality": quality, "take": take}
    given = {"image_urls": absolute(image), "prompt": prompt, **settings}
    return parse("generate", GenerationRequest, plain_schema(GenerationRequest), given)


def absolute(image: str) -> str:
    """A path from here as an absolute one; whatever else can be meant as it is."""
    if os.path.exists(image):  # noqa: PTH110  false for what no path can be
        return str(Path(image).absolute())
    try:
        kind = sources.kind(image)
    except PictureError:  # said where pictures are read
        return image
    bare = unquoted(image)
    meant = spellings(image, windows=os.name == "nt")
    if any(one.startswith("~") or Path(one).is_absolute() for one in meant):
        return image
    if kind != "file" or not bare or bare.lower().startswith("file:"):
        return image
    return str(Path(bare.removeprefix("@")).absolute())


def place(output: Path | None, name: str | None = None) -> tuple[Path, str | None]:
    """Folder and name for a video: as given, else here and under ``name``."""
    if output is None:
        return Path.cwd(), name
    return output.expanduser().absolute().parent, output.name


def sandbox_environment(url: str) -> dict[str, str]:
    """The settings with which a sandbox at ``url`` is used instead of the API."""
    return {
        "EVOLINK_API_KEY": SANDBOX_KEY,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
    }


@asynccontextmanager
async def settings_of(*, sandbox: bool) -> AsyncIterator[Settings]:
    """The settings of the environment, or of a sandbox that lives as long as this block."""
    if not sandbox:
        yield Settings.load()
        return
    from wan_mcp.sandbox import Sandbox, running

    with tempfile.TemporaryDirectory() as folder:  # sandbox tasks do not belong in the real ledger
        async with running(Sandbox(seconds=10, key=SANDBOX_KEY)) as url:
            environ = sandbox_environment(url) | {"WAN_MCP_DATA_DIR": folder}
            yield Settings.load({**os.environ, **environ})


async def generate(settings: Settings, request: GenerationRequest, output: Path | None) -> Path:
    """Request a video, wait until it is made, and save it.

    Raises:
        WanError: when it cannot be requested, fails, or cannot be saved.
    """
    folder, name = place(output)
    here = Path(Path.cwd().anchor)  # a person may read what the person typed, anywhere
    settings = settings.model_copy(update={"output_dir": folder, "image_dirs": (here, Path.home())})
    key = settings.require_key()
    async with Runtime(settings) as runtime:
        service = VideoService(runtime, key)
        snapshot = await service.generate(request)
        for note in snapshot.notes:
            click.echo(note, err=True)
        click.echo(f"Task {snapshot.task.id}: goes on even if this program stops.", err=True)
        while not snapshot.task.is_over:
            snapshot = await service.wait(snapshot.task.id, WAIT_SECONDS, _show)
            if snapshot.read_error is not None:
                if snapshot.is_forgotten:
                    raise snapshot.read_error
                click.echo(f"\n{snapshot.read_error.message}", err=True)
        click.echo(err=True)
        if snapshot.task.status != "completed":
            raise _failed(snapshot)
        snapshot = await service.save(snapshot.task.id, name)
    assert snapshot.saved is not None
    return Path(snapshot.saved.path)


async def _show(snapshot: TaskSnapshot | None) -> None:
    if snapshot is not None:
        percent = snapshot.task.progress or 0
        click.echo(f"\r{bar(percent)} {percent:3.0f} % {snapshot.task.status:<10}", nl=False, err=True)


def _failed(snapshot: TaskSnapshot) -> EvolinkError:
    task = snapshot.task
    reason = f"{task.error.code}: {task.error.message}" if task.error else "no reason given"
    return EvolinkError(
        f"The generation {task.status} ({reason}). It was not charged.",
        next_step="Change the prompt or the picture, or try again later.",
        task_id=task.id,
    )
