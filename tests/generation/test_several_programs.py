"""Several programs with one database: they pay as one, and each machine saves its own."""

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.callers import Callers
from tests.generation.gateway import gateway, generate
from tests.world import World
from wan_mcp.errors import CapReached
from wan_mcp.generation.owners import ONE_ACCOUNT
from wan_mcp.generation.service import VideoService
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

SECONDS = 120.0


class Machines:
    """Programs on the user's machines, which share a database but no disk."""

    def __init__(self, world: World, folder: Path, url: str, patch: pytest.MonkeyPatch) -> None:
        self.world = world
        self._folder = folder
        self._url = url
        self._patch = patch

    def at(self, name: str) -> None:
        """From now on, the machine has this name."""
        self._patch.setattr(platform, "node", lambda: name)

    @asynccontextmanager
    async def program(self, name: str, **environ: str) -> AsyncIterator[VideoService]:
        folders = {
            "WAN_MCP_DATA_DIR": str(self._folder / name / "data"),
            "WAN_MCP_OUTPUT_DIR": str(self._folder / name / "videos"),
        }
        self.at(name)
        async with self.world.service({}, WAN_MCP_DATABASE_URL=self._url, **folders, **environ) as service:
            yield service

    def videos(self, name: str) -> list[Path]:
        return sorted((self._folder / name).rglob("*.mp4"))


@pytest.fixture
def machines(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(gateway(tmp_path), tmp_path, database_url, monkeypatch)


async def test_an_equal_request_on_another_machine_is_the_same_request(machines: Machines) -> None:
    """It is paid once, also where both ask at the same time."""
    tasks: list[str] = []

    async def ask(service: VideoService) -> None:
        tasks.append((await generate(service)).task.id)

    async with machines.program("desktop") as first, machines.program("laptop") as second:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, first)
            group.start_soon(ask, second)
        await ask(second)
    assert len(set(tasks)) == len(machines.world.records.paid) == 1


async def test_a_daily_cap_counts_what_all_machines_spend(machines: Machines) -> None:
    """The machine that would exceed it sends nothing."""
    cap = {"WAN_MCP_DAILY_CREDITS": "60"}
    async with machines.program("desktop", **cap) as first, machines.program("laptop", **cap) as second:
        await generate(first, take=1)
        await generate(second, take=2)
        for service in (first, second):
            with pytest.raises(CapReached, match="51 credits"):
                await generate(service, take=3)
    assert machines.world.records.posts == 2


async def test_each_machine_saves_what_was_requested_on_it(machines: Machines) -> None:
    """A program that starts takes up the tasks of its own machine only; the other's stay for that one."""
    saves = {"WAN_MCP_AUTOSAVE": "1"}
    for take, name in enumerate(("desktop", "laptop"), start=1):
        async with machines.program(name, **saves) as service:
            await generate(service, take=take)
    for name, other in (("desktop", "laptop"), ("laptop", "desktop")):
        saved = machines.videos(other)
        async with machines.program(name, **saves) as service:
            await service.take_up()
            await anyio.sleep(200)
        assert len(machines.videos(name)) == 1
        assert machines.videos(other) == saved


@pytest.mark.parametrize("is_shared", [False, True], ids=["a file", "a database"])
async def test_a_request_whose_program_ended_without_an_answer_goes_on_unasked(
    tmp_path: Path, is_shared: bool, request: pytest.FixtureRequest
) -> None:
    """A server that starts, or another one, finds its task; the operator pays once."""
    callers = Callers(tmp_path, ONE_ACCOUNT, seconds=SECONDS)
    callers.world.environ["WAN_MCP_IMAGE_CHECK"] = "off"
    environ: dict[str, str] = {}
    if is_shared:
        environ = {"WAN_MCP_DATABASE_URL": request.getfixturevalue("database_url")}
    records = callers.world.records
    callers.world.sandbox.faults.add(Fault("submit", "slow", seconds=1000))
    async with callers.services({}, **environ) as services:
        with anyio.move_on_after(5):
            await generate(services.current())
    async with callers.services({}, **environ) as services, anyio.create_task_group() as group:
        group.start_soon(services.take_up)
        await anyio.sleep(60)
        (entry,) = await services.runtime.ledger.entries()
        group.cancel_scope.cancel()
    assert entry.task is not None
    assert [paid.task_id for paid in records.paid] == [entry.task.id]
