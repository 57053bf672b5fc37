"""Several processes save one task: one download, one file; and each name that was asked for."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from tests.calls import ARGUMENTS
from tests.videos.host import FILM, files
from tests.videos.real import settings
from tests.world import KEY, fetch, picture
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Fault, Sandbox, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


class Programs:
    """A sandbox, a finished task, and processes that use both."""

    def __init__(self, sandbox: Sandbox, url: str, folder: Path, task_id: str) -> None:
        self.sandbox, self.folder, self.task_id = sandbox, folder, task_id
        given = settings(url, folder).model_dump(by_alias=True, mode="json", exclude_unset=True)
        self.environ = (
            os.environ
            | {name: str(value) for name, value in given.items()}
            | {"EVOLINK_API_KEY": KEY, "NO_PROXY": "127.0.0.1", "WAN_MCP_IMAGE_CHECK": "0"}
        )

    @property
    def downloads(self) -> int:
        return sum(call.at == "result" for call in self.sandbox.records.calls)

    async def start(self, *arguments: str) -> Process:
        command = [sys.executable, "-m", "tests.videos.saves", self.task_id, *arguments]
        return await anyio.open_process(command, env=self.environ, stderr=None)

    async def generate(self, image: Path, output: Path) -> str:
        """What ``wan-mcp generate`` prints."""
        command = [sys.executable, "-m", "wan_mcp", "generate", str(image), "The cat yawns."]
        found = await anyio.run_process([*command, "--output", str(output)], env=self.environ)
        return found.stdout.decode().strip()


@asynccontextmanager
async def programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Programs]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sandbox = Sandbox(seconds=0, key=KEY, fetch=fetch, render=lambda *order: FILM)
    async with running(sandbox) as url:
        async with Runtime(settings(url, folder)) as runtime:
            service = Services(runtime).current()
            made = await service.generate(GenerationRequest.model_validate(ARGUMENTS))
        yield Programs(sandbox, url, folder, made.task.id)


async def printed(process: Process) -> str:
    async with process:
        assert process.stdout is not None
        text = b"".join([part async for part in process.stdout])
        assert await process.wait() == 0
    return text.decode().strip()


async def test_processes_that_save_at_the_same_moment_make_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes later waits, and gets the same file."""
    async with programs(tmp_path, monkeypatch) as world:
        world.sandbox.faults.add(Fault("result", "slow", times=None, seconds=1.5))
        started = [await world.start() for _ in range(4)]
        found = [await printed(process) for process in started]
        assert world.downloads == 1
    assert files(tmp_path / "videos") == {"the-cat-yawns.mp4": FILM}
    assert set(found) == {str(tmp_path / "videos" / "the-cat-yawns.mp4")}
    assert files(tmp_path / "data" / "saving") == {}


async def test_each_process_gets_the_name_that_it_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same moment as well: one download, and another name for the same bytes."""
    async with programs(tmp_path, monkeypatch) as world:
        world.sandbox.faults.add(Fault("result", "slow", times=None, seconds=1.5))
        started = [await world.start(name) for name in ("a", "b", "a.mp4")]
        found = [await printed(process) for process in started]
        assert world.downloads == 1
    assert files(tmp_path / "videos") == {"a.mp4": FILM, "b.mp4": FILM}
    assert [Path(path).name for path in found] == ["a.mp4", "b.mp4", "a.mp4"]


async def test_a_process_that_is_killed_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel frees its lock, and the next one saves the video."""
    async with programs(tmp_path, monkeypatch) as world:
        world.sandbox.faults.add(Fault("result", "slow", seconds=60))
        first = await world.start()
        with anyio.fail_after(30):
            while not world.downloads:  # noqa: ASYNC110  another process does that
                await anyio.sleep(0.05)
        second = await world.start()
        first.kill()
        await first.wait()
        with anyio.fail_after(30):
            assert await printed(second) == str(tmp_path / "videos" / "the-cat-yawns.mp4")
        await first.aclose()
    assert files(tmp_path / "data" / "saving") == {}


async def test_a_second_generate_with_another_output_makes_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid once, downloaded once, and in both places."""
    image = tmp_path / "cat.png"
    image.write_bytes(picture())
    first, second = tmp_path / "one" / "cat.mp4", tmp_path / "two" / "other.mp4"
    async with programs(tmp_path, monkeypatch) as world:
        for output in (first, second, second):
            assert await world.generate(image, output) == str(output)
        assert world.downloads == 1
    assert files(first.parent) == {"cat.mp4": FILM}
    assert files(second.parent) == {"other.mp4": FILM}
