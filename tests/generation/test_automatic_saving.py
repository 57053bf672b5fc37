"""A wait that sees the completion saves the video, even if the server does not follow the task."""
# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.calls import ARGUMENTS, ERAS, call, text
from tests.clock import now
from tests.videos.host import FILM, LINK, OTHER, Host, files, finished, put_behind, silent
from tests.videos.real import settings
from tests.world import KEY, World, fetch
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Fault, Sandbox, running

pytestmark = pytest.mark.anyio


async def wait(client: Client, task_id: str) -> dict[str, Any]:
    result = await call(client, "wait_for_task", task_id=task_id)
    view: dict[str, Any] | None = result.structured_content
    assert not result.is_error, text(result)
    assert view is not None
    assert view["status"] == "completed"
    return view


@ERAS
async def test_a_wait_that_sees_the_end_saves_by_itself(world: World, mode: str) -> None:
    """Also a task that was made elsewhere; and only a wait, not a read."""
    task_id = world.sandbox.add_foreign()
    await anyio.sleep(130)
    async with world.client(mode, WAN_MCP_AUTOSAVE="1") as client:
        assert "saved_to" not in ((await call(client, "get_task", task_id=task_id)).structured_content or {})
        done = await wait(client, task_id)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])).keys() == {Path(done["saved_to"]).name}
        assert "is saved" in done["next"]
        assert (await wait(client, task_id))["saved_to"] == done["saved_to"]
    assert sum(call.at == "result" for call in world.records.calls) == 1


async def test_nothing_is_saved_by_itself_where_that_is_turned_off(world: World) -> None:
    """The link is there, and save_video is named."""
    async with world.client(WAN_MCP_AUTOSAVE="0") as client:
        assert "saved_to" not in await wait(client, await finished(client))
    assert not Path(world.environ["WAN_MCP_OUTPUT_DIR"]).exists()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("result", "status", times=None, status=404),
        Fault("result", "status", times=None, status=500),
        Fault("result", "html", times=None),
        Fault("result", "empty", times=None),
        Fault("result", "redirect", times=None, location="http://10.0.0.1/x"),
        Fault("result", "dropped", times=None),
        None,
    ],
    ids=lambda fault: fault.kind if fault else "disk",
)
async def test_a_failed_save_does_not_spoil_the_finished_task(world: World, fault: Fault | None) -> None:
    """It is completed, with its link, the reason why it was not saved, and what to do."""
    folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])
    if fault is None:
        folder.write_bytes(b"")
    else:
        world.sandbox.faults.add(fault)
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        done = await wait(client, await finished(client))
    assert done["results"]
    assert "saved_to" not in done
    assert "Automatic saving failed" in done["next"]
    assert "save_video" in done["next"]
    assert files(folder) == {}


async def test_a_slow_save_does_not_hold_the_wait_up(world: World) -> None:
    """The answer comes within seconds, and the video is saved later."""
    host = Host(every=3)
    put_behind(world, host)
    task_id = world.sandbox.add_foreign()
    await anyio.sleep(130)
    async with world.client(WAN_MCP_AUTOSAVE="1") as client:
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        start = now()
        done = await wait(client, task_id)
        assert now() - start < 12
        assert "still being saved" in done["next"]
        await anyio.sleep(60)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {f"{task_id}.mp4": FILM}
        assert (await wait(client, task_id))["saved_to"].endswith(f"{task_id}.mp4")
    assert len(host.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["cut", "lost", "dropped"])
async def test_a_connection_that_breaks_is_taken_up_again(
    tmp_path: Path, kind: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real server, a real client, and a connection that breaks in the middle."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sandbox = Sandbox(seconds=0, key=KEY, fetch=fetch, render=lambda picture, seconds, quality: OTHER)
    async with running(sandbox) as url, Runtime(settings(url, tmp_path)) as runtime:
        service = Services(runtime).current()
        task = (await service.generate(GenerationRequest.model_validate(ARGUMENTS))).task
        sandbox.faults.add(Fault("result", kind))
        snapshot = await service.save(task.id, "film", silent)
    assert snapshot.saved is not None
    assert files(tmp_path / "videos") == {"film.mp4": OTHER}
    results = [call for call in sandbox.records.calls if call.at == "result"]
    assert [call.status for call in results] == {
        "cut": [200, 206],
        "lost": [None, 200],
        "dropped": [None, 200],
    }[kind]
    assert [call.authorized for call in results] == [None, None]
