"""The commands of ``wan-mcp``. Each imports what it needs when it runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import click

from wan_mcp import __version__, logs
from wan_mcp.errors import WanError
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


@commands.command()
def serve() -> None:
    """Serve MCP on stdin and stdout, as without a command."""
    from wan_mcp.server.stdio import serve as run

    run()


@commands.command()
@click.argument("image", required=False)
@click.option("--prompt", default=None, help="What should happen in the video.")
@click.option(
    "--seconds", type=SECONDS, default=8.0, show_default=True, help="How long the imitated generation takes."
)
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Where the video goes.")
def demo(image: str | None, prompt: str | None, seconds: float, output: Path | None) -> None:
    """Watch an agent make a video, on the embedded sandbox: no key, no cost."""
    from wan_mcp.cli.demo import run

    _run(lambda: run(image, prompt, seconds, output))


@commands.command()
@click.argument("image")
@click.argument("prompt")
@click.option("--duration", type=click.Choice(["5", "10"]), default=None, help="Seconds of video.")
@click.option("--quality", type=click.Choice(["480p", "720p", "1080p"]), default=None)
@click.option(
    "--take", type=click.IntRange(1, 99), default=1, help="Which version of the same request; each is paid."
)
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Where the video goes.")
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox instead of the API: no key, no cost.")
def generate(
    image: str,
    prompt: str,
    duration: str | None,
    quality: str | None,
    take: int,
    output: Path | None,
    sandbox: bool,
) -> None:
    """Make a video of IMAGE (an address or a file) as PROMPT says, and save it. COSTS CREDITS."""
    from wan_mcp.cli.generate import generate as run
    from wan_mcp.cli.generate import request_of, settings_of

    async def work() -> Path:
        request = request_of(image, prompt, duration, quality, take)
        async with settings_of(sandbox=sandbox) as settings:
            return await run(settings, request, output)

    click.echo(_run(work))


@commands.command()
def doctor() -> None:
    """Show what is configured, whether the API answers, and how to mend what is wrong."""
    from wan_mcp.cli.doctor import could_generate, examine

    findings = _run(lambda: examine(Settings.load()))
    for finding in findings:
        mark = "ok  " if finding.right else ("WRONG" if finding.needed else "note")
        click.echo(f"{mark:<5} {finding.text}")
        if not finding.right and finding.advice:
            click.echo(f"      → {finding.advice}")
    if not could_generate(findings):
        raise SystemExit(1)
    click.echo("A generation could work.")


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option("--forget", metavar="ID", default=None, help="Remove a row: a task id, or #N for one without.")
def tasks(as_json: bool, limit: int, forget: str | None) -> None:
    """Print the ledger: what was requested on this machine, and what became of it."""
    from wan_mcp.cli import tasks as ledger

    folder = Settings.load().data_dir
    if forget is not None:
        _run(lambda: ledger.forget(folder, forget))
        click.echo(f"Forgot {forget}. A running task goes on; it is only no longer remembered here.")
        return
    for line in _run(lambda: ledger.lines(folder, limit, as_json=as_json)):
        click.echo(line)


@commands.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="Port on 127.0.0.1."
)
@click.option("--seconds", type=SECONDS, default=20.0, show_default=True, help="How long a generation takes.")
@click.option(
    "--fault", "faults", multiple=True, help="Script a fault, such as submit:503 or task:garbage*3."
)
def sandbox(port: int, seconds: float, faults: tuple[str, ...]) -> None:
    """Run the imitation of the Evolink API on this machine: no key, no cost."""
    from wan_mcp.cli.generate import SANDBOX_KEY, sandbox_environment
    from wan_mcp.sandbox import Fault, Sandbox, serve

    try:
        scripted = [Fault.parse(text) for text in faults]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from error
    url = f"http://127.0.0.1:{port}"
    click.echo(f"An imitation of the Evolink API, at {url}. To use it, set for the server:")
    for name, value in sandbox_environment(url).items():
        click.echo(f"  {name}={value}")
    try:
        serve(Sandbox(seconds=seconds, key=SANDBOX_KEY, faults=scripted), port=port)
    except OSError as error:
        raise click.ClickException(f"Port {port} cannot be used ({error.strerror}); try another.") from error


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run ``work``; an error is printed in one line, and Ctrl-C ends it quietly."""
    logs.configure("WARNING")
    try:
        return anyio.run(work)
    except (WanError, BaseExceptionGroup) as error:
        cause = _cause(error)
        if not isinstance(cause, WanError):
            raise
        raise click.ClickException(f"{cause.message} {cause.next_step}".strip()) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _cause(error: BaseException) -> BaseException:
    """The error that a task group wrapped, where it is only one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
