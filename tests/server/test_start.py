"""What a server does after its start without a call: it prepares for the first calls, and sends nothing."""

import sys
from pathlib import Path

import anyio
import pytest

from tests.world import World
from wan_mcp.ledger.sqlite.store import FILE_NAME

pytestmark = pytest.mark.anyio


def ledger(world: World) -> Path:
    return Path(world.environ["WAN_MCP_DATA_DIR"], FILE_NAME)


async def test_the_ledger_is_opened_a_moment_after_the_start(world: World) -> None:
    """Not at once, and no request is made for it."""
    async with world.client():
        assert not ledger(world).exists()
        await anyio.sleep(2)
        assert ledger(world).exists()
        assert world.records.calls == []


@pytest.mark.slow
async def test_what_pictures_videos_and_commands_need_is_not_loaded_at_the_start() -> None:
    """That would take longer than the rest of the start; calls and commands that need it load it."""
    others = {"av", "PIL", "click", "rich", "wan_mcp.cli"}
    program = f"import sys, wan_mcp.server.stdio; print({others} & sys.modules.keys())"
    made = await anyio.run_process([sys.executable, "-c", program])
    assert made.stdout == b"set()\n"


async def test_without_a_key_nothing_is_prepared(world: World) -> None:
    """No call would work, and nothing is left on the disk."""
    async with world.client(EVOLINK_API_KEY=""):
        await anyio.sleep(10)
    assert not ledger(world).parent.exists()


async def test_what_cannot_be_prepared_is_no_error_before_it_is_needed(world: World, tmp_path: Path) -> None:
    """The ledger cannot be opened: the server still runs, and lists its tools."""
    (tmp_path / "data").write_bytes(b"in the way")
    async with world.client(WAN_MCP_AUTOSAVE="") as client:
        await anyio.sleep(10)
        assert (await client.list_tools()).tools
