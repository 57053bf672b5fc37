"""A server whose jobs follow tasks, where no job saves a video."""

from pathlib import Path
from typing import Any

import pytest

from tests.callers import Callers
from wan_mcp.errors import LinkDead
from wan_mcp.generation.owners import ONE_ACCOUNT
from wan_mcp.generation.request import TextGenerationRequest
from wan_mcp.sandbox import Fault

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def _ignored(*progress: object) -> None: ...


@pytest.mark.parametrize("fails", [False, True], ids=["saved", "link dead"])
async def test_a_wait_saves_what_no_job_saves(tmp_path: Path, database_url: str, fails: bool) -> None:
    """Or tells why it cannot, rather than for a day that the video is still being saved."""
    callers = Callers(tmp_path, ONE_ACCOUNT, seconds=10)
    if fails:
        callers.world.sandbox.faults.add(Fault("result", "status", times=None, status=404))
    environ: Any = {"WAN_MCP_AUTOSAVE": "1", "WAN_MCP_DATABASE_URL": database_url}
    async with callers.services(**environ) as services:
        service = services.current()
        made = await service.generate(TextGenerationRequest(prompt="A cat yawns."))
        done = await service.wait(made.task.id, 300, _ignored)
        assert isinstance(done.save_error, LinkDead) if fails else done.kept is not None
