"""The poster of a task: a small copy of the picture that was sent, kept while the ledger has the task."""

import base64
import errno
import gc
import io
import logging
import os
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.server import MCPServer
from mcp.types import BlobResourceContents, ResourceTemplateReference
from PIL import Image, ImageChops

from tests.callers import IN_BOTH_DEPLOYMENTS, IN_MEMORY, Callers, hosted_server
from tests.calls import ARGUMENTS, ERAS, answer, call
from tests.clock import now
from tests.generation.test_keeping import Shelf
from tests.images.makers import photo, quadrants, saved, see_through, turned
from tests.ledger.rows import POSIX
from tests.server.test_stdio import imitation, serving
from tests.world import KEY, Web, World, picture
from wan_mcp.cli import tasks as command
from wan_mcp.generation.owners import OWN_KEYS, Deployment
from wan_mcp.generation.posters import MAKING_AFTER
from wan_mcp.generation.services import Services
from wan_mcp.images import Picture
from wan_mcp.images.poster import MAX_BYTES
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger
from wan_mcp.sandbox import Fault
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio

TEMPLATE = "wan://tasks/{task_id}/poster"
NOT_FOUND = -32602


async def poster(client: Client, task_id: str) -> bytes:
    """The poster, as a client gets it."""
    uri = TEMPLATE.format(task_id=task_id)
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, BlobResourceContents)
    assert (content.mime_type, content.uri) == ("image/jpeg", uri)
    return base64.b64decode(content.blob, validate=True)


async def no_poster(client: Client, task_id: str) -> str:
    """The error where there is no poster."""
    with pytest.raises(MCPError) as raised:
        await client.read_resource(TEMPLATE.format(task_id=task_id))
    assert raised.value.code == NOT_FOUND
    return raised.value.message


async def asked(client: Client, **arguments: Any) -> str:
    task_id: str = (await answer(client, "generate_video", **ARGUMENTS | arguments))["id"]
    return task_id


def folder(world: World) -> Path:
    return Path(world.environ["WAN_MCP_DATA_DIR"]) / "posters"


def kept(world: World) -> dict[str, bytes]:
    """The files, by their names; a name begins with the number of the row."""
    return {path.name: path.read_bytes() for path in sorted(folder(world).glob("*"))}


def is_of(made: bytes, original: bytes) -> bool:
    """Whether a poster shows the picture; it must be a small JPEG in the picture's proportions."""
    assert len(made) <= MAX_BYTES
    with Image.open(io.BytesIO(made)) as small, Image.open(io.BytesIO(original)) as large:
        assert (small.format, small.mode, max(small.size) <= 640) == ("JPEG", "RGB", True)
        assert abs(small.width / small.height - large.width / large.height) < 0.02
        size = (32, 32)
        steps = ImageChops.difference(small.resize(size), large.convert("RGB").resize(size))
    return max(high for _, high in steps.getextrema()) < 40  # type: ignore[misc]  # of three channels


GIVEN: dict[str, Callable[[], bytes]] = {
    "png": lambda: saved(quadrants(), "PNG"),
    "jpg": lambda: saved(photo(2400, 1800), "JPEG"),
    "webp": lambda: saved(quadrants(700, 1900), "WEBP"),
}


@ERAS
@pytest.mark.parametrize("kind", GIVEN)
async def test_the_poster_shows_the_picture_of_an_uploaded_file(
    world: World, tmp_path: Path, mode: str, kind: str
) -> None:
    """At once after the answer, as one JPEG."""
    path, content = tmp_path / f"cat.{kind}", GIVEN[kind]()
    path.write_bytes(content)
    async with world.client(mode) as client:
        assert is_of(await poster(client, await asked(client, image_urls=[str(path)])), content)


async def test_the_poster_shows_what_was_sent_rather_than_what_was_given(world: World) -> None:
    """Upright, and laid on white."""
    made = []
    async with world.client() as client:
        for given in (turned("JPEG", 6), saved(see_through(), "PNG")):
            data = f"data:image/png;base64,{base64.b64encode(given).decode()}"
            made.append(await poster(client, await asked(client, image_urls=[data])))
    assert is_of(made[0], saved(quadrants(), "PNG"))
    with Image.open(io.BytesIO(made[1])) as image:
        assert min(image.getpixel((600, 450)) or ()) > 250  # type: ignore[arg-type]


@ERAS
async def test_the_poster_of_a_web_picture_is_made_of_what_was_read_there(world: World, mode: str) -> None:
    """The picture itself is passed on by its address."""
    async with world.client(mode) as client:
        assert is_of(await poster(client, await asked(client)), picture())
    assert world.records.uploads == 0


