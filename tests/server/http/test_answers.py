"""What callers of a hosted server read: nothing about its machine, whatever they ask and whatever fails."""

import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import TextContent, TextResourceContents

from tests.callers import IN_BOTH_DEPLOYMENTS, hosted_client, hosted_server, owner_of
from tests.calls import ADDRESS, ERAS, PROMPT, answer, call, made, text
from tests.server.tasks_client import TasksClient, ask
from tests.world import KEY, World, render_one_second
from wan_mcp.errors import (
    DecoderMissing,
    DiskError,
    InternalError,
    LedgerError,
    NoPoster,
    PictureUnavailable,
    SettingsError,
    TakenOver,
    VideoError,
    WanError,
)
from wan_mcp.generation.owners import LOCAL, ONE_ACCOUNT, OWN_KEYS, Deployment
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.saving import VideoSaver
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.images import PictureLoader
from wan_mcp.images.unsupported import SAVE_AGAIN
from wan_mcp.sandbox import Fault
from wan_mcp.server import card
from wan_mcp.server.kept import keeping
from wan_mcp.server.told import told
from wan_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("in_utc")]

NEVER = (
    *("this machine", "wan-mcp setup", "EVOLINK_", "WAN_MCP_", "stderr"),
    *("saved_to", "missing", "saved at", "path", "folder", "the user can raise", "restart"),
)
"""What is not true of a hosted server, or not for its callers to know."""
LATER = "Try again in a minute; if it stays so, tell whoever runs this server."


def places(world: World) -> set[str]:
    """Folders of the server's machine."""
    found = {world.environ[name] for name in ("WAN_MCP_DATA_DIR", "WAN_MCP_OUTPUT_DIR")}
    return found | {str(Path.home()), tempfile.gettempdir(), sys.prefix, str(Path.cwd())}


def leaks(world: World, said: str) -> list[str]:
    """The folders and phrases in a text that no caller may read."""
    said = said.replace("File name, without a folder", "")  # of a film, where it is downloaded
    return [one for one in (*places(world), *NEVER) if one in said]


async def failing(work: Any) -> str:
    """What a client reads of a request that fails."""
    with pytest.raises(MCPError) as failed:
        await work
    return json.dumps([str(failed.value), failed.value.error.model_dump(mode="json")])


async def everything(client: Client, task_id: str) -> AsyncIterator[str]:
    """All that a client can read, of itself and of one task."""
    yield str(client.instructions)
    for tool in (await client.list_tools()).tools:
        yield tool.model_dump_json()
    for prompt in (await client.list_prompts()).prompts:
        yield prompt.model_dump_json()
    yield (await client.get_prompt("animate_image", {"image": ADDRESS, "idea": "A cat."})).model_dump_json()
    yield (await client.list_resources()).model_dump_json()
    yield (await client.list_resource_templates()).model_dump_json()
    for uri in ("wan://tasks", f"wan://tasks/{task_id}"):
        yield (await client.read_resource(uri)).model_dump_json()
    request = {"prompt": PROMPT, "image_urls": [ADDRESS], "quality": "480p"}
    for name, arguments in (
        ("generate_video", request),
        ("generate_video", request | {"image_urls": [task_id], "prompt": "The cat sleeps."}),
        ("generate_video_from_text", {"prompt": PROMPT}),
        ("get_task", {"task_id": task_id}),
        ("wait_for_task", {"task_id": task_id}),
        ("wait_for_task", {"task_id": task_id, "timeout_seconds": 600}),
        ("list_tasks", {}),
        ("preview_video", {"task_id": task_id}),
        ("get_credits", {}),
        ("generate_video", {}),
        ("get_task", {"task_id": "task-unified-1-nosuch"}),
        ("preview_video", {"task_id": "task-unified-1-nosuch"}),
        ("generate_video", request | {"file_name": "/etc/hostname"}),
    ):
        result = await call(client, name, **arguments)
        yield json.dumps([result.structured_content, text(result), result.meta])


@asynccontextmanager
async def saved_by_a_server_on_the_same_machine(
    world: World, deployment: Deployment, *, then_lost: bool = False
) -> AsyncIterator[str]:
    """A task of the same owner whose video a server over stdio has saved, in the ledger that they share."""
    settings = Settings.load(world.environ)
    async with world.runtime(settings) as runtime:
        service = Services(runtime, lambda: owner_of(deployment)).current()
        request = GenerationRequest(prompt=PROMPT, image_urls=[ADDRESS], quality="480p")
        task_id = (await service.generate(request)).task.id
        await anyio.sleep(100)
        saved = (await service.save(task_id, None)).saved
        assert saved is not None
        if then_lost:
            await anyio.Path(saved.path).unlink()
    yield task_id


