"""What makes two requests the same: the picture's content, its address, and the prompt."""

import io
import itertools
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from PIL import Image

from tests.calls import ADDRESS, ARGUMENTS, answer, call, text
from tests.generation.gateway import gateway, generate
from tests.world import World, picture
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


class Host(httpx2.AsyncBaseTransport):
    """A host of pictures beside the sandbox, which answers as a test says."""

    def __init__(self, world: World) -> None:
        self._sandbox = world.transport
        self.content = picture()
        self.status = 200
        self.encodes_anew = False
        self._numbers = itertools.count()
        world.transport = self

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.headers["host"] != "pictures.example.com":
            return await self._sandbox.handle_async_request(request)
        content = self.content
        if self.encodes_anew:
            stream = io.BytesIO()
            shown = Image.open(io.BytesIO(content))
            shown.save(stream, "GIF", comment=f"made for reader {next(self._numbers)}".encode())
            content = stream.getvalue()
        return httpx2.Response(self.status, content=content, headers={"content-type": "image/png"})


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = gateway(tmp_path)
    del world.environ["WAN_MCP_IMAGE_CHECK"]
    return world


@pytest.fixture
def host(world: World) -> Host:
    return Host(world)


async def die_after_paying(world: World, **arguments: Any) -> None:
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.service() as service:
        with anyio.move_on_after(1):
            await generate(service, **arguments)
    assert len(world.records.paid) == 1


@pytest.mark.parametrize("killed", [False, True], ids=["asked twice", "killed"])
async def test_a_host_that_encodes_anew_for_each_reader_shows_one_picture(
    world: World, host: Host, killed: bool
) -> None:
    """The picture has to be changed, and its bytes differ each time: its address says that it is the same."""
    host.encodes_anew = True
    if killed:
        await die_after_paying(world)
    async with world.service() as service:
        first = await generate(service)
        again = await generate(service)
    assert first.task.id == again.task.id
    assert len(world.records.paid) == 1
    assert len({str(call.body) for call in world.records.calls if call.at == "submit"}) == 1


SIGNED = {
    "S3": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261124T1000{0}Z&X-Amz-Signature=ab{0}",
    "Google": "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=2026{0}&X-Goog-Signature=ab{0}",
    "CloudFront": "Expires=17900000{0}&Signature=a~b{0}&Key-Pair-Id=K1",
    "Azure": "sv=2024-11-04&se=2026-11-24T10%3A{0}%3A00Z&sr=b&sp=r&sig=ab{0}%3D",
    "Discord": "ex=6744{0}&is=6743{0}&hm=ab{0}",
}


@pytest.mark.parametrize("signer", SIGNED)
@pytest.mark.parametrize("check", ["on", "off"])
async def test_a_fresh_signature_makes_no_other_request(
    world: World, host: Host, signer: str, check: str
) -> None:
    """The signed address has the same picture, with and without WAN_MCP_IMAGE_CHECK."""
    world.environ["WAN_MCP_IMAGE_CHECK"] = check
    first, second = (f"{ADDRESS}?width=9&{SIGNED[signer].format(number)}" for number in (10, 11))
    host.encodes_anew = True
    async with world.service() as service:
        one = await generate(service, image_urls=[first])
        other = await generate(service, image_urls=[second])
        third = await generate(service, image_urls=[second.replace("width=9", "width=8")])
    assert one.task.id == other.task.id != third.task.id
    assert len(world.records.paid) == 2


async def test_a_path_and_the_address_of_the_same_bytes_are_one_request(
    world: World, host: Host, tmp_path: Path
) -> None:
    """Wherever it comes from, it is the same picture; so is a data: URI."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(host.content)
    async with world.service() as service:
        by_path = await generate(service, image_urls=[str(path)])
        by_address = await generate(service)
        path.unlink()
        gone = await generate(service, image_urls=[str(path)])
    assert by_path.task.id == by_address.task.id == gone.task.id
    assert len(world.records.paid) == 1


async def test_a_file_that_was_overwritten_is_another_picture(world: World, tmp_path: Path) -> None:
    """The same path, other bytes: another request."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(picture(800, 600))
    async with world.service() as service:
        first = await generate(service, image_urls=[str(path)])
        path.write_bytes(picture(700, 600))
        second = await generate(service, image_urls=[str(path)])
    assert first.task.id != second.task.id
    assert not second.repeated


async def test_another_picture_at_the_same_address_is_answered_as_it_was_sent(
    world: World, host: Host
) -> None:
    """The answer is the old task with the old picture's size, and says that the picture has changed."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        host.content = picture(500, 500)
        again = await call(client, "generate_video", **ARGUMENTS)
        other = await answer(client, "generate_video", **ARGUMENTS, take=2)
    assert again.structured_content is not None
    assert again.structured_content["id"] == first["id"]
    assert again.structured_content["image"] == first["image"]
    assert first["image"]["width"] == 800
    assert "The picture at that address has changed since" in text(again)
    assert other["image"]["width"] == 500


@pytest.mark.parametrize("status", [404, 403, 503])
async def test_a_web_picture_that_cannot_be_read_any_more_finds_its_request(
    world: World, host: Host, status: int
) -> None:
    """The paid request is found without its picture; another request with that picture is refused."""
    await die_after_paying(world)
    host.status = status
    async with world.client() as client:
        found = await answer(client, "generate_video", **ARGUMENTS)
        again = await answer(client, "generate_video", **ARGUMENTS)
        other = await call(client, "generate_video", **(ARGUMENTS | {"prompt": "Another."}))
    assert found["id"] == again["id"] == world.records.paid[0].task_id
    assert found["image"]["width"] == 800
    assert other.is_error
    assert f"answers {status}" in text(other)
    assert text(other).endswith("Nothing was sent or charged.")
    assert len(world.records.paid) == 1


async def test_a_file_that_was_deleted_finds_its_request(world: World, tmp_path: Path) -> None:
    """After a kill, and after the answer; and only within the repeat window."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(picture())
    await die_after_paying(world, image_urls=[str(path)])
    path.unlink()
    arguments = ARGUMENTS | {"image_urls": [str(path)]}
    async with world.client() as client:
        found = await answer(client, "generate_video", **arguments)
        by_uri = await answer(client, "generate_video", **(arguments | {"image_urls": [path.as_uri()]}))
        assert found["id"] == by_uri["id"] == world.records.paid[0].task_id
        await anyio.sleep(25 * 3600)
        late = await call(client, "generate_video", **arguments)
    assert late.is_error
    assert "does not exist" in text(late)
    assert len(world.records.paid) == 1


async def test_how_a_prompt_is_written_makes_no_other_request(world: World, host: Host) -> None:
    """Composed or decomposed letters, line breaks, double spaces; other words do."""
    prompts = (
        "Le café  s\u2019\u00e9veille.",
        "Le cafe\u0301 s\u2019e\u0301veille.",
        " Le café\n\ts\u2019éveille. ",
    )
    async with world.service() as service:
        found = {(await generate(service, prompt)).task.id for prompt in prompts}
        other = await generate(service, "Le cafe s\u2019eveille.")
    assert len(found) == 1
    assert other.task.id not in found
    assert world.records.paid[0].prompt == prompts[0]
