"""Hosted servers keep the videos of their callers' tasks, whatever becomes of links, storage and callers."""

import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.callers import IN_BOTH_DEPLOYMENTS, Callers
from tests.calls import ARGUMENTS, answer, call, made, text
from tests.clock import now
from tests.server.tasks_client import ask
from tests.world import World, render_one_second
from wan_mcp.evolink import Task
from wan_mcp.evolink.values import iso
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import Kept
from wan_mcp.sandbox import Fault
from wan_mcp.server.text import next_step
from wan_mcp.storage import folder
from wan_mcp.videos import download

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("in_utc")]

DAY = 24 * 3600.0
KEEPS = {"WAN_MCP_AUTOSAVE": "1"}
IN_ONE_ACCOUNT = pytest.mark.parametrize("deployment", [ONE_ACCOUNT], ids=["one account"])
STORAGE_FAILS = "The server's storage cannot be used now."


class Shelf:
    """A folder as storage, which can fail: then a file is in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "storage"
        self.environ = KEEPS | {"WAN_MCP_STORAGE_URL": self.folder.as_uri()}

    @property
    def videos(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*.mp4") if path.is_file())

    def fail(self) -> None:
        self.folder.rename(self.folder.with_name("away"))
        self.folder.write_text("in the way")

    def work(self) -> None:
        self.folder.unlink()
        self.folder.with_name("away").rename(self.folder)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def callers(tmp_path: Path, deployment: Deployment) -> Callers:
    return Callers(tmp_path, deployment, render=render_one_second)


@asynccontextmanager
async def serving(callers: Callers, shelf: Shelf, **environ: str) -> AsyncIterator[Client]:
    async with callers.client(**(shelf.environ | environ)) as (client, _):
        yield client


async def begin(client: Client, **arguments: Any) -> str:
    given = ARGUMENTS | {"quality": "480p"} | arguments
    return str((await answer(client, "generate_video", **given))["id"])


async def waited(client: Client, task_id: str) -> dict[str, Any]:
    return await answer(client, "wait_for_task", task_id=task_id)


def hide_links(world: World) -> None:
    """Evolink's links do not work any more."""
    world.sandbox.faults.add(Fault("result", "status", status=404, times=1000))


@IN_BOTH_DEPLOYMENTS
async def test_the_end_of_a_wait_gives_a_link_that_is_renewed_until_the_video_is_deleted(
    callers: Callers, shelf: Shelf
) -> None:
    """The answer says until when the link works, how to get a new one, and until when the video is kept."""
    async with serving(callers, shelf, WAN_MCP_LINK_HOURS="48") as client:
        task_id = await begin(client)
        await anyio.sleep(70)
        done = await waited(client, task_id)
        (video,) = shelf.videos
        assert done["results"] == [done["next"].split("ready at ")[1].split(" ")[0]]
        assert done["results"][0].startswith("http://127.0.0.1:8000/videos/")
        assert done["file"]["bytes"] == video.stat().st_size
        kept_at = now()
        assert done["expires_at"] == iso(kept_at + 2 * DAY)
        kept_until = datetime.fromisoformat(done["kept_until"]).timestamp()
        assert kept_at + 30 * DAY - 60 < kept_until <= kept_at + 30 * DAY
        assert "; get_task gives a new one)." in done["next"]
        assert done["next"].endswith("This server keeps it until 2026-10-21 14:14 UTC.")

        await anyio.sleep(5 * DAY)
        again = await answer(client, "get_task", task_id=task_id)
        assert again["expires_at"] == iso(now() + 2 * DAY)
        assert again["results"] != done["results"]
        (line,) = (await answer(client, "list_tasks"))["tasks"]
        assert (line["results"], line["kept_until"]) == (again["results"], done["kept_until"])

        await anyio.sleep(26 * DAY)
        gone = await answer(client, "get_task", task_id=task_id)
        assert "the video is gone" in gone["next"]
        assert "results" not in gone


