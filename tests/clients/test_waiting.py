"""Clients that wait without their model, through the tasks extension.

An ordinary wait ends after a second here, long before the video is made: a client that gets the video with
one call has used the extension.
"""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anyio import to_thread

from tests.cli.terminal import Screen
from tests.clients.agents import AGENTS, claude_code_in_a_terminal
from tests.clients.chat import until
from tests.clients.model import leaving, requesting, scripted
from tests.clients.programs import environment, run
from tests.clients.scene import Scene, assert_done, scene, ways_of_seeing
from tests.clients.test_clients import ERAS, inspect_call
from wan_mcp.ledger.sqlite.store import FILE_NAME

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WORDS = "Make a video of the lake."
COLUMNS = 250
"""Wide enough for a path."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, WAN_MCP_WAIT_SECONDS="1") as opened:
        opened.sandbox.seconds = 6
        yield opened


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_waits_by_itself(era: str, at: Scene) -> None:
    """In the newer protocol, where it declares the extension; in the older one, its wait ends early."""
    if era != "modern":
        at.sandbox.seconds = 60  # longer than the Inspector may take to start twice
    await inspect_call(at, era, "generate_video", at.request)
    waited = await inspect_call(at, era, "wait_for_task", {"task_id": at.task_id})
    result = json.loads(waited.out)["result"]
    if era == "modern":
        for seen in ways_of_seeing(result):
            assert_done(seen, at)
    else:
        assert result["structuredContent"]["status"] in ("pending", "processing")


async def test_claude_code_in_a_terminal_waits_by_itself(at: Scene) -> None:
    """The user asks once, the model waits once, and when the video is there the user is told."""
    with scripted() as model:
        model.begin(WORDS, leaving(at.request))
        start = claude_code_in_a_terminal(at, model)
        environ = environment(at.folder, start.environ)
        screen = Screen(COLUMNS, start.command, folder=at.folder, environ=environ)
        try:
            ledger, last_words = at.folder / "data" / FILE_NAME, f"the video is saved at {at.saved}"
            await to_thread.run_sync(_talk, screen, ledger, last_words)
        finally:
            screen.close()
            sys.stdout.write("\n".join(model.transcript) + "\n")
    assert_done(model.seen[-1], at)
    assert [name for name, _ in model.calls] == ["generate_video", "wait_for_task"]
    assert len(model.seen) == 3  # of both calls at once, and of the wait when it was over
    assert len(at.sandbox.records.paid) == 1


async def test_claude_code_without_a_terminal_asks_its_model_again_and_again(at: Scene) -> None:
    """It does not declare the extension, so its model has to call again."""
    with scripted() as model:
        model.begin(WORDS, requesting(at.request))
        start = AGENTS["claude-code"](at, model, WORDS)
        ended = await run(*start.command, folder=at.folder, environ=start.environ)
    assert ended.code == 0, ended.said
    assert_done(model.seen[-1], at)
    assert [name for name, _ in model.calls].count("wait_for_task") > 2


def _talk(screen: Screen, ledger: Path, last_words: str) -> None:
    """Say what is wanted, and read until the last words are there."""
    screen.until("auto mode on")
    screen.type(WORDS)
    screen.until(WORDS)
    until(ledger.exists)  # the server opens it a while after its start: the agent knows the tools by then
    screen.type("\r")
    screen.until(last_words)
