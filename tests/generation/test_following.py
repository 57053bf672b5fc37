"""Tasks are followed to their end and their videos saved, even if no caller waits."""
# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.calls import ARGUMENTS, ERAS, answer, call
from tests.clock import now
from tests.generation.gateway import paid_for
from tests.videos.host import files, film
from tests.world import KEY, World
from wan_mcp.errors import LedgerError
from wan_mcp.generation.following import Follower
from wan_mcp.ledger import Entry, Saved
from wan_mcp.ledger.sql.owner_ledger import SqlOwnerLedger
from wan_mcp.sandbox import Fault
from wan_mcp.sandbox.results import Results

pytestmark = pytest.mark.anyio

DAY = 24 * 3600.0


@asynccontextmanager
async def client(world: World, mode: str = "auto", **environ: str) -> AsyncIterator[Client]:
    """A client of a server that follows its tasks: the default."""
    async with world.client(mode, **{"WAN_MCP_AUTOSAVE": "", **environ}) as found:
        yield found


def videos(world: World) -> list[str]:
    return sorted(files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])))


def reads(world: World) -> int:
    return world.records.reads


async def begin(client: Client, **arguments: Any) -> str:
    return str((await answer(client, "generate_video", **(ARGUMENTS | arguments)))["id"])


@ERAS
async def test_a_video_is_kept_although_nobody_asks_for_it(world: World, mode: str) -> None:
    """After one call, the file exists a while later; the task says where."""
    async with client(world, mode) as asked:
        task_id = await begin(asked)
        await anyio.sleep(200)
        assert len(videos(world)) == 1
        assert Path((await answer(asked, "get_task", task_id=task_id))["saved_to"]).name == videos(world)[0]
    assert reads(world) < 15


async def test_a_wait_that_is_cancelled_ends_nothing_else(world: World) -> None:
    """The server goes on, and saves the video."""
    async with client(world) as asked:
        task_id = await begin(asked)
        with anyio.move_on_after(20):
            await call(asked, "wait_for_task", task_id=task_id)
        await anyio.sleep(200)
        assert len(videos(world)) == 1


async def test_a_wait_for_a_followed_task_starts_no_second_reader(world: World) -> None:
    """The reads are those of one reader, and the wait sees the end as early."""
    async with client(world, WAN_MCP_WAIT_SECONDS="50") as asked:
        task_id = await begin(asked)
        began, view = now(), {"status": "pending"}
        while view["status"] != "completed":
            view = await answer(asked, "wait_for_task", task_id=task_id)
    assert now() - began < 128
    assert "saved_to" in view
    assert reads(world) < 18


@pytest.mark.parametrize("after", [1, 60, 150])
async def test_what_a_closed_server_left_is_kept_by_the_next_one(world: World, after: float) -> None:
    """Closed at the beginning, in the middle, or after the end; started again hours later, without a call."""
    async with client(world, WAN_MCP_AUTOSAVE="0" if after > 120 else "") as asked:
        await begin(asked)
        await anyio.sleep(after)
    assert videos(world) == []
    await anyio.sleep(20 * 3600)
    async with client(world):
        await anyio.sleep(10)
        assert len(videos(world)) == 1
        before = reads(world)
        await anyio.sleep(1000)
        assert reads(world) == before


async def test_what_another_program_leaves_is_kept_by_a_server_that_is_open(world: World) -> None:
    """A second client requests a video and is closed; the first one stays open and gets no call."""
    async with client(world):
        await anyio.sleep(10)
        async with client(world) as other:
            await begin(other)
        await anyio.sleep(1000)
        assert len(videos(world)) == 1