async def test_a_picture_that_was_not_read_has_no_poster(world: World) -> None:
    """With WAN_MCP_IMAGE_CHECK=0. A later request that reads the picture cannot know that it is the same."""
    async with world.client(WAN_MCP_IMAGE_CHECK="0") as client:
        task_id = await asked(client)
        assert "No poster" in await no_poster(client, task_id)
    async with world.client() as client:
        assert await asked(client) == task_id
        assert "No poster" in await no_poster(client, task_id)
    assert kept(world) == {}


@ERAS
async def test_the_poster_is_a_template_and_no_entry_of_the_list(world: World, mode: str) -> None:
    """Its ids are completed like those of the tasks."""
    async with world.client(mode) as client:
        task_id = await asked(client)
        templates = (await client.list_resource_templates()).resource_templates
        reference = ResourceTemplateReference(type="ref/resource", uri=TEMPLATE)
        completed = await client.complete(reference, {"name": "task_id", "value": task_id[:13]})
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
    assert sorted(listed) == ["ui://wan/player.html", "wan://tasks"]
    offered = {template.uri_template: template.mime_type for template in templates}
    assert offered == {"wan://tasks/{task_id}": "application/json", TEMPLATE: "image/jpeg"}
    assert completed.completion.values == [task_id]


async def test_a_repeat_makes_the_poster_only_where_it_is_missing(world: World) -> None:
    """For example after a server was killed between the answer and the poster."""
    async with world.client() as client:
        task_id = await asked(client)
        first = await poster(client, task_id)
        [path] = folder(world).iterdir()
        before = path.stat()
        await asked(client)
        assert await poster(client, task_id) == first
        assert path.stat() == before
        path.unlink()
        assert "No poster" in await no_poster(client, task_id)
    async with world.client() as client:
        assert await asked(client) == task_id
        assert await poster(client, task_id) == first
    assert world.records.posts == 1


async def test_each_take_has_its_poster(world: World) -> None:
    """Forgetting one take removes its file alone."""
    async with world.client() as client:
        one, two = await asked(client), await asked(client, take=2)
        assert await poster(client, one) == await poster(client, two)
        assert len(kept(world)) == 2
        await command.forget(Settings.load(world.environ), one)
        assert "no task of this id" in await no_poster(client, one)
        assert is_of(await poster(client, two), picture())
    assert [name[:2] for name in kept(world)] == ["2-"]


async def test_equal_requests_at_the_same_time_share_a_poster(world: World) -> None:
    """It is made once, and all of them can read it."""
    async with world.client() as client:
        ids: set[str] = set()

        async def ask() -> None:
            task_id = await asked(client)
            assert is_of(await poster(client, task_id), picture())
            ids.add(task_id)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
    assert (len(ids), len(kept(world))) == (1, 1)


async def test_a_request_that_nobody_waits_for_any_more_has_its_poster(world: World) -> None:
    """The call's time was up; the submission goes on, and the poster is made."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=55))
    async with world.client() as client:
        assert (await call(client, "generate_video", **ARGUMENTS)).is_error
        assert kept(world) == {}
        await anyio.sleep(20)
        [listed] = (await answer(client, "list_tasks"))["tasks"]
        assert is_of(await poster(client, listed["id"]), picture())


async def test_a_request_that_was_refused_has_no_poster(world: World) -> None:
    """None is made before there is a task."""
    world.sandbox.faults.add(Fault("submit", "status", status=402))
    async with world.client() as client:
        assert (await call(client, "generate_video", **ARGUMENTS)).is_error
        await anyio.sleep(5)
    assert not folder(world).exists()


async def test_another_picture_at_the_same_address_makes_no_poster(world: World) -> None:
    """A repeat is answered with the task that was made of the first one."""
    shown = {"picture": picture()}

    class Changing(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.headers["host"] == "pictures.example.com":
                return httpx2.Response(200, content=shown["picture"])
            return await web.handle_async_request(request)

    web = world.transport
    assert isinstance(web, Web)
    world.transport = Changing()
    async with world.client() as client:
        task_id = await asked(client)
        await poster(client, task_id)
        [path] = folder(world).iterdir()
        path.unlink()
        shown["picture"] = saved(quadrants(), "PNG")
        again = await answer(client, "generate_video", **ARGUMENTS)
        assert (again["id"], again["repeated"]) == (task_id, True)
        assert "No poster" in await no_poster(client, task_id)


async def test_a_poster_is_read_by_the_key_alone_that_asked_for_it(world: World) -> None:
    """Another key of the same ledger gets the answer for a task that does not exist."""
    async with world.client() as client:
        task_id = await asked(client)
        await poster(client, task_id)
        unknown = await no_poster(client, "task-unified-1-nothing")
    world.sandbox.key = f"{KEY}-two"
    async with world.client(EVOLINK_API_KEY=f"{KEY}-two") as client:
        assert await no_poster(client, task_id) == unknown
        own = await asked(client)
        assert own != task_id
        assert is_of(await poster(client, own), picture())
    assert len(kept(world)) == 2


async def test_a_key_that_has_only_read_a_task_has_no_poster_of_it(world: World) -> None:
    """For that key's ledger, the task was made elsewhere."""
    async with world.client() as client:
        task_id = await asked(client)
        await poster(client, task_id)
    world.sandbox.key = f"{KEY}-two"
    async with world.client(EVOLINK_API_KEY=f"{KEY}-two") as client:
        await call(client, "get_task", task_id=task_id)
        await no_poster(client, task_id)