@IN_ONE_ACCOUNT
async def test_a_task_is_followed_and_its_video_kept_although_nobody_asks(
    callers: Callers, shelf: Shelf
) -> None:
    """Its reads are those of the schedule; the callers who ask later are told that it is kept."""
    async with serving(callers, shelf) as client:
        task_id = await begin(client)
        await anyio.sleep(200)
        assert len(shelf.videos) == 1
        reads = callers.world.records.reads
        assert reads < 15
        assert "kept_until" in await answer(client, "get_task", task_id=task_id)


@IN_ONE_ACCOUNT
async def test_after_a_restart_the_tasks_of_all_callers_are_followed(callers: Callers, shelf: Shelf) -> None:
    """Nobody has called the new process; those who call do not make it read or save twice."""
    ids = {}
    async with serving(callers, shelf) as client:
        for callers.name in ("one", "two", "three"):
            ids[callers.name] = await begin(client)
    before = callers.world.records.reads
    async with serving(callers, shelf) as client:
        for callers.name in ids:
            await begin(client)  # the same requests
        await anyio.sleep(200)
        assert len(shelf.videos) == 3
        assert callers.world.records.reads - before < 45
        for callers.name, task_id in ids.items():
            assert "kept_until" in await answer(client, "get_task", task_id=task_id)


@pytest.mark.parametrize("deployment", [OWN_KEYS], ids=["own keys"])
async def test_with_their_own_keys_a_video_is_kept_when_somebody_waits(
    callers: Callers, shelf: Shelf
) -> None:
    """A read does not keep it; a client that waits without its model does, as a call of save_video."""
    async with callers.client(**shelf.environ) as (client, _):
        started = await answer(client, "generate_video", **ARGUMENTS, quality="480p")
        assert started["next"].endswith("The server keeps the video when such a call sees the end.")
        task_id, other = started["id"], await begin(client, take=2)
        await anyio.sleep(200)
        read = await answer(client, "get_task", task_id=task_id)
        assert f"call save_video with task_id {task_id} to keep it for 30 days." in read["next"]
        assert shelf.videos == []
        result = (await ask(client.session, "tasks/get", task_id))["result"]
        assert "kept_until" in result["structuredContent"]
        assert len(shelf.videos) == 1
        assert "kept_until" in await answer(client, "save_video", task_id=other)
        assert len(shelf.videos) == 2


@IN_BOTH_DEPLOYMENTS
async def test_with_automatic_saving_off_only_save_video_keeps(callers: Callers, shelf: Shelf) -> None:
    """The instructions and the answers say so."""
    async with serving(callers, shelf, WAN_MCP_AUTOSAVE="0", WAN_MCP_RESULT_DAYS="3") as client:
        assert "save_video keeps a video on this server for 3 days" in str(client.instructions)
        task_id = await begin(client)
        await anyio.sleep(70)
        assert f"call save_video with task_id {task_id}" in (await waited(client, task_id))["next"]
        assert shelf.videos == []
        assert (await answer(client, "save_video", task_id=task_id))["kept_until"] == iso(now() + 3 * DAY)