async def test_a_ledger_that_is_locked_at_the_start_does_not_lose_the_video(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is read again later."""

    async def locked(self: SqlOwnerLedger, *, since: float) -> list[Entry]:
        raise LedgerError("locked")

    async with client(world) as asked:
        await begin(asked)
    async with client(world):
        with monkeypatch.context() as patched:
            patched.setattr(SqlOwnerLedger, "unsaved", locked)
            await anyio.sleep(60)
        await anyio.sleep(1000)
        assert len(videos(world)) == 1


async def test_nothing_is_read_in_the_first_seconds_of_a_server(world: World) -> None:
    """The start comes first."""
    async with client(world) as asked:
        await begin(asked)
    before = len(world.records.calls)
    async with client(world):
        await anyio.sleep(2.5)
        assert len(world.records.calls) == before


async def test_only_ones_own_tasks_of_the_last_day_are_taken_up(world: World) -> None:
    """Not those of another key, and none that is older, failed, was made elsewhere, or is saved."""
    async with client(world, WAN_MCP_AUTOSAVE="0") as asked:
        await begin(asked)
        await anyio.sleep(DAY + 200)
        world.sandbox.faults.add(Fault("submit", "fail", code="service_error"))
        await answer(asked, "wait_for_task", task_id=await begin(asked, take=2), timeout_seconds=0)
        await answer(asked, "get_task", task_id=world.sandbox.add_foreign())
        kept = await begin(asked, take=3)
        await anyio.sleep(200)
        await answer(asked, "save_video", task_id=kept, filename="kept")
        for row in (await answer(asked, "list_tasks"))["tasks"]:
            await answer(asked, "get_task", task_id=row["id"])
    before = len(world.records.calls)
    async with client(world):
        await anyio.sleep(300)
        assert len(world.records.calls) == before
    world.sandbox.other_keys = (f"{KEY}-two",)
    async with client(world, WAN_MCP_AUTOSAVE="0", EVOLINK_API_KEY=f"{KEY}-two") as other:
        await begin(other)
    before = len(world.records.calls)
    async with client(world):
        await anyio.sleep(300)
    assert len(world.records.calls) == before
    assert videos(world) == ["kept.mp4"]


async def test_the_setting_turns_it_off(world: World) -> None:
    """No reads and no file, neither for new tasks nor for those of earlier servers."""
    async with client(world, WAN_MCP_AUTOSAVE="0") as asked:
        await begin(asked)
        await anyio.sleep(300)
    async with client(world, WAN_MCP_AUTOSAVE="0"):
        await anyio.sleep(300)
    assert reads(world) == 0
    assert videos(world) == []


@pytest.mark.parametrize(
    "fault", [("dropped", {}), ("status", {"status": 503}), ("status", {"status": 404}), ("html", {})]
)
async def test_a_host_that_fails_for_an_hour_does_not_lose_the_video(
    world: World, fault: tuple[str, dict[str, Any]]
) -> None:
    """It is fetched again, with longer and longer pauses, until its link has expired."""
    world.sandbox.faults.add(Fault("result", fault[0], times=None, **fault[1]))
    async with client(world) as asked:
        await begin(asked)
        await anyio.sleep(3600)
        assert videos(world) == []
        world.sandbox.faults.clear()
        await anyio.sleep(700)
        assert len(videos(world)) == 1
    assert sum(one.at == "result" for one in world.records.calls) < 80


async def test_a_folder_that_cannot_be_written_for_a_while_does_not_lose_the_video(world: World) -> None:
    """The disk is full, or the folder does not exist: the video is saved as soon as possible."""
    folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])
    folder.write_bytes(b"in the way")
    async with client(world) as asked:
        await begin(asked)
        await anyio.sleep(1000)
        folder.unlink()
        await anyio.sleep(700)
        assert len(videos(world)) == 1


async def test_a_video_whose_link_has_died_is_given_up(world: World) -> None:
    """A day after the end of the task, nothing more is tried."""
    world.sandbox.faults.add(Fault("result", "status", times=None, status=404))
    async with client(world) as asked:
        await begin(asked)
        await anyio.sleep(DAY + 700)
        before = len(world.records.calls)
        await anyio.sleep(DAY)
        assert len(world.records.calls) == before


async def test_an_api_that_is_away_for_a_while_loses_nothing(world: World) -> None:
    """Failed reads make the pauses longer, and do not end the following."""
    async with client(world) as asked:
        await begin(asked)
        world.sandbox.faults.add(Fault("task", "status", times=None, status=503))
        await anyio.sleep(3600)
        world.sandbox.faults.clear()
        await anyio.sleep(120)
        assert len(videos(world)) == 1


async def test_a_request_whose_caller_is_gone_is_followed_too(world: World) -> None:
    """The answer to the POST comes after the caller's time is up."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=55))
    async with client(world, WAN_MCP_MAX_WAIT_SECONDS="10") as asked:
        assert (await call(asked, "generate_video", **ARGUMENTS)).is_error
        await anyio.sleep(300)
        assert len(videos(world)) == 1


async def test_a_second_task_that_was_paid_for_one_request_is_kept_too(world: World) -> None:
    """The gateway ignores the key, and an answer was lost: both videos were paid, and both are saved."""
    world.sandbox.honours_idempotency_key = False
    world.sandbox.faults.add(Fault("submit", "lost"), Fault("tasks", "status", status=404))
    content = itertools.count(1000)
    world.sandbox.results = Results(lambda *order: film(next(content)))
    async with client(world) as asked:
        await call(asked, "get_credits")
        await begin(asked)
        assert len(paid_for(world, ARGUMENTS["prompt"])) == 2
        await anyio.sleep(300)
        assert len(videos(world)) == 2


async def test_two_servers_read_a_task_about_as_often_as_one(world: World) -> None:
    """What one server has just read, the other takes from the ledger; and there is one file."""
    async with client(world) as alone:
        await begin(alone)
        await anyio.sleep(200)
    usual = reads(world)
    async with client(world) as first, client(world), client(world):
        await begin(first, take=2)
        await anyio.sleep(3)
        async with client(world), client(world):
            await anyio.sleep(200)
    assert reads(world) - usual <= usual + 5
    assert len(videos(world)) == 2


async def test_thirty_tasks_are_followed_at_once(world: World) -> None:
    """Each is kept, within the bounds on reads."""
    async with client(world) as asked, anyio.create_task_group() as group:
        for take in range(1, 31):
            group.start_soon(partial(begin, asked, take=take))
        await anyio.sleep(300)
        assert len(videos(world)) == 30


async def test_a_server_ends_at_once_although_it_follows_tasks(world: World) -> None:
    """It stops following; any other server continues that."""
    async with client(world) as asked:
        await begin(asked)
        await anyio.sleep(10)
        began = now()
    assert now() - began < 0.1


async def test_a_short_wait_for_a_followed_task_tells_its_present_state(world: World) -> None:
    """It is read when a caller asks, although the next poll would come later."""
    async with client(world) as asked:
        task_id = await begin(asked)
        await anyio.sleep(30)
        view = await answer(asked, "wait_for_task", task_id=task_id, timeout_seconds=2)
    assert (view["status"], view["progress"]) == ("processing", 25)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 408, 410, 418, 451])
