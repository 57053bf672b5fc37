"""The commands of ``wan-mcp``. Each imports what it needs when it runs."""

import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import click

from wan_mcp import __version__, logs
from wan_mcp.cli.ledger import ledger
from wan_mcp.cli.sandbox import FaultsHelp
from wan_mcp.cli.screen import Failure, Person, Told, tell
from wan_mcp.errors import SettingsError, WanError
from wan_mcp.settings import Settings

T = TypeVar("T")
SECONDS = click.FloatRange(min=0.1, max=86400)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wan-mcp")
def commands() -> None:
    """Turn a picture and a sentence into a video.

    Without a command, serves the Model Context Protocol on stdin and stdout: that is what an MCP
    client starts. The commands below are for people.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # arrows and bars are no reason to fail in an old terminal
            stream.reconfigure(errors="backslashreplace")


@commands.command()
def serve() -> None:
    """Serve MCP on stdin and stdout, as without a command."""
    from wan_mcp.server.stdio import serve as run

    run()


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def http(host: str, port: int) -> None:
    """Serve MCP over HTTP to many callers: a team, or programs.

    Each caller sends an Evolink key, or with WAN_MCP_AUTH=oauth a token of your own issuer. README says
    what to set.
    """
    from wan_mcp.server.http.startup import require_packages

    try:
        require_packages()
        from wan_mcp.server.http.serving import serve as run

        run(Settings.load(), host, port)
    except SettingsError as error:
        raise Failure(f"{error.message} {error.next_step}".strip()) from error


@commands.command()
@click.argument("image", required=False)
@click.option("--story", is_flag=True, help="Make a film of three parts; each continues the one before.")
@click.option("--prompt", default=None, help="What should happen in the video, or in each part of a story.")
@click.option(
    "--seconds",
    type=SECONDS,
    default=8.0,
    show_default=True,
    help="How long the generation of a video, or of each part of a story, takes.",
)
@click.option("--output", type=click.Path(), default=None, help="Where the video goes.")
def demo(image: str | None, story: bool, prompt: str | None, seconds: float, output: str | None) -> None:
    """Watch an agent make a video with the sandbox: no key, no cost.

    The sandbox is an imitation of the Evolink API. Without IMAGE, a picture is drawn.
    """
    from wan_mcp.cli.demo import run

    _run(lambda: run(image, prompt, seconds, output, story=story))


@commands.command()
@click.argument("words", nargs=-1, metavar="[IMAGE] PROMPT")
@click.option("--text", is_flag=True, help="Make it from PROMPT alone, without a picture.")
@click.option("--from-task", metavar="ID", default=None, help="Continue a task's video from its last frame.")
@click.option("--duration", type=click.Choice(["5", "10"]), default=None, help="Seconds of video.")
@click.option(
    "--quality",
    type=click.Choice(["480p", "720p", "1080p"]),
    default=None,
    help="Size of the video; more costs more.",
)
@click.option("--aspect-ratio", metavar="W:H", default=None, help="Shape of a video from text, as in 9:16.")
@click.option(
    "--take", type=click.IntRange(1, 99), default=1, help="Which version of the same request; each is paid."
)
@click.option(
    "--output",
    type=click.Path(),
    default=None,
    help="Where the video goes: a file or a folder.",
)
@click.option("--yes", is_flag=True, help="Do not ask before credits are spent.")
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox instead of the API: no key, no cost.")
def generate(
    words: tuple[str, ...],
    text: bool,
    from_task: str | None,
    aspect_ratio: str | None,
    output: str | None,
    yes: bool,
    sandbox: bool,
    **options: str | int | None,
) -> None:
    """Make a video of IMAGE as PROMPT says (COSTS CREDITS).

    IMAGE is an address or a file. With --text, or --from-task ID, PROMPT alone is enough: wan-mcp generate
    --text "A cat yawns."

    Says the price first, and asks in a terminal. Saves the video, and prints its path.
    """
    from wan_mcp.cli import generate as command
    from wan_mcp.cli.request import contradiction, request_of
    from wan_mcp.cli.sandbox import settings as settings_of_a_sandbox

    given = [word for word in words if word.strip()]
    if wrong := contradiction(len(given), text, from_task, aspect_ratio, sandbox):
        raise click.UsageError(wrong)
    image, prompt = None if len(given) == 1 else given[0], given[-1]
    payment = command.Payment(
        sandbox, ask=command.question if _is_terminal() and not (yes or sandbox) else None
    )

    async def work() -> Path:
        request = request_of(image, prompt, from_task=from_task, aspect_ratio=aspect_ratio, **options)
        if not sandbox:
            return await command.generate(Settings.load(), request, output, payment)
        async with settings_of_a_sandbox() as settings:
            return await command.generate(settings, request, output, payment)

    try:
        click.echo(_run(work))
    except Failure:
        if not payment.declined:
            raise
        tell("Nothing was sent, and nothing was paid.", err=True)
        raise SystemExit(1) from None


@commands.command()
@click.argument("task_ids", metavar="TASK_ID...", nargs=-1, required=True)
@click.option("--output", type=click.Path(), default=None, help="Where the film goes: a file or a folder.")
def join(task_ids: tuple[str, ...], output: str | None) -> None:
    """Join the videos of 2 to 20 completed tasks into one file.

    They come in the order of the ids. Videos of one kind are copied without loss; others are encoded to
    the size of the first. Free. Prints the path of the file.
    """
    from wan_mcp.cli.join import join as run

    click.echo(_run(lambda: run(Settings.load(), task_ids, output)))


@commands.command()
@click.option(
    "--client",
    "clients",
    metavar="NAME",
    multiple=True,
    help="Only this client, such as claude-code. Can be given more than once.",
)
@click.option("--undo", is_flag=True, help="Remove wan-mcp from the clients, and the key.")
@click.option("--yes", is_flag=True, help="Do not ask before something is written or removed.")
def setup(clients: tuple[str, ...], undo: bool, yes: bool) -> None:
    """Keep your API key, and add wan-mcp to your MCP clients.

    Finds the clients on this machine, shows each change, and asks before it is made. The key is not shown
    while you type it. It is tested for free, and kept in one file that only you can read.
    """
    from wan_mcp.cli import setup as command

    logs.configure("WARNING", Told())
    person = Person(_is_terminal(), yes)
    try:
        done = command.run(Settings.load(), person, clients, undo=undo)
    except (click.Abort, KeyboardInterrupt):
        tell("\nStopped. What is said to be done above is done, and nothing else.")
        raise SystemExit(130) from None
    except WanError as error:
        raise Failure(f"{error.message} {error.next_step}".strip()) from error
    if not done:
        raise SystemExit(1)


@commands.command()
def doctor() -> None:
    """Check the settings, the key, the API and the folders.

    Says what to do where something is wrong. Free.
    """
    from wan_mcp.cli.doctor import could_generate, examine

    findings = _run(lambda: examine(Settings.load()))
    for finding in findings:
        tell(f"{finding.mark:<5} {finding.text}", hanging="      ")
        if finding.advice:
            tell(f"      → {finding.advice}", hanging="  ")
    if not could_generate(findings):
        tell("A generation could not work.")
        raise SystemExit(1)
    wrong = any(finding.mark == "WRONG" for finding in findings)
    tell("A generation could work, but something is wrong." if wrong else "A generation could work.")


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option(
    "--forget", metavar="ID", default=None, help="Remove a row, its poster and kept video: ID or #N."
)
@click.option("--video-is-gone", is_flag=True, help="Forget a row whose kept video was deleted otherwise.")
def tasks(as_json: bool, limit: int, forget: str | None, video_is_gone: bool) -> None:
    """List the requests of this machine, and what became of them. Saved files and films always stay."""
    from wan_mcp.cli import tasks as command

    if forget is not None:
        return tell(_run(lambda: command.forget(Settings.load(), forget, gone=video_is_gone)))
    for line in _run(lambda: command.lines(Settings.load(), limit, as_json=as_json)):
        if as_json:
            click.echo(line)
        else:
            tell(line, hanging="  ")


commands.add_command(ledger)


@commands.command(cls=FaultsHelp)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port on 127.0.0.1."
)
@click.option("--seconds", type=SECONDS, default=20.0, show_default=True, help="How long a generation takes.")
@click.option("--fault", "faults", multiple=True, help="Script a fault; see below.")
@click.option("--accounts", type=click.IntRange(1, 1000), default=1, help="How many, each with its own key.")
@click.option("--quiet", is_flag=True, help="Print no line for each request.")
def sandbox(port: int, seconds: float, faults: tuple[str, ...], accounts: int, quiet: bool) -> None:
    """Run an imitation of the Evolink API: no key, no cost.

    Prints its address on stdout once it listens, and on stderr a line for each request.
    """
    from wan_mcp.cli import sandbox as command
    from wan_mcp.sandbox import Fault, Sandbox

    try:
        scripted = [Fault.parse(text) for text in faults]
    except ValueError as error:
        tell(f"Error: --fault: {error}", err=True)
        raise SystemExit(2) from error
    try:
        command.check_video_library()
        further = command.further_accounts(accounts - 1)
        imitation = Sandbox(seconds=seconds, key=command.KEY, faults=scripted, accounts=further)
        command.serve(imitation, port, quiet=quiet)
    except SettingsError as error:
        raise Failure(f"{error.message} {error.next_step}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise Failure(f"Port {port} cannot be used ({reason}); try another.") from error


def _is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work``; an error is printed in words, and Ctrl-C ends it quietly."""
    logs.configure("WARNING", Told())
    try:
        return anyio.run(work)
    except (WanError, BaseExceptionGroup) as error:
        cause = _cause(error)
        if not isinstance(cause, WanError):
            raise
        raise Failure(f"{cause.message} {cause.next_step}".strip()) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _cause(error: BaseException) -> BaseException:
    """The error that a task group wrapped, where it is only one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
