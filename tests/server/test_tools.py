"""The server as a client sees it, in both protocol eras, over the sandbox without a network."""

from itertools import pairwise
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import ResourceLink

from tests.calls import ARGUMENTS, ERAS, answer, call, text
from tests.clock import now
from tests.world import KEY, World, picture
from wan_mcp.sandbox import Fault
from wan_mcp.server.text import risen

pytestmark = pytest.mark.anyio


@ERAS
async def test_a_picture_and_a_sentence_become_a_video(world: World, mode: str) -> None:
    """The whole conversation: ask, wait several times, get the link."""
    async with world.client(mode) as client:
        asked = await answer(client, "generate_video", **ARGUMENTS)
        assert asked["status"] == "pending"
        assert asked["credits"] == {"reserved": 25.5}
        assert "wait_for_task" in asked["next"]
        task = {"task_id": asked["id"]}
        waits = [await answer(client, "wait_for_task", **task) for _ in range(3)]
        assert [wait["status"] for wait in waits] == ["processing", "processing", "completed"]
        done = await call(client, "get_task", **task)
    link = f"https://api.evolink.ai/results/{asked['id']}.mp4"
    assert done.structured_content is not None
    assert done.structured_content["results"] == [link]
    assert link in text(done)
    assert [block.uri for block in done.content if isinstance(block, ResourceLink)] == [link]
    assert done.structured_content["next"].startswith(
        f"Tell the user: the video is ready at {link} (the link works"
    )
    assert world.records.posts == len(world.records.paid) == 1