@IN_BOTH_DEPLOYMENTS
async def test_while_storage_fails_paid_calls_go_on_and_the_video_is_kept_later(
    callers: Callers, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """Every answer says why it is not kept yet, none names the place; the log has the reason once."""
    follows = callers.deployment.operator_pays
    async with serving(callers, shelf) as client:
        shelf.fail()
        started = await answer(client, "generate_video", **ARGUMENTS, quality="480p")
        task_id, said = started["id"], [started["next"]]
        await anyio.sleep(70)
        said += [(await waited(client, task_id))["next"] for _ in range(3)]
        read = await answer(client, "get_task", task_id=task_id)
        said.append(read["next"])
        assert read["results"][0].startswith("http")
        assert "kept_until" not in read
        refused = [
            text(await call(client, "save_video", task_id=task_id)),
            text(await call(client, "join_videos", task_ids=[task_id, task_id])),
        ]
        assert [one for one in (*said, *refused) if STORAGE_FAILS not in one] == []
        assert [one for one in (*said, *refused) if str(shelf.folder.parent) in one] == []
        preview = await call(client, "preview_video", task_id=task_id)
        assert not preview.is_error, text(preview)
        assert (await answer(client, "list_tasks"))["tasks"][0]["results"] == read["results"]
        failures = [
            one.getMessage() for one in caplog.records if "Check WAN_MCP_STORAGE_URL" in one.getMessage()
        ]
        assert len(failures) == 1, failures
        shelf.work()
        if follows:
            await anyio.sleep(1300)
        else:
            await anyio.sleep(11)
            await waited(client, task_id)
        assert len(shelf.videos) == 1
        assert "kept_until" in await answer(client, "get_task", task_id=task_id)


@IN_ONE_ACCOUNT
async def test_storage_that_is_full_for_videos_is_said_to_fail_until_there_is_room(
    callers: Callers, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a check writes would still fit, so that the last attempt counts."""

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving(callers, shelf) as client:
        with monkeypatch.context() as patch:
            patch.setattr(folder, "put", full)
            task_id = await begin(client)
            await anyio.sleep(70)
            paid = await answer(client, "generate_video", **ARGUMENTS, quality="480p", take=2)
            for said in (paid, await waited(client, task_id)):
                assert f"{STORAGE_FAILS} The video cannot be kept yet" in said["next"]
            assert "No space left" not in said["next"]
        assert caplog.text.count("the storage failed: No space left on device") == 1
        await anyio.sleep(200)
        assert "kept_until" in await answer(client, "get_task", task_id=task_id)


@IN_BOTH_DEPLOYMENTS
async def test_a_kept_video_is_looked_at_continued_and_joined_although_its_link_is_dead(
    callers: Callers, shelf: Shelf
) -> None:
    """Only for its owner: for others there is no such task. A film of others is another object."""
    async with serving(callers, shelf) as client:
        callers.name = "one"
        task_id = await begin(client)
        await anyio.sleep(70)
        await waited(client, task_id)
        hide_links(callers.world)
        await anyio.sleep(2 * DAY)
        preview = await call(client, "preview_video", task_id=task_id)
        assert "the video is ready at http://127.0.0.1:8000/videos/" in text(preview)
        film = await answer(client, "join_videos", task_ids=[task_id, task_id])
        assert film["link"].startswith("http://127.0.0.1:8000/videos/")
        assert film["kept_until"] == iso(now() + 30 * DAY)
        second = await answer(client, "generate_video", prompt="It sleeps.", image_urls=[task_id])
        assert second["continues"] == task_id
        before = shelf.videos
        assert len(before) == 2
        callers.name = "two"
        for tool, arguments in (
            ("get_task", {"task_id": task_id}),
            ("wait_for_task", {"task_id": task_id, "timeout_seconds": 0}),
            ("save_video", {"task_id": task_id}),
            ("preview_video", {"task_id": task_id}),
            ("join_videos", {"task_ids": [task_id, task_id]}),
            ("generate_video", {"prompt": "It sleeps.", "image_urls": [task_id]}),
        ):
            result = await call(client, tool, **arguments)
            assert result.is_error, tool
            assert "/videos/" not in text(result)
        assert (await answer(client, "list_tasks"))["tasks"] == []
        assert shelf.videos == before


@IN_BOTH_DEPLOYMENTS
async def test_storage_that_fails_is_no_reason_to_say_that_a_kept_video_is_gone(
    callers: Callers, shelf: Shelf
) -> None:
    """Nobody is told to pay again while it may come back."""
    async with serving(callers, shelf) as client:
        task_id = await begin(client)
        await anyio.sleep(70)
        await waited(client, task_id)
        hide_links(callers.world)
        await anyio.sleep(2 * DAY)
        shelf.fail()
        for tool in ("save_video", "preview_video"):
            said = text(await call(client, tool, task_id=task_id))
            assert said.startswith(STORAGE_FAILS), said
        for tool in ("get_task", "wait_for_task"):
            assert "the video is ready at" in (await answer(client, tool, task_id=task_id))["next"]


async def test_where_no_link_can_be_signed_evolinks_link_is_given() -> None:
    """The video is not said to be gone: it is kept."""
    task = Task(id="task-unified-1-a", status="completed", results=("https://files.evolink.ai/a.mp4",))
    kept = Kept(key="results/a.mp4", name="a.mp4", at=now(), size=1000, sha256="0" * 64)
    known = TaskSnapshot(task, now=now(), kept=kept, kept_until=now() + 30 * DAY, expires_at=now() + DAY)
    later = "Call get_task with task_id task-unified-1-a in a minute for a link."
    until = "This server keeps it until 2026-10-21 14:13 UTC."
    text = "Tell the user: the video is kept on this server, but no link to it can be made now."
    link = "Evolink's link is https://files.evolink.ai/a.mp4 (it works until tomorrow 14:13 UTC)."
    assert next_step(known, ONE_ACCOUNT) == f"{text} {link} {later} {until}"
    assert next_step(replace(known, expires_at=now()), ONE_ACCOUNT) == f"{text} {later} {until}"


@IN_BOTH_DEPLOYMENTS
async def test_a_video_that_storage_lost_is_fetched_again_while_evolinks_link_works(
    callers: Callers, shelf: Shelf
) -> None:
    """Later nobody is told to pay again: it may be another storage that is used by mistake."""
    async with serving(callers, shelf) as client:
        task_id = await begin(client)
        await anyio.sleep(70)
        done = await waited(client, task_id)
        for tool in ("save_video", "wait_for_task"):
            shelf.videos[0].unlink()
            found = await answer(client, tool, task_id=task_id)
            assert found["file"] == done["file"]
            assert len(shelf.videos) == 1
        shelf.videos[0].write_bytes(b"cut")
        assert not (await call(client, "preview_video", task_id=task_id)).is_error
        shelf.videos[0].unlink()
        hide_links(callers.world)
        await anyio.sleep(2 * DAY)
        said = [text(await call(client, "save_video", task_id=task_id))]
        said += [
            (await answer(client, tool, task_id=task_id))["next"] for tool in ("get_task", "wait_for_task")
        ]
        assert said[0].startswith(STORAGE_FAILS)
        assert not any("another take" in one or "is gone" in one for one in said)


@pytest.mark.parametrize("deployment", [OWN_KEYS], ids=["own keys"])
async def test_a_server_on_the_users_machine_does_not_show_what_a_hosted_one_keeps(
    callers: Callers, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """They may share a ledger: the task is shown with Evolink's link, and is saved to a file."""
    caplog.set_level(logging.INFO)
    async with serving(callers, shelf) as client:
        task_id = await made(client)
        (hosted_link,) = (await waited(client, task_id))["results"]
    key = callers.whose().key.get_secret_value()
    async with callers.world.client(EVOLINK_API_KEY=key) as client:
        for tool, arguments in (("get_task", {"task_id": task_id}), ("list_tasks", {})):
            result = await call(client, tool, **arguments)
            assert "/videos/" not in str(result.structured_content)
            assert "kept" not in text(result)
        assert "saved_to" in await answer(client, "save_video", task_id=task_id)
    assert hosted_link not in caplog.text


@IN_ONE_ACCOUNT
async def test_videos_that_do_not_arrive_do_not_keep_others_from_being_kept(
    callers: Callers, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one caller few are fetched at once; another's is kept meanwhile."""
    stuck, fetch = [], download.save

    async def stall(link: str, folder: Path, name: str, *others: Any) -> Any:
        if not name.lower().startswith("stuck"):
            return await fetch(link, folder, name, *others)
        stuck.append(name)
        await anyio.sleep_forever()

    monkeypatch.setattr(download, "save", stall)
    async with serving(callers, shelf) as client:
        callers.name = "one"
        for take in range(1, 9):
            await begin(client, prompt="Stuck.", take=take)
        await anyio.sleep(100)
        callers.name = "two"
        await begin(client)
        await anyio.sleep(100)
        assert len(stuck) == 3
        assert len(shelf.videos) == 1