@IN_BOTH_DEPLOYMENTS
@ERAS
@pytest.mark.parametrize("then_lost", [False, True])
async def test_no_answer_tells_of_the_servers_machine(
    tmp_path: Path, deployment: Deployment, mode: str, then_lost: bool
) -> None:
    """Not even of a task whose video another server saved there, for the same owner."""
    world = World(tmp_path, seconds=60, render=render_one_second)
    async with (
        saved_by_a_server_on_the_same_machine(world, deployment, then_lost=then_lost) as task_id,
        hosted_client(world, deployment, mode) as client,
    ):
        said = [one async for one in everything(client, task_id)]
    assert any(task_id in one for one in said)
    assert [(found, one) for one in said if (found := leaks(world, one))] == []


@IN_BOTH_DEPLOYMENTS
async def test_the_tasks_extension_tells_nothing_of_it_either(tmp_path: Path, deployment: Deployment) -> None:
    """A client that waits without its model reads the same answer."""
    world = World(tmp_path, seconds=60)
    settings = Settings.load(world.environ)
    async with saved_by_a_server_on_the_same_machine(world, deployment) as task_id:
        server = hosted_server(deployment, settings, world.runtime)
        async with Client(server, extensions=[TasksClient()]) as client:
            said = json.dumps(await ask(client.session, "tasks/get", task_id))
    assert "completed" in said
    assert leaks(world, said) == []


async def test_a_video_that_nobody_waited_for_is_given_by_evolinks_link(world: World) -> None:
    """The caller is told until when it works, and how to keep the video; get_task alone does not keep it."""
    async with hosted_client(world, OWN_KEYS) as client:
        asked = await answer(client, "generate_video", prompt=PROMPT, image_urls=[ADDRESS], quality="480p")
        assert (
            asked["next"]
            == f"Call wait_for_task with task_id {asked['id']} to wait for it. About 120 s are left. "
            "The server keeps the video when such a call sees the end."
        )
        await anyio.sleep(200)
        done = await answer(client, "get_task", task_id=asked["id"])
        listed = await answer(client, "list_tasks")
        await anyio.sleep(25 * 3600)
        gone = await answer(client, "get_task", task_id=asked["id"])
    assert done["next"].startswith(
        f"Tell the user: the video is ready at {done['results'][0]} (the link works until"
    )
    assert done["next"].endswith(
        "It is not kept on this server yet: "
        f"call save_video with task_id {asked['id']} to keep it for 30 days."
    )
    assert listed["next"] == f"Call save_video with task_id {asked['id']} to keep that video on this server."
    assert "and it is not kept on this server. generate_video with another take" in gone["next"]
    assert not await anyio.Path(world.environ["WAN_MCP_OUTPUT_DIR"]).exists()


async def test_what_takes_too_long_is_to_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the picture on the server's machine is not possible."""

    async def stall(*arguments: Any) -> Any:
        await anyio.sleep_forever()

    world = World(tmp_path, seconds=60)
    async with hosted_client(world, OWN_KEYS) as client:
        task_id = await made(client)
        monkeypatch.setattr(VideoSaver, "local_file", stall)
        preview = await call(client, "preview_video", task_id=task_id)
        continued = await call(client, "generate_video", prompt="It sleeps.", image_urls=[task_id])
        monkeypatch.setattr(PictureLoader, "open", stall)
        elsewhere = await call(client, "generate_video", prompt="It sleeps.", image_urls=[ADDRESS])
    assert text(preview) == (
        "The video could not be fetched and decoded within 45 seconds. "
        f"Call save_video with task_id {task_id}, then preview_video again. Nothing was charged."
    )
    slow = "image_urls: the picture could not be read within 45 seconds."
    assert text(continued) == f"{slow} Make the same request again. Nothing was sent or charged."
    assert text(elsewhere) == (
        f"{slow} Give a smaller picture, or upload it with prepare_upload. Nothing was sent or charged."
    )


