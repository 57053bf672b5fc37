"""Results: real videos of the caller's picture, for a day."""

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from PIL import Image, ImageChops, ImageStat

from tests.world import render_one_second
from wan_mcp.sandbox import Sandbox, create_app

pytestmark = pytest.mark.anyio

SUBMIT = "/v1/videos/generations"
DAY = 24 * 3600

Connect = Callable[[Sandbox], httpx2.AsyncClient]
MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
async def result(client: httpx2.AsyncClient, order: dict[str, Any], clock: Any) -> str:
    """The address of a video that has just been finished."""
    task = (await client.post(SUBMIT, json=order)).json()
    clock.advance(10)
    url: str = (await client.get(f"/v1/tasks/{task['id']}")).json()["results"][0]
    return url


async def test_a_result_needs_no_key(client: httpx2.AsyncClient, result: str, sandbox: Sandbox) -> None:
    """It is an ordinary download."""
    del client.headers["authorization"]

    response = await client.get(result)

    assert response.status_code == 200
    assert response.headers["content-type"] == "video/mp4"
    assert response.content.endswith(b"bytes, 5 s, 720p")
    assert sandbox.records.calls[-1].at == "result"


async def test_a_part_of_a_result_can_be_asked_for(client: httpx2.AsyncClient, result: str) -> None:
    """Ranges, their limits, and an ETag that does not change."""
    whole = await client.get(result)
    part = await client.get(result, headers={"range": "bytes=2-5", "if-range": whole.headers["etag"]})
    outside = await client.get(result, headers={"range": "bytes=1000-"})
    head = await client.head(result)

    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole.content)}"
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
    assert head.headers["etag"] == whole.headers["etag"]


async def test_a_result_is_gone_after_a_day(client: httpx2.AsyncClient, result: str, clock: Any) -> None:
    """The task still names its link."""
    clock.advance(DAY - 1)
    assert (await client.get(result)).status_code == 200
    clock.advance(1)
    assert (await client.get(result)).status_code == 404


async def test_there_is_no_result_before_the_end(
    client: httpx2.AsyncClient, order: dict[str, Any], clock: Any
) -> None:
    """Nor for an unknown task."""
    task = (await client.post(SUBMIT, json=order)).json()
    clock.advance(9)

    assert (await client.get(f"/results/{task['id']}.mp4")).status_code == 404
    assert (await client.get("/results/task-unified-1-abcdefgh.mp4")).status_code == 404


async def test_a_video_is_made_once_however_many_ask_for_it(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any
) -> None:
    """Readers at the same moment share the work."""
    made = []

    def render(picture: bytes, seconds: int, quality: str) -> bytes:
        made.append((seconds, quality))
        return b"film"

    client = connect(make_sandbox(render=render))
    task = (await client.post(SUBMIT, json=order | {"duration": 10, "quality": "480p"})).json()
    clock.advance(10)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.get, f"/results/{task['id']}.mp4")

    assert made == [(10, "480p")]


async def test_videos_are_removed_when_the_application_ends(
    make_sandbox: MakeSandbox,
    order: dict[str, Any],
    clock: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They live in a temporary folder of their own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = create_app(make_sandbox())
    transport = httpx2.ASGITransport(app)
    key = {"authorization": "Bearer sk-sandbox"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://sandbox.test", headers=key) as client,
    ):
        task = (await client.post(SUBMIT, json=order)).json()
        clock.advance(10)
        await client.get(f"/results/{task['id']}.mp4")
        assert f"{task['id']}.mp4" in _names_inside(tmp_path)

    assert _names_inside(tmp_path) == []


def _names_inside(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def test_a_missing_library_is_named(
    connect: Connect,
    make_sandbox: MakeSandbox,
    order: dict[str, Any],
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the making of videos needs it."""
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "wan_mcp.sandbox.render", raising=False)
    client = connect(make_sandbox(render=None))
    task = (await client.post(SUBMIT, json=order)).json()
    clock.advance(10)

    response = await client.get(f"/results/{task['id']}.mp4")

    assert response.status_code == 500
    assert response.json()["error"]["message"] == "Making videos needs PyAV: pip install av"


@pytest.mark.slow
async def test_the_video_is_a_playable_film_of_the_picture(
    connect: Connect, make_sandbox: MakeSandbox, order: dict[str, Any], clock: Any, web: dict[str, bytes]
) -> None:
    """H.264 of exactly five seconds that begins with the picture and moves from there."""
    av = pytest.importorskip("av")
    picture = _scene()
    web[order["image_urls"][0]] = _png(picture)
    client = connect(make_sandbox(render=None))
    task = (await client.post(SUBMIT, json=order | {"quality": "480p"})).json()
    clock.advance(10)

    content = (await client.get(f"/results/{task['id']}.mp4")).content

    with av.open(BytesIO(content)) as container:
        stream = container.streams.video[0]
        facts = (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height, stream.average_rate)
        frames = [frame.to_image() for frame in container.decode(stream)]
        length = stream.duration * stream.time_base
    assert facts == ("h264", "yuv420p", 784, 522, 24)
    assert (len(frames), length) == (120, 5)
    assert content.index(b"moov") < content.index(b"mdat")
    assert _difference(frames[0], picture.resize((784, 522))) < 5
    assert _difference(frames[-1], frames[0]) > 10
    assert 0 < _difference(frames[60], frames[61]) < _difference(frames[-1], frames[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ({}, (854, 480)),
        ({"aspect_ratio": "9:16"}, (480, 854)),
        ({"aspect_ratio": "1:1"}, (640, 640)),
        ({"aspect_ratio": "4:3", "quality": "720p"}, (1108, 832)),
        ({"aspect_ratio": "16:9", "quality": "720p"}, (1280, 720)),
    ],
)
async def test_a_video_from_text_has_the_shape_that_was_asked_for(
    connect: Connect,
    make_sandbox: MakeSandbox,
    text_order: dict[str, Any],
    clock: Any,
    shape: dict[str, str],
    size: tuple[int, int],
) -> None:
    """Something is drawn, and it moves; a second shows that."""
    av = pytest.importorskip("av")
    client = connect(make_sandbox(render=render_one_second))
    task = (await client.post(SUBMIT, json=text_order | {"quality": "480p"} | shape)).json()
    clock.advance(10)

    content = (await client.get(f"/results/{task['id']}.mp4")).content

    with av.open(BytesIO(content)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    assert (len(frames), frames[0].size) == (24, size)
    assert max(ImageStat.Stat(frames[0]).stddev) > 20
    assert _difference(frames[-1], frames[0]) > 3


def _scene() -> Image.Image:
    """Something with colours, edges and gradients."""
    red = Image.linear_gradient("L").resize((900, 600))
    green = Image.radial_gradient("L").resize((900, 600))
    blue = Image.effect_mandelbrot((900, 600), (-2, -1, 1, 1), 40)
    return Image.merge("RGB", (red, green, blue))


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _difference(one: Image.Image, other: Image.Image) -> float:
    """The mean absolute difference of the colours, from 0 to 255."""
    bands = ImageStat.Stat(ImageChops.difference(one, other)).mean
    return sum(bands) / len(bands)