@pytest.mark.parametrize(
    "task_id",
    ["nothing", "a%2Fb", "..%2F..%2Fledger.sqlite3", "%2Fetc%2Fpasswd", "%00", "%FF", "a" * 300, "", "a/b"],
)
async def test_an_id_that_is_none_is_a_missing_resource(world: World, task_id: str) -> None:
    """Whatever it looks like; nothing is asked upstream."""
    async with world.client() as client:
        await asked(client)
        calls = len(world.records.calls)
        await no_poster(client, task_id)
        assert len(world.records.calls) == calls


async def test_without_a_key_the_error_says_what_is_missing(world: World) -> None:
    """It is an error about the key, not about the poster."""
    async with world.client(EVOLINK_API_KEY="") as client:
        with pytest.raises(MCPError, match="No Evolink API key is set") as raised:
            await client.read_resource(TEMPLATE.format(task_id="task-unified-1-a"))
    assert raised.value.code != NOT_FOUND


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "text": lambda whole: b"<html></html>",
    "too long": lambda whole: whole + bytes(MAX_BYTES),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_poster_counts_as_missing(world: World, damage: str) -> None:
    """A repeat makes it again."""
    async with world.client() as client:
        task_id = await asked(client)
        whole = await poster(client, task_id)
        [path] = folder(world).iterdir()
        path.write_bytes(DAMAGES[damage](whole))
        assert "The task itself is not affected" in await no_poster(client, task_id)
        await asked(client)
        assert await poster(client, task_id) == whole


async def test_a_folder_that_cannot_be_used_costs_the_poster_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and the video is made."""
    folder(world).parent.mkdir()
    folder(world).write_text("in the way")
    async with world.client() as client:
        task_id = await asked(client)
        await no_poster(client, task_id)
        for _ in range(3):
            done = await answer(client, "wait_for_task", task_id=task_id)
    assert done["status"] == "completed"
    assert [record.levelname for record in caplog.records if "no poster of request #1" in record.message] == [
        "WARNING"
    ]


async def test_a_full_disk_costs_the_poster_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No part of it is left; once there is room, a repeat makes it."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with world.client() as client:
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            task_id = await asked(client)
            await no_poster(client, task_id)
        assert kept(world) == {}
        assert "No space left on device" in caplog.text
        await asked(client)
        await poster(client, task_id)


@POSIX
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
async def test_a_folder_without_the_right_to_write_costs_the_poster_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged like any other failure."""
    folder(world).mkdir(parents=True, mode=0o500)
    async with world.client() as client:
        await no_poster(client, await asked(client))
    assert "no poster of request #1" in caplog.text