@IN_BOTH_DEPLOYMENTS
async def test_a_ledger_that_cannot_be_used_is_not_named(
    world: World, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """To tools, resources and extension; the log has its path."""
    data = anyio.Path(world.environ["WAN_MCP_DATA_DIR"])
    await data.write_text("in the way")
    told_to_all = f"The server's ledger cannot be used now. {LATER} Nothing was sent or charged."
    async with hosted_client(world, deployment) as client:
        for name, arguments in (
            ("generate_video", {"prompt": PROMPT, "image_urls": [ADDRESS]}),
            ("list_tasks", {}),
        ):
            result = await call(client, name, **arguments)
            assert (result.is_error, text(result)) == (True, told_to_all), name
        for uri in ("wan://tasks", "wan://tasks/task-unified-1-a/poster"):
            said = await failing(client.read_resource(uri))
            assert leaks(world, said) == [], said
    assert str(data) in caplog.text


@IN_BOTH_DEPLOYMENTS
async def test_what_fails_unexpectedly_is_not_told(
    world: World, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the server finds it in the log."""

    async def fail(*arguments: Any) -> Any:
        raise OSError(13, "Permission denied", world.environ["WAN_MCP_DATA_DIR"])

    monkeypatch.setattr(VideoService, "tasks", fail)
    async with hosted_client(world, deployment) as client:
        result = await call(client, "list_tasks")
        read = await failing(client.read_resource("wan://tasks"))
    assert text(result) == (
        "The server itself failed. Try once more; if it fails again, tell whoever runs this server. "
        "Nothing was charged."
    )
    assert leaks(world, read) == [], read


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        (
            OWN_KEYS,
            "Check the Evolink key that the client sends in Authorization or X-API-Key; keys are at "
            "https://evolink.ai/dashboard/keys. Nothing was charged.",
        ),
        (
            ONE_ACCOUNT,
            "Evolink does not accept the server's own key for this. Tell whoever runs this server. "
            "Nothing was charged.",
        ),
    ],
    ids=["own keys", "one account"],
)
async def test_a_refused_key_is_checked_by_whose_key_it_is(
    world: World, deployment: Deployment, said: str
) -> None:
    """The caller's own, or the server's."""
    world.sandbox.faults.add(Fault("submit", "status", status=401, message="Invalid token"))
    async with hosted_client(world, deployment) as client:
        result = await call(client, "generate_video", prompt=PROMPT, image_urls=[ADDRESS])
    assert result.is_error
    assert re.sub(r" \(request id \w+\)", "", text(result)).endswith(said)
    assert leaks(world, text(result)) == []


HIDDEN = "/srv/data"


def quoting(error: WanError) -> WanError:
    """A refusal that quotes another error, as that of a task that cannot be continued does."""
    quotes = PictureUnavailable(
        f"image_urls: it cannot be continued. {error.message}", next_step=error.next_step
    )
    quotes.__cause__ = error
    return quotes


@pytest.mark.parametrize(
    ("error", "message", "next_step"),
    [
        (
            LedgerError(f"The ledger {HIDDEN} …", next_step="…"),
            "The server's ledger cannot be used now.",
            LATER,
        ),
        (DiskError(f"… saved in {HIDDEN}", next_step="…"), "The server's disk cannot be used now.", LATER),
        (
            SettingsError("No key.", next_step=f"Run {HIDDEN}"),
            "The server is not set up for this call.",
            LATER,
        ),
        (
            InternalError(),
            "The server itself failed.",
            "Try once more; if it fails again, tell whoever runs this server.",
        ),
        (NoPoster("… for this key."), "No poster of this task's picture is kept for you.", ""),
        (TakenOver("Taken over.", next_step="Ask again."), "Taken over.", "Ask again."),
        (DecoderMissing("A HEIC picture.", next_step=f"Run {HIDDEN}/pip …"), "A HEIC picture.", SAVE_AGAIN),
        (
            VideoError("No video yet.", next_step="Call wait_for_task."),
            "No video yet.",
            "Call wait_for_task.",
        ),
        (
            quoting(DiskError(f"… saved in {HIDDEN}", next_step="Free some space.")),
            "image_urls: it cannot be continued. The server's disk cannot be used now.",
            LATER,
        ),
        (
            quoting(VideoError("No video yet.", next_step="Call wait_for_task.")),
            "image_urls: it cannot be continued. No video yet.",
            "Call wait_for_task.",
        ),
    ],
)
def test_an_error_is_told_without_what_belongs_to_the_operator(
    error: WanError, message: str, next_step: str
) -> None:
    """On the user's own machine it is told as it is."""
    for deployment in (OWN_KEYS, ONE_ACCOUNT):
        assert told(error, deployment) == (message, next_step)
    assert told(error, LOCAL) == (error.message, error.next_step)


@IN_BOTH_DEPLOYMENTS
async def test_the_card_knows_that_there_are_no_files(deployment: Deployment) -> None:
    """Its page differs from that of a user's own server in one mark."""
    async with Client(hosted_server(deployment)) as client:
        (content,) = (await client.read_resource(card.PLAYER)).contents
    assert isinstance(content, TextResourceContents)
    page = Path(card.__file__).with_name("player.html").read_text("utf-8")
    assert content.text == page.replace('<html lang="en">', '<html data-hosted lang="en">')
    assert content.text != page


@IN_BOTH_DEPLOYMENTS
async def test_the_prompt_gives_the_link(deployment: Deployment) -> None:
    """It tells for how long the server keeps it."""
    async with Client(hosted_server(deployment)) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert names == ["animate_image", "storyboard"]
        (message,) = (await client.get_prompt("animate_image", {"image": ADDRESS, "idea": "A cat."})).messages
    assert isinstance(message.content, TextContent)
    kept = keeping(deployment.under(Settings.load({})))
    assert message.content.text.rstrip().endswith(
        f"the task is over, and give the user the video's link. {kept}"
    )
    assert KEY not in message.content.text
