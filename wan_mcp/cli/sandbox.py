"""The sandbox for the commands: its settings, the library that it needs, and the help on its faults."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from wan_mcp.cli.screen import tell, wrapped
from wan_mcp.settings import Settings
from wan_mcp.videos.pyav import check_installed

if TYPE_CHECKING:
    from wan_mcp.sandbox import Account, Sandbox
    from wan_mcp.sandbox.serving import Answered

KEY = "sk-sandbox"


def further_accounts(number: int) -> "list[Account]":
    """So many accounts besides the first one, each with a key of its own."""
    from wan_mcp.sandbox import Account

    return [Account(f"account-{place}", f"{KEY}-{place}") for place in range(2, number + 2)]


def environment(url: str) -> dict[str, str]:
    """The settings with which a sandbox at ``url`` is used instead of the API."""
    return {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": url,
        "EVOLINK_FILES_URL": url,
        "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
    }


def check_video_library() -> None:
    """Check that the sandbox can make videos, before anything is started.

    Raises:
        SettingsError: when the library for that is not installed, with the command that installs it.
    """
    check_installed("Making the sandbox's videos")


@asynccontextmanager
async def settings() -> AsyncIterator[Settings]:
    """The settings of the environment, but with a sandbox instead of the API until this block ends."""
    from wan_mcp.sandbox import Sandbox, running

    check_video_library()
    with tempfile.TemporaryDirectory() as folder:  # tasks of the sandbox do not belong in the real ledger
        async with running(Sandbox(seconds=10, key=KEY)) as url:
            environ = {**os.environ, **environment(url), "WAN_MCP_DATA_DIR": folder}
            yield Settings.load(environ)


def serve(sandbox: "Sandbox", port: int, *, quiet: bool) -> None:
    """Serve until Ctrl-C; print the address once it listens, and a line for each request.

    Raises:
        OSError: when the port cannot be used; then nothing was printed.
    """
    from wan_mcp.sandbox import serve

    def listening(url: str) -> None:
        shown = "\n".join(f"  {name}={value}" for name, value in environment(url).items())
        tell(f"The sandbox, an imitation of the Evolink API, is at {url}")
        tell(f"To use it, set for the server:\n{shown}")
        if len(sandbox.accounts) > 1:
            tell(f"The keys of its {len(sandbox.accounts)} accounts:")
            for account in sandbox.accounts:
                tell(f"  {account.key}")
        tell("Ctrl-C ends it.")

    serve(sandbox, port=port, listening=listening, answered=None if quiet else _log)
    click.echo("\nStopped.", err=True)


def _log(answered: "Answered") -> None:
    status = answered.status or "no answer"
    struck = f"  (fault {answered.fault})" if answered.fault else ""
    click.echo(
        f"{answered.method} {answered.path}  {status}  {1000 * answered.seconds:.0f} ms{struck}", err=True
    )


class FaultsHelp(click.Command):
    """A command that takes faults: its help ends with the list of them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from wan_mcp.sandbox import faults

        with formatter.section("Faults"):
            formatter.write_text(
                "PLACE:KIND[=VALUE][,DETAIL=VALUE...][*TIMES], where *always means every call, and a number "
                "as KIND is an HTTP status. JSON with the same names works too. Faults take effect in their "
                "order."
            )
        with formatter.section("Places"):
            formatter.write_dl(list(faults.PLACES.items()))
        for title, rows in (("Kinds", faults.KINDS), ("Details", faults.DETAIL_EXAMPLES)):
            with formatter.section(title):
                for name, (means, example) in rows.items():
                    # click would break a long example, which then could not be copied.
                    text = f"  {name}, as in {example}\n      {means}\n"
                    formatter.write(wrapped(text, formatter.width + 1))
