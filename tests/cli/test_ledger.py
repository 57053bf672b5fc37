"""``wan-mcp ledger move``: what it prints and exits with."""

from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from tests.ledger.rows import make_and_close
from tests.world import KEY
from wan_mcp.cli.commands import commands
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.settings import WHERE_SETTINGS_ARE


def move(folder: Path | str, url: str = "") -> Result:
    environ = {"WAN_MCP_DATA_DIR": str(folder), "WAN_MCP_DATABASE_URL": url}
    return CliRunner(env=environ).invoke(commands, ["ledger", "move"])


def test_a_move_says_what_was_moved_and_what_to_set(tmp_path: Path, database_url: str) -> None:
    """Also when it is repeated."""
    anyio.run(make_and_close, tmp_path)
    first, second = move(tmp_path, database_url), move(tmp_path, database_url)
    assert (first.exit_code, second.exit_code) == (0, 0)
    said, counted, *next_steps = first.output.splitlines()
    assert said.startswith("The ledger was moved to the PostgreSQL database database_")
    assert counted == "Requests and tasks: 20. Uploaded pictures: 0. APIs: 0."
    assert next_steps == [
        f"Set WAN_MCP_DATABASE_URL for every client and server that used it, {WHERE_SETTINGS_ARE}.",
        f"The file {tmp_path / FILE_NAME} stays, and takes no paid requests any more.",
    ]
    assert "since an earlier move" in second.output
    assert second.output.splitlines()[1:] == [counted, *next_steps]


@pytest.mark.parametrize(
    ("folder", "url", "says"),
    [
        ("", "", "WAN_MCP_DATABASE_URL is not set. Nothing was moved. Set it to"),
        ("", "mysql://me@host/wan", "WAN_MCP_DATABASE_URL must be like postgresql://"),
        ("data", "postgresql://me@host/wan", "WAN_MCP_DATA_DIR"),
        ("", "postgresql://me@host/wan", "There is no ledger"),
    ],
)
def test_what_cannot_be_moved_is_an_error_in_words(tmp_path: Path, folder: str, url: str, says: str) -> None:
    """What is wrong, what became of it, and what to do."""
    made = move(folder or tmp_path, url)
    assert made.exit_code == 1
    assert says in made.output
    assert "Nothing was moved." in made.output


def test_a_database_that_is_away_is_an_error_without_the_password(tmp_path: Path) -> None:
    """The password is in the address."""
    anyio.run(make_and_close, tmp_path)
    made = move(tmp_path, f"postgresql://me:{KEY}@127.0.0.1:1/wan")
    assert made.exit_code == 1
    assert "The ledger's database cannot be used" in made.output
    assert KEY not in made.output