@ERAS
async def test_the_server_offers_its_tools(world: World, mode: str) -> None:
    """Names, hints and schemas are there in both eras."""
    async with world.client(mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert client.instructions is not None
        assert 100 < len(client.instructions) < 700
    for tool in tools.values():
        assert tool.description is not None
        assert len(tool.description) < 1024
        assert tool.input_schema["additionalProperties"] is False
        assert (tool.output_schema is None) is (tool.name == "preview_video")
        assert tool.annotations is not None
        changes = ("generate_video", "generate_video_from_text", "save_video", "join_videos")
        assert tool.annotations.read_only_hint is (tool.name not in changes)
    for name in ("generate_video", "generate_video_from_text"):
        hints = tools[name].annotations
        assert hints is not None
        assert (hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint) == (False, True, True)


async def test_text_and_object_say_the_same(world: World) -> None:
    """A client may show the model either of them: both have the facts."""
    async with world.client() as client:
        result = await call(client, "generate_video", **ARGUMENTS, duration=10, quality="480p")
    assert result.structured_content is not None
    for fact in (
        "pending",
        "10 s",
        "480p",
        "120 s",
        "25.5 credits ($0.38) reserved",
        result.structured_content["next"],
    ):
        assert fact in text(result)


async def test_what_is_optional_is_sent_only_when_given(world: World) -> None:
    """The body of a plain request has what the endpoint's page asks for, and no more."""
    async with world.client() as client:
        await answer(client, "generate_video", **ARGUMENTS)
        await answer(client, "generate_video", **ARGUMENTS, duration=10, quality="1080p", prompt_extend=False)
    bodies = [entry.body for entry in world.records.calls if entry.at == "submit"]
    plain = ARGUMENTS | {"model": "wan2.5-image-to-video"}
    assert bodies == [plain, plain | {"duration": 10, "quality": "1080p", "prompt_extend": False}]


@ERAS
async def test_nothing_invalid_reaches_the_paid_endpoint(world: World, mode: str) -> None:
    """A refusal is an error result that says what to change, and no request was made."""
    async with world.client(mode) as client:
        result = await call(client, "generate_video", prompt="", image_urls=[], duration=7, durations=5)
    assert result.is_error
    assert result.structured_content is None
    assert text(result).endswith("Nothing was sent or charged.")
    assert world.records.calls == []


@pytest.mark.parametrize("key", ["", "${EVOLINK_API_KEY}"])
async def test_without_a_key_the_server_starts_and_says_how_to_get_one(world: World, key: str) -> None:
    """Listing works; each call that needs the key explains it."""
    async with world.client(EVOLINK_API_KEY=key) as client:
        assert (await client.list_tools()).tools
        for tool, arguments in (
            ("generate_video", ARGUMENTS),
            ("get_task", {"task_id": "task-unified-1"}),
            ("wait_for_task", {"task_id": "task-unified-1"}),
            ("get_credits", {}),
        ):
            result = await call(client, tool, **arguments)
            assert result.is_error
            assert "https://evolink.ai/dashboard/keys" in text(result)
            assert "EVOLINK_API_KEY" in text(result)
    assert world.records.calls == []


async def test_a_local_picture_is_uploaded_and_its_copy_passed_on(world: World, tmp_path: Any) -> None:
    """A path and a file: URI work like a web address."""
    path = tmp_path / "my cat.png"
    path.write_bytes(picture())
    async with world.client(WAN_MCP_IMAGE_DIRS=str(tmp_path)) as client:
        await answer(client, "generate_video", prompt="a", image_urls=str(path))
        await answer(client, "generate_video", prompt="b", image_urls=[path.as_uri()])
    bodies = [entry.body for entry in world.records.calls if entry.at == "submit"]
    assert len(bodies) == 2
    for body in bodies:
        assert isinstance(body, dict)
        assert body["image_urls"][0].startswith("https://files-api.evolink.ai/files/")


async def test_a_missing_file_costs_nothing(world: World, tmp_path: Any) -> None:
    """What cannot be read is refused before any request."""
    async with world.client(WAN_MCP_IMAGE_DIRS=str(tmp_path)) as client:
        result = await call(client, "generate_video", prompt="a", image_urls=str(tmp_path / "none.png"))
    assert result.is_error
    assert "Nothing was sent or charged." in text(result)
    assert world.records.calls == []


async def test_a_failed_generation_is_a_normal_answer(world: World) -> None:
    """Status, code and whether to try again; nothing that looks like success."""
    world.sandbox.faults.add(Fault("submit", "fail", code="content_policy_violation"))
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await anyio.sleep(130)
        failed = await answer(client, "get_task", task_id=task_id)
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "content_policy_violation"
    assert failed["error"]["retryable"] is False
    assert "results" not in failed or failed["results"] == []
    assert "change the prompt or the picture" in failed["next"]


async def test_an_unknown_status_is_still_running(world: World) -> None:
    """An undocumented status does not end the task."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        world.sandbox.faults.add(Fault("task", "patch", body={"status": "polishing"}))
        assert (await answer(client, "get_task", task_id=task_id))["status"] == "processing"


async def test_credits_are_shown(world: World) -> None:
    """The account's and the key's, in text and object."""
    async with world.client() as client:
        result = await call(client, "get_credits")
    assert result.structured_content is not None
    assert result.structured_content["remaining"] == 1000
    assert "1000 credits ($14.71) left" in text(result)


@ERAS
async def test_waiting_reports_progress_that_only_rises(world: World, mode: str) -> None:
    """The first notice comes at once, then one at least every ten seconds."""
    seen: list[tuple[float, float, str]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((now(), progress, message or ""))

    async with world.client(mode) as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        start = now()
        await client.call_tool("wait_for_task", {"task_id": task_id}, progress_callback=note)
    moments, values = [moment for moment, _, _ in seen], [value for _, value, _ in seen]
    assert moments[0] - start < 0.5
    assert all(later - earlier <= 10 for earlier, later in pairwise(moments))
    assert values == sorted(set(values))
    assert values[-1] <= 100
    assert any("processing" in message and "s left" in message for _, _, message in seen)


def test_progress_rises_and_stays_below_its_total() -> None:
    """Also where nothing new is known, the percentage falls, or it is 100 before the task is over."""
    shown = 0.0
    values = [shown := risen(shown, percent) for percent in (0, 0, 50, 40, 100, 100, 100)]
    assert values == sorted(set(values))
    assert values[-1] < 100


async def test_a_wait_ends_by_itself_and_says_how_to_go_on(world: World) -> None:
    """Running out of time is a normal answer, in the time that was promised."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        start = now()
        waited = await answer(client, "wait_for_task", task_id=task_id)
        assert 44 <= now() - start <= 46
        clamped = await answer(client, "wait_for_task", task_id=task_id, timeout_seconds=900)
        assert 94 <= now() - start <= 97
    assert waited["status"] == "processing"
    assert f"wait_for_task with task_id {task_id}" in waited["next"]
    assert "900 s is more than one call may wait" in clamped["next"]


async def test_zero_seconds_read_once(world: World) -> None:
    """A wait of 0 seconds is one read."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        start, reads = now(), world.records.reads
        await answer(client, "wait_for_task", task_id=task_id, timeout_seconds=0)
    assert now() - start < 1
    assert world.records.reads == reads + 1


@pytest.mark.parametrize("kind", ["garbage", "html", "empty", "lost", "cut"])
async def test_reads_that_fail_in_between_do_not_end_a_wait(world: World, kind: str) -> None:
    """The API fails for a while; the wait still sees the end."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await answer(client, "wait_for_task", task_id=task_id)
        world.sandbox.faults.add(Fault("task", kind, times=4))
        await answer(client, "wait_for_task", task_id=task_id)
        assert (await answer(client, "wait_for_task", task_id=task_id))["status"] == "completed"


async def test_a_cancelled_wait_stops_reading_and_nothing_else(world: World) -> None:
    """Within a second of the cancellation no read follows, and the task goes on."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        with anyio.move_on_after(20):
            await answer(client, "wait_for_task", task_id=task_id)
        reads = world.records.reads
        await anyio.sleep(60)
        assert world.records.reads == reads
        assert (await answer(client, "get_task", task_id=task_id))["status"] == "processing"


async def test_two_waits_on_one_task_both_end(world: World) -> None:
    """Neither of them disturbs the other."""
    ends: list[str] = []

    async def wait(client: Client, task_id: str) -> None:
        for _ in range(4):
            ends.append((await answer(client, "wait_for_task", task_id=task_id))["status"])

    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        async with anyio.create_task_group() as group:
            group.start_soon(wait, client, task_id)
            group.start_soon(wait, client, task_id)
    assert ends.count("completed") == 4


async def test_a_submission_outlives_the_call_that_made_it(world: World) -> None:
    """A client that gives up in the middle does not interrupt the paid request."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=10))
    async with world.client() as client:
        with anyio.move_on_after(3):
            await call(client, "generate_video", **ARGUMENTS)
        await anyio.sleep(20)
        assert [entry.status for entry in world.records.calls if entry.at == "submit"] == [200]


async def test_no_error_holds_the_key(world: World) -> None:
    """Not even when the API repeats it."""
    world.sandbox.faults.add(
        Fault("credits", "status", times=None, status=401, message=f"Invalid token {KEY}")
    )
    async with world.client() as client:
        result = await call(client, "get_credits")
    assert result.is_error
    assert KEY not in text(result)


async def test_a_fault_of_our_own_says_nothing_of_its_inside(world: World, monkeypatch: Any) -> None:
    """The model reads that it failed and what to do; the exception's text stays in the log."""

    async def broken(self: Any, *args: Any) -> Any:
        raise RuntimeError("inner secret")

    monkeypatch.setattr("wan_mcp.generation.service.VideoService.credits", broken)
    async with world.client() as client:
        result = await call(client, "get_credits")
    assert result.is_error
    assert "inner secret" not in text(result)
    assert "wan-mcp itself failed" in text(result)
