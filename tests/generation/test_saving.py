"""Saving the video of a task: the link, the file, and the ledger between them."""
# ruff: noqa: ASYNC240  a test may look at the disk while its own loop stands still

import errno
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from filelock import FileLock
from mcp.types import ResourceLink

from tests.calls import ARGUMENTS, ERAS, answer, call, text
from tests.clock import now
from tests.videos.host import (
    FILM,
    HOST,
    LINK,
    OTHER,
    PIECE,
    Host,
    files,
    finished,
    page,
    put_behind,
    silent,
    status,
)
from tests.world import KEY, World
from wan_mcp.errors import LedgerError, LinkDead, LinkFailed, VideoError
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.service import VideoService
from wan_mcp.ledger import Saved
from wan_mcp.ledger.sql.owner_ledger import SqlOwnerLedger
from wan_mcp.sandbox import Fault
from wan_mcp.videos import download as videos
from wan_mcp.videos.task_lock import task_lock

pytestmark = pytest.mark.anyio


NAME = "the-cat-yawns.mp4"
"""What a video of the usual prompt is called."""


class Cinema:
    """A world whose videos are at a separate host, a service in it, and a finished task."""

    def __init__(self, world: World, host: Host, service: VideoService, task_id: str) -> None:
        self.world, self.host, self.service, self.task_id = world, host, service, task_id
        self.folder = Path(world.environ["WAN_MCP_OUTPUT_DIR"])

    async def save(self, name: str | None = None, notice: videos.OnProgress = silent) -> Saved:
        snapshot = await self.service.save(self.task_id, name, notice)
        assert snapshot.saved is not None
        return snapshot.saved

    def link_to(self, *links: str) -> None:
        """Set the results of the next reads, one after the other; the last one stays."""
        self.world.sandbox.faults.clear()
        faults = [Fault("task", "patch", body={"results": [link]}) for link in links]
        faults[-1].times = None
        self.world.sandbox.faults.add(*faults)


@pytest.fixture
async def cinema(world: World) -> AsyncIterator[Cinema]:
    host = Host()
    put_behind(world, host)
    async with world.service() as service:
        task = (await service.generate(GenerationRequest.model_validate(ARGUMENTS))).task
        await anyio.sleep(130)
        cinema = Cinema(world, host, service, task.id)
        cinema.link_to(LINK)
        yield cinema


async def test_saving_again_answers_the_file_that_there_is(cinema: Cinema) -> None:
    """There is no second download, also in another program of the same user."""
    first = await cinema.save()
    assert Path(first.path) == cinema.folder / NAME
    assert await cinema.save() == await cinema.save("the-cat-yawns.webm") == first
    async with cinema.world.service() as later:
        assert (await later.save(cinema.task_id, None, silent)).saved == first
    assert len(cinema.host.requests) == 1
    assert files(cinema.folder) == {NAME: FILM}


@pytest.mark.parametrize("days", [2, 10])
async def test_the_saved_file_is_found_when_nothing_else_is_left(cinema: Cinema, days: int) -> None:
    """The link has expired, then the API has forgotten the task, and then it does not even answer."""
    first = await cinema.save()
    cinema.world.sandbox.faults.clear()
    await anyio.sleep(days * 86400)
    assert await cinema.save() == first
    cinema.world.sandbox.faults.add(Fault("task", "dropped", times=None))
    assert await cinema.save() == first


async def test_another_name_is_given_to_the_same_video(cinema: Cinema, tmp_path: Path) -> None:
    """Once for each name, without another download; the answer names the file that was asked for."""
    first = await cinema.save()
    for _ in range(2):
        second = await cinema.save("Mein Film.MOV")
        assert second == replace(first, path=str(cinema.folder / "Mein Film.mp4"))
    assert await cinema.save() == second
    assert (await cinema.save(NAME)).path == first.path
    assert files(cinema.folder) == {NAME: FILM, "Mein Film.mp4": FILM}
    folder = tmp_path / "elsewhere"
    async with cinema.world.service(WAN_MCP_OUTPUT_DIR=str(folder)) as other:
        for _ in range(2):
            saved = (await other.save(cinema.task_id, "out.mp4", silent)).saved
            assert saved == replace(first, path=str(folder / "out.mp4"))
    assert files(folder) == {"out.mp4": FILM}
    assert len(cinema.host.requests) == 1


