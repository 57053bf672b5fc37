"""``wan-mcp ledger``: from the ledger's file to a database."""

import click

from wan_mcp.cli.screen import Failure, tell
from wan_mcp.errors import SettingsError, WanError
from wan_mcp.settings import WHERE_SETTINGS_ARE, Settings

SET_THE_DATABASE = "Set it to an empty PostgreSQL database, like postgresql://user:password@host:5432/name."


@click.group()
def ledger() -> None:
    """Move what was requested and paid to a database."""


@ledger.command()
def move() -> None:
    """Move this machine's ledger into a PostgreSQL database.

    The database is the one of WAN_MCP_DATABASE_URL, and must be empty. Stop the MCP clients and servers that
    use the ledger first. Every server and machine with the database then knows what was requested and paid.
    If the move is interrupted, run it again.
    """
    try:
        for text in moved(Settings.load()):
            tell(text)
    except WanError as error:
        raise Failure(f"{error.message} {error.next_step}".strip()) from error


def moved(settings: Settings) -> list[str]:
    """Move the ledger. Return what was moved, and what to do next.

    Raises:
        WanError: when the ledger was not moved, or it is not known whether it was.
    """
    for problem in settings.problems:  # a default must not stand in
        if problem.startswith(("WAN_MCP_DATABASE_URL", "WAN_MCP_DATA_DIR")):
            raise SettingsError(problem, next_step="Nothing was moved.")
    if settings.database_url is None:
        raise SettingsError("WAN_MCP_DATABASE_URL is not set. Nothing was moved.", next_step=SET_THE_DATABASE)
    from wan_mcp.ledger.moving import move
    from wan_mcp.ledger.sqlite.store import FILE_NAME

    done = move(settings.data_dir, settings.database_url)
    return [
        f"The ledger was moved to the PostgreSQL database {done.place}."
        if done.now
        else f"The ledger is in the PostgreSQL database {done.place} since an earlier move.",
        f"Requests and tasks: {done.rows['entries']}. Uploaded pictures: {done.rows['uploads']}. "
        f"APIs: {done.rows['gateways']}.",
        f"Set WAN_MCP_DATABASE_URL for every client and server that used it, {WHERE_SETTINGS_ARE}.",
        f"The file {settings.data_dir / FILE_NAME} stays, and takes no paid requests any more.",
    ]
