"""A film of three parts through real agents with a scripted model: its seams, its ledger, what it cost."""

import base64
import io
import sys
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.clients.agents import AGENTS
from tests.clients.chat import Chat, chat
from tests.clients.model import PICTURE, Script, facts, step, told
from tests.videos.likeness import ssim
from tests.videos.made import textured
from wan_mcp.cli.demo import draw
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

PROMPTS = ("Mist drifts.", "The mist lifts.", "A boat comes in.")
FRAMES = 120
"""Of a part."""
ALIKE = 0.98


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=AGENTS)
async def talk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Chat]:
    async with chat(tmp_path, AGENTS[request.param]) as opened:
        yield opened


def filming(image: str) -> Script:
    """Make a part and look at it, continue it twice, and join the parts."""
    task_ids: list[str] = []
    for prompt in PROMPTS:
        request = {"prompt": prompt, "image_urls": [task_ids[-1] if task_ids else image]}
        (answer,) = yield [("generate_video", request)]
        while call := step(answer):
            (answer,) = yield [call]
        if not task_ids:
            yield [("preview_video", {"task_id": facts(answer)["id"]})]
        task_ids.append(facts(answer)["id"])
    (answer,) = yield [("join_videos", {"task_ids": task_ids, "filename": "the-boat"})]
    return told(answer)


@pytest.mark.parametrize("kind", ["flat", "textured"])
async def test_a_film_of_three_parts_has_no_visible_seams(talk: Chat, kind: str) -> None:
    """Each part begins with the last frame of the one before, and was paid once; all are in the film."""
    photo = talk.at.folder / "photo.png"
    if kind == "flat":
        draw(photo)
    else:
        textured((1280, 720)).save(photo)

    read = await talk.say("Mist, then a boat: 15 seconds, please.", filming(str(photo)))

    film = talk.video("the-boat.mp4")
    assert f"the film is saved at {film}" in read
    made = [name for name in talk.calls if name != "wait_for_task"]
    assert made == ["generate_video", "preview_video", "generate_video", "generate_video", "join_videos"]
    await assert_paid_as_a_chain(talk)
    assert_seen(talk)
    assert_seamless(film, uploaded(talk))


async def assert_paid_as_a_chain(talk: Chat) -> None:
    """Check that the ledger and the API have three payments for three tasks that name their parents."""
    ledger = SqliteLedger(talk.at.folder / "data")
    try:
        rows = (await ledger.entries())[::-1]
    finally:
        await ledger.aclose()
    payments = talk.at.sandbox.records.paid
    ids = [payment.task_id for payment in payments]
    assert talk.paid == len(ids) == 3
    assert [row.task.id for row in rows if row.task] == ids
    assert [row.parent for row in rows] == [None, *ids[:2]]
    assert [row.part for row in rows] == [1, 2, 3]
    assert [row.prompt for row in rows] == [payment.prompt for payment in payments] == [*PROMPTS]
    assert [row.cost for row in rows] == [payment.credits for payment in payments] == [25.5] * 3
    assert [row.status for row in rows] == ["completed"] * 3
    assert [row.saved is not None for row in rows] == [True] * 3


def assert_seen(talk: Chat) -> None:
    """The model got one picture, a sheet of four frames, and the words beside it."""
    (seen,) = (answer for answer in talk.model.seen if PICTURE.search(answer))
    assert "Compare them with the prompt" in seen
    (found,) = PICTURE.finditer(seen)
    sheet = Image.open(io.BytesIO(base64.b64decode(found["content"])))
    assert sheet.format == "JPEG"
    assert sheet.width > 854  # two frames stand side by side


def uploaded(talk: Chat) -> list[Image.Image]:
    """The pictures that were sent, in order."""
    bodies = [call.body for call in talk.at.sandbox.records.calls if call.at == "submit"]
    assert all(isinstance(body, dict) for body in bodies)
    uploads = [talk.at.sandbox.uploads.at(body["image_urls"][0]) for body in bodies if isinstance(body, dict)]
    return [Image.open(io.BytesIO(upload.content)).convert("RGB") for upload in uploads if upload]


def assert_seamless(film: Path, uploads: Sequence[Image.Image]) -> None:
    """Check that the pictures at each seam are alike, also with those that were sent; elsewhere they move."""
    times, pictures = watched(film, {0, *(seam + side for seam in (FRAMES, 2 * FRAMES) for side in (-1, 0))})
    assert len(times) == 3 * FRAMES
    assert all(before < after for before, after in pairwise(times))
    with av.open(film) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(15, abs=0.1)
    assert len(uploads) == 3
    for part, sent in enumerate(uploads[1:], 1):
        last, first = pictures[part * FRAMES - 1], pictures[part * FRAMES]
        likeness = ssim(last, first), ssim(last, sent), ssim(sent, first)
        sys.stdout.write(f"SSIM at seam {part}: {', '.join(f'{one:.4f}' for one in likeness)}\n")
        assert min(likeness) >= ALIKE
    assert ssim(pictures[0], pictures[FRAMES - 1]) < ALIKE - 0.1


def watched(film: Path, wanted: set[int]) -> tuple[list[float], dict[int, Image.Image]]:
    """The time of each frame, and those frames that are wanted."""
    times: list[float] = []
    pictures: dict[int, Image.Image] = {}
    with av.open(film) as container:
        for number, frame in enumerate(container.decode(video=0)):
            times.append(frame.time)
            if number in wanted:
                pictures[number] = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV gives it no types
    return times, pictures