async def test_a_failure_that_nobody_expects_costs_the_poster_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on, and nothing of the picture is in the log."""
    caplog.set_level(logging.DEBUG, "wan_mcp")

    def broken(content: bytes) -> bytes:
        raise RuntimeError

    monkeypatch.setattr("wan_mcp.images.loader.poster", broken)
    content = saved(photo(800, 600), "PNG")
    data = base64.b64encode(content).decode()
    async with world.client() as client:
        task_id = await asked(client, image_urls=[f"data:image/png;base64,{data}"])
        await no_poster(client, task_id)
        assert (await answer(client, "get_task", task_id=task_id))["id"] == task_id
    assert "failed unexpectedly" in caplog.text
    assert data[40:90] not in caplog.text
    assert repr(content[200:210])[2:-1] not in caplog.text


@POSIX
async def test_the_files_are_as_private_as_the_ledger(world: World) -> None:
    """Their names hold nothing that upstream chose."""
    async with world.client() as client:
        await poster(client, await asked(client))
    [path] = folder(world).iterdir()
    assert re.fullmatch(r"1-[0-9a-f]{16}\.jpg", path.name)
    modes = [stat.S_IMODE(file.stat().st_mode) for file in (folder(world), path)]
    assert modes == [0o700, 0o600]


async def test_a_row_that_is_forgotten_while_its_poster_is_made_leaves_none(world: World) -> None:
    """By another program, between the answer and the file."""
    async with world.client() as client:
        await poster(client, await asked(client, take=2))
        await asked(client)
        assert await world.forget("#2")
        await anyio.sleep(5)
        assert [name[:2] for name in kept(world)] == ["1-"]


async def test_a_new_ledger_has_none_of_the_posters_of_the_old_one(world: World) -> None:
    """Its rows have the same numbers; the files go with the first poster that is made."""
    async with world.client() as client:
        old = await asked(client)
        await poster(client, old)
    [left] = kept(world)
    for path in folder(world).parent.glob(f"{FILE_NAME}*"):
        path.unlink()
    await anyio.sleep(1)
    async with world.client() as client:
        await call(client, "get_task", task_id=old)
        await no_poster(client, old)
        assert list(kept(world)) == [left]
        new = await asked(client, prompt="A dog.")
        await poster(client, new)
        await no_poster(client, old)
    assert [name[:2] for name in kept(world)] == ["2-"]


async def test_the_picture_is_not_kept_in_memory_once_the_poster_is_made(world: World) -> None:
    """A server that runs for weeks keeps the bytes of no picture."""
    async with world.client() as client:
        for take in range(1, 4):
            await poster(client, await asked(client, take=take))
        gc.collect()
        assert [found for found in gc.get_objects() if isinstance(found, Picture)] == []


@IN_BOTH_DEPLOYMENTS
async def test_another_server_shows_the_poster_that_one_has_made(
    tmp_path: Path, deployment: Deployment
) -> None:
    """With the same ledger and storage, and a data folder of its own; to its owner alone."""
    callers = Callers(tmp_path, deployment)
    shared = tmp_path / "storage"
    environ = callers.world.environ | IN_MEMORY | {"WAN_MCP_STORAGE_URL": shared.as_uri()}

    def server(data: str) -> MCPServer[Services]:
        settings = Settings.load(environ | {"WAN_MCP_DATA_DIR": str(tmp_path / data)})
        make_runtime = partial(callers.world.runtime, ledger=SqliteLedger(tmp_path / "data"))
        return hosted_server(deployment, settings, make_runtime, callers.whose, now)

    async with Client(server("data")) as one, Client(server("other")) as another:
        task_id = await asked(one)
        made = await poster(one, task_id)
        assert is_of(made, picture())
        assert await poster(another, task_id) == made
        callers.name = "two"
        await no_poster(another, task_id)
    [path] = (shared / "posters").iterdir()
    assert re.fullmatch(r"[0-9a-f]{40}\.jpg", path.name)
    for data in ("data", "other"):
        assert not (tmp_path / data / "posters").exists()


async def test_a_storage_that_fails_costs_the_poster_alone(tmp_path: Path) -> None:
    """The answer does not wait for it, and whoever reads it is told; once it works, a repeat makes it."""
    callers, shelf = Callers(tmp_path, OWN_KEYS), Shelf(tmp_path)
    async with callers.client(**(shelf.environ | {"WAN_MCP_AUTOSAVE": "0"})) as (client, _):
        shelf.fail()
        began = anyio.current_time()
        task_id = await asked(client)
        assert anyio.current_time() - began < MAKING_AFTER
        with pytest.raises(MCPError, match="storage cannot be used now") as raised:
            await poster(client, task_id)
        assert raised.value.code != NOT_FOUND
        shelf.work()
        assert await asked(client) == task_id
        assert is_of(await poster(client, task_id), picture())
    assert callers.world.records.posts == 1


@pytest.mark.slow
class TestInARealProcess:
    """With real kills."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_a_server_killed_after_its_answer_leaves_the_poster_to_a_repeat(
        self, tmp_path: Path
    ) -> None:
        """Nothing is paid for it."""
        (tmp_path / "cat.png").write_bytes(picture())
        request: Any = {"prompt": "go", "image_urls": [str(tmp_path / "cat.png")]}
        async with imitation(seconds=60) as (sandbox, url):
            async with serving(tmp_path, url) as server:
                task_id = (await server.tool("generate_video", **request))["structuredContent"]["id"]
                server.process.kill()
            assert list((tmp_path / "data").rglob("*.jpg")) == []
            params = {"uri": TEMPLATE.format(task_id=task_id)}
            async with serving(tmp_path, url) as server:
                missing = await server.answer(await server.call("resources/read", params))
                assert missing["error"]["code"] in (NOT_FOUND, -32002)
                await server.tool("generate_video", **request)
                found = await server.answer(await server.call("resources/read", params))
        [content] = found["result"]["contents"]
        assert is_of(base64.b64decode(content["blob"]), picture())
        assert sandbox.records.posts == 1
