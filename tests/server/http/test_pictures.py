"""Pictures of a caller whose files are on another machine: what is refused, in which words, and untouched."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.callers import IN_BOTH_DEPLOYMENTS, hosted_client
from tests.calls import PROMPT, call, text
from tests.world import World
from wan_mcp.generation.owners import OWN_KEYS, Deployment
from wan_mcp.images import files, sources

pytestmark = pytest.mark.anyio

GIVE = "To give a file, call prepare_upload. Or give an https:// address, a data: URI, or the id of a "
GIVE += "completed task."
PASTED = "A picture pasted into the chat does not reach this server. Call prepare_upload, so that it can be "
PASTED += "uploaded, or ask the user for a link to it."
PATH = f"is a path, and this server does not run on your machine, so it reads no files. {GIVE}"
NAME = f"is a name without an address. {PASTED}"
SAID = "generate_video was not called, because its arguments are wrong. image_urls {} "
SAID += "Correct them and call it again. Nothing was sent or charged."


@IN_BOTH_DEPLOYMENTS
@pytest.mark.parametrize(
    ("reference", "refusal"),
    [
        ("/etc/hostname", PATH),
        ("/no/such/file.png", PATH),
        ("~", PATH),
        ("~/cat.png", PATH),
        ("~root/cat.png", PATH),
        ("$HOME/cat.png", PATH),
        ("'/etc/hostname'", PATH),
        ('"~/cat.png"', PATH),
        ("@/etc/hostname", PATH),
        ("/etc/host\\ name.png", PATH),
        ("./cat.png", PATH),
        ("../../etc/passwd", PATH),
        ("//server/share/cat.png", PATH),
        ("\\\\server\\share\\cat.png", PATH),
        ("C:\\Users\\me\\cat.png", PATH),
        ("c:/cat.png", PATH),
        ("file:///etc/hostname", PATH),
        ("file:/etc/hostname", PATH),
        ("FILE://localhost/etc/hostname", PATH),
        ("file://server/cat.png", PATH),
        ("'file:///etc/hostname'", PATH),
        ("file:'/etc/hostname'", PATH),
        ("file:cat.png", PATH),
        ("/etc/host\0name", PATH),
        ("/mnt/data/cat.png", PATH),
        ("cat.png", NAME),
        ("IMG_0001 2.HEIC", NAME),
        ("Screenshot 2026-01-01 at 9.41.00\u202fAM.png", NAME),
        ("attachment:cat.png", f"is not an address that can be read from here (attachment:). {PASTED}"),
        ("sandbox:/mnt/data/a.png", f"is not an address that can be read from here (sandbox:). {PASTED}"),
        ("s3://bucket/cat.png", f"is not an address that can be read from here (s3:). {GIVE}"),
        ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", f"is base64 without data: in front of it. {PASTED}"),
    ],
)
async def test_what_is_no_address_is_refused_in_words_that_say_what_to_give(
    world: World, deployment: Deployment, reference: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same words whether it exists or not: nothing is looked for, sent or uploaded."""

    def looked_for(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the disk was looked at")

    async with hosted_client(world, deployment) as client:
        monkeypatch.setattr(sources, "local_paths", looked_for)
        monkeypatch.setattr(files, "read", looked_for)
        monkeypatch.setattr(Path, "expanduser", looked_for)
        result = await call(client, "generate_video", prompt=PROMPT, image_urls=[reference])
    assert result.is_error
    assert text(result) == SAID.format(refusal)
    assert world.records.calls == []


@IN_BOTH_DEPLOYMENTS
async def test_a_missing_picture_is_asked_for_by_its_address(world: World, deployment: Deployment) -> None:
    """A path would not help."""
    async with hosted_client(world, deployment) as client:
        result = await call(client, "generate_video", prompt=PROMPT)
    assert text(result) == SAID.format(
        "is required: this tool makes a video from a picture; generate_video_from_text makes one from text "
        "alone. Ask the user for a picture, such as its web address, or make one with another tool. To "
        "continue a video, give its task's id."
    )


def png(width: int, height: int) -> str:
    """A picture of one colour, as a data: URI."""
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


@pytest.mark.parametrize(
    ("picture", "refusal"),
    [
        (
            png(8000, 5001),
            "the data: URI is 8000\u00d75001 pixels, 40 million; at most 40 million are opened. "
            f"Give a smaller version of the picture. {PASTED}",
        ),
        (
            "data:image/png;base64,iVBORw0KGgoAAA",
            "the data: URI cannot be decoded: it is damaged or of an unusual kind (SyntaxError). Open it in "
            f"an image program, save it as JPEG or PNG, and give the new picture. {PASTED}",
        ),
        (
            "data:image/png;base64,a",
            f"the data: URI is not valid base64, so it is cut off or made up. {PASTED}",
        ),
        (
            f"data:image/png;base64,{base64.b64encode(b'8BPS' + bytes(50)).decode()}",
            "the data: URI is a Photoshop document, not a picture that can be used. Open it in an image "
            f"program, save it as JPEG or PNG, and give the new picture. {PASTED}",
        ),
        (
            "https://nowhere.example.com:0/cat.png",
            "nowhere.example.com/cat.png is not a valid URL. "
            "Give an address on the public internet that opens without a login.",
        ),
    ],
)
async def test_a_picture_that_cannot_be_used_is_refused_with_advice_that_can_be_followed(
    world: World, picture: str, refusal: str
) -> None:
    """Fewer pixels are decoded than for a user's own machine."""
    async with hosted_client(world, OWN_KEYS) as client:
        result = await call(client, "generate_video", prompt=PROMPT, image_urls=[picture])
    assert result.is_error
    assert text(result) == f"image_urls: {refusal} Nothing was sent or charged."


async def test_a_large_picture_within_the_bound_is_taken(world: World) -> None:
    """It is scaled to fit, as everywhere."""
    async with hosted_client(world, OWN_KEYS) as client:
        result = await call(client, "generate_video", prompt=PROMPT, image_urls=[png(5000, 4000)])
    assert not result.is_error, text(result)
    assert "scaled from 5000\u00d74000 to 2000\u00d71600" in text(result)


async def test_an_address_that_does_not_answer_is_not_to_be_replaced_by_a_file(world: World) -> None:
    """Neither where a host refuses, nor for a signed address."""
    signed = "https://pictures.example.com/cat.png?X-Amz-Signature=abc"
    async with hosted_client(world, OWN_KEYS) as client:
        noted = await call(client, "generate_video", prompt=PROMPT, image_urls=[signed])
        gone = await call(
            client, "generate_video", prompt=PROMPT, image_urls=["https://other.example.com/a.png"]
        )
    assert "give a fresh address, or the picture through prepare_upload." in text(noted)
    assert gone.is_error
    assert "or give the picture through prepare_upload." in text(gone)
