"""``wan-mcp generate``: request a video, wait for it and save it from a terminal, without MCP."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import click
from anyio.abc import TaskGroup

from wan_mcp.cli.advice import SAME_AGAIN, TASKS_SHOW, say_to_a_person
from wan_mcp.cli.folders import place
from wan_mcp.cli.screen import Bar, clock, progress, tell
from wan_mcp.errors import EvolinkError, NotSent, PictureUnavailable, VideoError, WanError
from wan_mcp.evolink import prices
from wan_mcp.evolink.values import is_task_id
from wan_mcp.generation.outcomes import REPEATED, change_first
from wan_mcp.generation.owners import Owner
from wan_mcp.generation.request import Request
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.images import Picture
from wan_mcp.ledger import Intent
from wan_mcp.settings import Settings

WAIT_SECONDS = 45.0


@dataclass
class Payment:
    """The price, which is shown before anything is paid, and the question whether to pay it.

    Args:
        sandbox: whether the sandbox makes the video, so that nothing is paid.
        ask: asks a question whose answer is yes or no; None: nobody can be asked.
    """

    sandbox: bool = False
    ask: Callable[[str], bool] | None = None
    declined: bool = False
    """Whether the answer was no."""
    begun: bool = False
    """Whether the request may have been sent."""

    async def confirm(self, picture: Picture | None, intent: Intent) -> None:
        """Show what is about to be paid, and ask.

        Raises:
            NotSent: when the answer is no.
        """
        for note in picture.notes if picture else ():
            tell(note, err=True)
        if picture and picture.adjusted:
            tell(f"The picture was made to fit: {', '.join(picture.adjusted)}.", err=True)
        cost = f"about {prices.estimate_text(intent.estimate, from_text=intent.from_text)}"
        if self.sandbox:
            cost = f"{cost} at Evolink, nothing in the sandbox"
        tell(f"{intent.duration} seconds at {intent.quality}: {cost}.", err=True)
        self.declined = self.ask is not None and not self.ask("Make the video?")
        if self.declined:
            raise NotSent("The answer was no.")
        self.begun = True


def question(text: str) -> bool:
    """Ask on the terminal, while nothing else goes on. Ctrl-C means no."""
    # With the event loop's handler, Ctrl-C would only be seen after Enter.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(text, err=sys.stderr.isatty())
    except click.Abort:
        click.echo(err=True)
        return False
    finally:
        signal.signal(signal.SIGINT, handler)


async def generate(
    settings: Settings,
    request: Request,
    output: str | Path | None,
    payment: Payment | None = None,
) -> Path:
    """Request a video, wait until it is made, and save it.

    Raises:
        WanError: when the video cannot be requested, made or saved.
    """
    payment = payment or Payment()
    key = settings.require_key()
    folder, name = place(output)
    anywhere = Path(Path.cwd().anchor)  # the user typed the path, so the user may read it
    own = {"output_dir": folder, "image_dirs": (anywhere, Path.home()), "autosave": False}  # saved below
    settings = settings.model_copy(update=own)
    snapshot: TaskSnapshot | None = None
    try:
        async with Runtime(settings) as runtime:
            service = VideoService(runtime, Owner(key))
            snapshot = await service.generate(request, on_stage=_stage, before_paying=payment.confirm)
            _introduce(snapshot, payment)
            snapshot = await _finished(service, runtime.background, snapshot)
            return await _saved(service, snapshot, name)
    except anyio.get_cancelled_exc_class():
        tell(_interrupted(snapshot, payment), err=True)
        raise
    except WanError as error:
        continues = isinstance(error, PictureUnavailable) and is_task_id(request.picture or "")
        say_to_a_person(error, TASKS_SHOW if continues else "")
        raise


async def _stage(stage: str) -> None:
    tell(f"Still {stage} ...", err=True)


def _introduce(snapshot: TaskSnapshot, payment: Payment) -> None:
    """Say how the request got its task, and what happens to the task."""
    for note in () if payment.begun else snapshot.notes:  # else they were shown before the payment
        tell(note, err=True)
    submitted = snapshot.submitted
    if submitted is not None and submitted.repeated:
        tell(REPEATED, err=True)
        tell("For another version, add --take with another number.", err=True)
    if submitted is not None and submitted.also_paid:
        tell(f"This request was charged twice; its other task is {', '.join(submitted.also_paid)}.", err=True)
    fate = "ends with this program" if payment.sandbox else "goes on even if this program stops"
    task = snapshot.task
    tell(f"Task {task.id} {f'is {task.status}' if task.is_over else fate}.", err=True)


def _interrupted(snapshot: TaskSnapshot | None, payment: Payment) -> str:
    """What a person who pressed Ctrl-C should know."""
    if payment.sandbox:
        return "\nStopped, and the sandbox with it. Nothing was charged."
    if snapshot is not None:
        task = snapshot.task
        fate = "its video is made" if task.is_over else "it goes on at Evolink"
        return f"\nStopped. Task {task.id} is not lost: {fate}. {SAME_AGAIN}"
    if payment.begun:
        text = "The request may have reached Evolink already. The same command continues it; it is paid once."
        return f"\nStopped. {text}"
    return "\nStopped. Nothing was sent or charged."


async def _finished(service: VideoService, background: TaskGroup, snapshot: TaskSnapshot) -> TaskSnapshot:
    """Wait for the end of a task, with a progress bar.

    Raises:
        EvolinkError: when there will be no video, or the API does not know the task any more.
    """
    latest, since = snapshot, anyio.current_time()
    drawing = anyio.CancelScope()

    async def show(known: TaskSnapshot | None) -> None:
        nonlocal latest, since
        if known is not None:
            latest, since = known, anyio.current_time()

    async def draw(bar: Bar) -> None:
        with drawing:
            while True:
                left = (latest.time_left or 0) - (anyio.current_time() - since)
                bar.show(latest.task.progress or 0, f"about {clock(left)} left" if left > 0 else "")
                await anyio.sleep(1)

    with progress("Making the video") as bar:
        background.start_soon(draw, bar)
        try:
            while not snapshot.task.is_over:
                snapshot = await service.wait(snapshot.task.id, WAIT_SECONDS, show)
                if snapshot.read_error is not None:
                    if snapshot.is_forgotten:
                        raise snapshot.read_error
                    tell(f"\n{snapshot.read_error.message}", err=True)
        finally:
            drawing.cancel()
        bar.show(snapshot.task.progress or 0)
    if snapshot.task.status != "completed":
        raise _failed(snapshot)
    return snapshot


async def _saved(service: VideoService, snapshot: TaskSnapshot, name: str | None) -> Path:
    """Save the video of a finished task, with a progress bar.

    Raises:
        VideoError: when that fails.
    """
    with progress("Saving the video") as bar:

        async def show(received: int, length: int | None) -> None:
            bar.show(100 * received / length if length else 0)

        try:
            saved = (await service.save(snapshot.task.id, name, show)).saved
        except VideoError as error:
            another = "Another --take makes another video, which costs as much again."
            error.next_step = another if snapshot.has_expired else SAME_AGAIN
            raise
        bar.show(100)
    assert saved is not None
    return Path(saved.path)


def _failed(snapshot: TaskSnapshot) -> EvolinkError:
    task = snapshot.task
    ended = "failed" if task.status == "failed" else "was cancelled"
    if task.error is None or task.error.retryable:
        next_step = "Run the same command again in a minute or two."
    else:
        next_step = change_first(from_text=snapshot.from_text)
    return EvolinkError(
        f"The generation {ended} ({task.error or 'no reason given'}). It was not charged.",
        next_step=next_step,
        task_id=task.id,
    )