@pytest.mark.parametrize("linked", [True, False])
async def test_another_name_never_replaces_a_file(
    cinema: Cinema, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is added, as for a new video; asking again makes no third file."""
    if not linked:

        def fail(*args: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", fail)
    await cinema.save()
    (cinema.folder / "mine.mp4").write_bytes(OTHER)
    for _ in range(2):
        assert (await cinema.save("mine")).path == str(cinema.folder / "mine-2.mp4")
    assert files(cinema.folder) == {NAME: FILM, "mine.mp4": OTHER, "mine-2.mp4": FILM}


@pytest.mark.parametrize("lost", ["first", "second"])
async def test_one_of_two_names_is_enough(cinema: Cinema, lost: str) -> None:
    """If either is removed, nothing is downloaded for the other."""
    paths = {"first": Path((await cinema.save()).path), "second": Path((await cinema.save("mine")).path)}
    paths[lost].unlink()
    left = next(path for name, path in paths.items() if name != lost)
    assert (await cinema.save()).path == str(left)
    assert len(cinema.host.requests) == 1


@pytest.mark.parametrize("content", [None, b"", OTHER])
async def test_another_name_for_a_video_that_is_gone_is_a_download(
    cinema: Cinema, content: bytes | None
) -> None:
    """The earlier file was removed or changed."""
    first = Path((await cinema.save()).path)
    if content is None:
        first.unlink()
    else:
        first.write_bytes(content)
    await cinema.save("mine")
    assert files(cinema.folder) == {"mine.mp4": FILM} | ({} if content is None else {NAME: content})
    assert len(cinema.host.requests) == 2


async def test_a_take_is_named_after_its_number(cinema: Cinema) -> None:
    """The second video of the same prompt."""
    cinema.world.sandbox.faults.clear()
    request = GenerationRequest.model_validate(ARGUMENTS | {"take": 2})
    task = (await cinema.service.generate(request)).task
    await anyio.sleep(130)
    cinema.link_to(LINK)
    await cinema.service.save(task.id, None, silent)
    assert files(cinema.folder) == {"the-cat-yawns-take-2.mp4": FILM}


@pytest.mark.parametrize("obstacle", ["file", "folder of another"])
async def test_without_a_place_for_locks_the_video_is_saved_all_the_same(
    cinema: Cinema, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes may then make two files, which is better than none."""
    locks = Path(cinema.world.environ["WAN_MCP_DATA_DIR"]) / "saving"
    if obstacle == "file":
        locks.write_bytes(b"")
    else:

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(FileLock, "acquire", refuse)
    await cinema.save()
    assert files(cinema.folder) == {NAME: FILM}


async def test_lock_files_do_not_pile_up(cinema: Cinema) -> None:
    """Those of killed processes do not, either."""
    locks = Path(cinema.world.environ["WAN_MCP_DATA_DIR"]) / "saving"
    locks.mkdir()
    (locks / "0123.lock").write_bytes(b"")
    await cinema.save()
    assert files(locks) == {}


async def test_who_waits_for_another_process_can_be_cancelled(cinema: Cinema) -> None:
    """Another process holds the lock; afterwards it can be taken."""
    locks = Path(cinema.world.environ["WAN_MCP_DATA_DIR"]) / "saving"
    async with task_lock(locks, "task"):
        with anyio.move_on_after(5) as scope:
            async with task_lock(locks, "task"):
                raise AssertionError
        assert scope.cancelled_caught
        assert len(files(locks)) == 1
    async with task_lock(locks, "task"):
        assert len(files(locks)) == 1
    assert files(locks) == {}


async def test_a_removed_file_is_fetched_anew(cinema: Cinema) -> None:
    """Under the same name, which is free again."""
    first = await cinema.save()
    Path(first.path).unlink()
    assert await cinema.save() == first
    assert len(cinema.host.requests) == 2


@pytest.mark.parametrize("content", [b"", FILM[:-1], FILM + b"x", OTHER])
async def test_a_changed_file_is_fetched_anew_and_left_alone(cinema: Cinema, content: bytes) -> None:
    """The user's version stays; the video gets a number."""
    first = Path((await cinema.save("mine")).path)
    first.write_bytes(content)
    second = await cinema.save("mine")
    assert files(cinema.folder) == {"mine.mp4": content, "mine-2.mp4": FILM}
    assert await cinema.save() == second


async def test_a_file_that_became_a_folder_is_fetched_anew(cinema: Cinema) -> None:
    """A folder is not the video."""
    first = Path((await cinema.save("mine")).path)
    first.unlink()
    first.mkdir()
    assert (await cinema.save("mine")).path == str(cinema.folder / "mine-2.mp4")


async def test_a_dead_link_is_replaced_by_a_fresh_one(cinema: Cinema) -> None:
    """The task is read once more, and its new link is used."""
    cinema.link_to(LINK, f"{LINK}&again")
    cinema.host.script.append(status(403))
    reads = cinema.world.records.reads
    await cinema.save()
    assert cinema.world.records.reads == reads + 2
    assert [request.url.query for request in cinema.host.requests] == [
        b"signature=secret",
        b"signature=secret&again",
    ]
    assert files(cinema.folder).keys() == {NAME}


@pytest.mark.parametrize("fresh", [LINK, f"{LINK}&again"], ids=["no other", "dead, too"])
@pytest.mark.parametrize(
    ("hours", "advice"), [(1, "again in a few minutes"), (25, "generate_video with another take")]
)
async def test_a_link_that_is_dead_for_good_is_said(
    cinema: Cinema, fresh: str, hours: float, advice: str
) -> None:
    """The advice to pay again is given only once the link has expired."""
    cinema.link_to(LINK, LINK, fresh)
    await cinema.service.get_task(cinema.task_id)
    await anyio.sleep(hours * 3600)
    cinema.host.script += [status(403)] * 2
    with pytest.raises(LinkDead, match="HTTP 403") as caught:
        await cinema.save()
    assert advice in caught.value.next_step
    assert len(cinema.host.requests) == (1 if fresh == LINK else 2)
    assert files(cinema.folder) == {}


async def test_a_host_that_is_down_after_the_links_expired_is_not_tried_again(cinema: Cinema) -> None:
    """The error says that the video is gone, as all other answers about that task do."""
    cinema.link_to(LINK)
    await cinema.service.get_task(cinema.task_id)
    await anyio.sleep(25 * 3600)
    cinema.host.script += [status(503)] * 4
    with pytest.raises(LinkFailed, match="could not be downloaded") as caught:
        await cinema.save()
    assert caught.value.next_step.startswith("The video is gone; generate_video with another take")


async def test_a_dead_link_is_said_when_the_task_cannot_be_read_any_more(cinema: Cinema) -> None:
    """The error is about the link, not about the failed read for another link."""
    cinema.host.script.append(status(410))
    cinema.world.sandbox.faults.clear()
    cinema.world.sandbox.faults.add(
        Fault("task", "patch", body={"results": [LINK]}), Fault("task", "status", times=None, status=401)
    )
    with pytest.raises(LinkDead, match="HTTP 410"):
        await cinema.save()


async def test_without_a_ledger_the_video_is_saved_all_the_same(
    cinema: Cinema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file matters more."""

    async def fail(*args: object) -> None:
        raise LedgerError("The disk of the ledger is full.")

    monkeypatch.setattr(SqlOwnerLedger, "mark_saved", fail)
    await cinema.save("mine")
    assert files(cinema.folder) == {"mine.mp4": FILM}


@pytest.mark.parametrize("failures", [0, 1])
async def test_saves_at_the_same_time_download_once(cinema: Cinema, failures: int) -> None:
    """A later call waits and gets the same file; also while an earlier one fails."""
    cinema.host.every = 0.3
    cinema.host.script += [page("text/html", b"busy")] * failures
    found: list[Saved] = []
    failed: list[VideoError] = []

    async def one(after: float) -> None:
        await anyio.sleep(after)
        try:
            found.append(await cinema.save())
        except VideoError as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number * 0.5)
    assert len(failed) == failures
    assert len(found) == 8 - failures
    assert len(set(found)) == 1
    assert len(cinema.host.requests) == 1 + failures
    assert files(cinema.folder) == {NAME: FILM}


async def test_saves_that_queue_behind_a_failure_download_once(cinema: Cinema) -> None:
    """While the second downloads, a third call does not begin another download."""
    cinema.host.every = 0.3
    cinema.host.script.append(page("text/html", b"busy" * 5000))
    async with anyio.create_task_group() as group:

        async def fails() -> None:
            with pytest.raises(VideoError):
                await cinema.save()

        group.start_soon(fails)
        group.start_soon(cinema.save)
        await anyio.sleep(1)
        assert len(cinema.host.requests) == 2
        group.start_soon(cinema.save)
    assert len(cinema.host.requests) == 2
    assert len(files(cinema.folder)) == 1


async def test_different_tasks_are_saved_side_by_side(cinema: Cinema) -> None:
    """A slow video does not delay another one."""
    request = GenerationRequest.model_validate(ARGUMENTS | {"prompt": "The dog barks."})
    cinema.world.sandbox.faults.clear()
    other = (await cinema.service.generate(request)).task.id
    await anyio.sleep(130)
    cinema.link_to(LINK)
    cinema.host.every = 3
    start = now()
    async with anyio.create_task_group() as group:
        group.start_soon(cinema.save)
        group.start_soon(cinema.service.save, other, None, silent)
    assert now() - start < 80
    assert files(cinema.folder).keys() == {NAME, "the-dog-barks.mp4"}


async def test_who_gives_up_waiting_does_not_stop_the_saving(cinema: Cinema) -> None:
    """In the middle there is no file yet; a while later there is."""
    cinema.host.every = 3
    with anyio.move_on_after(20):
        await cinema.save("mine")
    assert "mine.mp4" not in files(cinema.folder)
    await anyio.sleep(60)
    assert files(cinema.folder) == {"mine.mp4": FILM}
    assert len(cinema.host.requests) == 1
    await cinema.save("mine")
    assert len(cinema.host.requests) == 1


async def test_a_program_that_ends_leaves_no_half_file(world: World) -> None:
    """Neither under a final name nor under another."""
    host = Host(every=3)
    put_behind(world, host)
    async with world.service() as service:
        task = (await service.generate(GenerationRequest.model_validate(ARGUMENTS))).task
        await anyio.sleep(130)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        with anyio.move_on_after(20):
            await service.save(task.id, None, silent)
    assert host.sent > 5 * PIECE
    assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {}


@pytest.mark.parametrize(
    ("body", "said", "advice"),
    [
        ({"status": "processing", "results": []}, "the task is processing", "wait_for_task"),
        ({"status": "failed", "error": {"code": "x", "message": "y"}}, "The task failed", "get_task"),
        ({"status": "cancelled"}, "The task was cancelled", "get_task"),
        ({"status": "completed", "results": []}, "its link is not available yet", "wait_for_task"),
    ],
)
async def test_without_a_video_there_is_nothing_to_save(
    cinema: Cinema, body: dict[str, object], said: str, advice: str
) -> None:
    """The error says why, and what to do instead."""
    cinema.world.sandbox.faults.clear()
    cinema.world.sandbox.faults.add(Fault("task", "patch", times=None, body=body))
    with pytest.raises(VideoError, match=said) as caught:
        await cinema.save()
    assert advice in caught.value.next_step
    assert cinema.host.requests == []


async def test_a_private_result_link_needs_the_setting(cinema: Cinema) -> None:
    """It is refused unless private networks are allowed."""
    cinema.link_to(f"https://{HOST}.local/film.mp4")
    with pytest.raises(VideoError, match="private network") as caught:
        await cinema.save()
    assert "WAN_MCP_ALLOW_PRIVATE_NETWORK" in caught.value.next_step
    assert files(cinema.folder) == {}
    async with cinema.world.service(WAN_MCP_ALLOW_PRIVATE_NETWORK="1") as service:
        cinema.link_to("http://127.0.0.1/files/film.mp4")
        with pytest.raises(LinkDead):  # it was followed: the sandbox has nothing there
            await service.save(cinema.task_id, None, silent)


@pytest.mark.slow
async def test_the_answer_tells_everything_about_a_real_video(tmp_path: Path) -> None:
    """Path, size, seconds, width and height, the end of its link and its file: URI."""
    world = World(tmp_path, seconds=120, render=None)
    async with world.client() as client:
        requested = (await call(client, "generate_video", **ARGUMENTS, quality="480p")).structured_content
        assert requested is not None
        await anyio.sleep(130)
        seen = (await call(client, "get_task", task_id=requested["id"])).structured_content
        result = await call(client, "save_video", task_id=requested["id"], filename="Mein Kätzchen #1.MP4")
    assert not result.is_error, text(result)
    view = result.structured_content
    assert view is not None
    assert seen is not None
    path = tmp_path / "videos" / "Mein Kätzchen #1.mp4"
    content = path.read_bytes()
    assert view["saved_to"] == str(path)
    assert view["file"] == {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "seconds": 5.0,
        "width": 740,
        "height": 554,
    }
    assert view["expires_at"] == seen["expires_at"]
    assert view["status"] == "completed"
    assert str(path) in view["next"]
    for fact in (str(path), "0.1 MB", "5 s", "740\u00d7554", "works until tomorrow"):
        assert fact in text(result)
    assert view["file"]["sha256"] not in text(result)
    links = [block for block in result.content if isinstance(block, ResourceLink)]
    assert [(link.uri, link.name, link.mime_type) for link in links] == [
        (path.as_uri(), path.name, "video/mp4"),
        (seen["results"][0], f"{requested['id']}.mp4", "video/mp4"),
    ]
    assert [call.authorized for call in world.records.calls if call.at == "result"] == [None]
    assert KEY not in str(world.records.calls)


@ERAS
async def test_a_client_sees_the_saving_progress(world: World, mode: str) -> None:
    """Received and all bytes, which only rise, with a text."""
    host = Host(every=1)
    host.script.append(host.cut(30_000))
    put_behind(world, host)
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with world.client(mode) as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        await client.call_tool("save_video", {"task_id": task_id}, progress_callback=note)
    amounts = [progress for progress, _, _ in told]
    assert len(amounts) > 5
    assert amounts == sorted(set(amounts))
    assert told[-1] == (len(FILM), len(FILM), "0.1 MB")


async def test_a_cancelled_call_is_saved_all_the_same(world: World) -> None:
    """The client that asked for progress is gone, and the download goes on."""
    host = Host(every=3)
    put_behind(world, host)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        await checkpoint()

    async with world.client() as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("task", "patch", times=None, body={"results": [LINK]}))
        with anyio.move_on_after(10):
            await client.call_tool("save_video", {"task_id": task_id}, progress_callback=note)
        assert not list(Path(world.environ["WAN_MCP_OUTPUT_DIR"]).glob("*.mp4"))
        await anyio.sleep(60)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {NAME: FILM}


@pytest.mark.parametrize("kind", ["html", "empty", "huge", "body", "lost", "dropped", "cut"])
async def test_a_failed_save_is_an_error_result_in_words(world: World, kind: str) -> None:
    """Nothing was charged, nothing is left behind, and afterwards it works."""
    details: dict[str, Any] = {"body": {"error": "expired"}} if kind == "body" else {}
    async with world.client() as client:
        task_id = await finished(client)
        world.sandbox.faults.add(Fault("result", kind, times=None, **details))
        failed = await call(client, "save_video", task_id=task_id)
        assert failed.is_error
        assert "Nothing was charged." in text(failed)
        assert files(Path(world.environ["WAN_MCP_OUTPUT_DIR"])) == {}
        world.sandbox.faults.clear()
        assert not (await call(client, "save_video", task_id=task_id)).is_error


@pytest.mark.parametrize(
    "later",
    [
        Fault("task", "patch", times=None, body={"results": [], "result_data": []}),
        Fault("task", "patch", times=None, body={"status": "processing", "results": [], "result_data": []}),
        Fault("task", "status", times=None, status=401),
        Fault("task", "status", times=None, status=402),
        Fault("task", "status", times=None, status=403),
    ],
    ids=["no links", "late answer", "401", "402", "403"],
)
async def test_a_link_that_was_known_is_used_whatever_the_api_says_later(world: World, later: Fault) -> None:
    """The API leaves it out, answers with an earlier state, or refuses the key: the link works."""
    async with world.client() as client:
        task_id = await finished(client)
        assert (await answer(client, "get_task", task_id=task_id))["results"]
        world.sandbox.faults.add(later)
        assert (await answer(client, "save_video", task_id=task_id))["saved_to"]


async def test_a_refused_key_is_told_where_no_link_is_known(world: World) -> None:
    """The error does not say that there is no video yet."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        world.sandbox.faults.add(Fault("task", "status", times=None, status=401))
        assert "EVOLINK_API_KEY" in text(await call(client, "save_video", task_id=task_id))