async def test_an_api_that_refuses_reads_for_a_while_loses_nothing(world: World, status: int) -> None:
    """A key that is refused for a while, a proxy's 404, a login page: read again, with longer pauses."""
    async with client(world) as asked:
        await begin(asked)
        world.sandbox.faults.add(Fault("task", "status", times=None, status=status))
        await anyio.sleep(3600)
        assert reads(world) < 20
        world.sandbox.faults.clear()
        await anyio.sleep(700)
        assert len(videos(world)) == 1


async def test_an_api_that_is_away_for_the_night_does_not_end_the_server(world: World) -> None:
    """After a thousand failed reads, the next ones come as before."""
    async with client(world) as asked:
        await begin(asked)
        world.sandbox.faults.add(Fault("task", "status", times=None, status=503))
        await anyio.sleep(10 * 3600)
        world.sandbox.faults.clear()
        await anyio.sleep(120)
        assert len(videos(world)) == 1


async def test_a_task_that_cannot_be_read_is_given_up_after_a_day(world: World) -> None:
    """The reads have an end."""
    async with client(world) as asked:
        await begin(asked)
        world.sandbox.key = "sk-another-0123456789"
        await anyio.sleep(DAY + 700)
        before = reads(world)
        await anyio.sleep(DAY)
        assert reads(world) == before < 200


async def test_work_in_the_background_that_breaks_does_not_end_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not break the calls."""

    async def broken(self: Follower) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(Follower, "take_up", broken)
    async with client(world) as asked:
        await anyio.sleep(10)
        assert (await answer(asked, "get_credits"))["remaining"]
    assert "unexpected" in caplog.text


async def test_a_server_that_ended_before_the_file_was_recorded_makes_no_second_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds that the file is there."""

    async def killed(self: SqlOwnerLedger, task_id: str, saved: Saved) -> None:
        raise LedgerError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(SqlOwnerLedger, "mark_saved", killed)
        async with client(world) as asked:
            task_id = await begin(asked)
            await anyio.sleep(200)
            for _ in range(2):  # a ledger that cannot be written, and two waits
                await answer(asked, "wait_for_task", task_id=task_id)
            assert videos(world) == ["the-cat-yawns.mp4"]
    async with client(world):
        await anyio.sleep(10)
        assert videos(world) == ["the-cat-yawns.mp4"]
    assert [Path(row.saved.path).name for row in await world.rows() if row.saved] == videos(world)
