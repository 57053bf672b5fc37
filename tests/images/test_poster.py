"""A poster is small, shows its picture, and tells nothing else."""

import io
import os
import random
from collections.abc import Callable
from functools import partial

import pytest
from PIL import Image

from tests.images import makers
from tests.images.case import Case
from tests.images.makers import QUADRANTS, quadrants, saved
from tests.images.test_metadata import tell_all_heic, tell_all_jpeg, tell_all_png, tell_all_webp
from tests.images.test_prepared import CASES, alike, corners
from wan_mcp.errors import PictureError
from wan_mcp.images.fitting import fit
from wan_mcp.images.poster import MAX_BYTES, is_whole, poster

PLAIN = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
"""What every JPEG file says of itself."""


def facts(content: bytes) -> tuple[str | None, str, tuple[int, int], bool]:
    """Format, mode and size, and whether there is nothing but the picture."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        bare = image.info.keys() <= PLAIN and not image.getexif() and len(content) <= MAX_BYTES
        return image.format, image.mode, image.size, bare


def within(width: int, height: int, side: int = 640) -> tuple[int, int]:
    scale = min(1, side / max(width, height))
    return round(width * scale), round(height * scale)


def noise(width: int, height: int, kind: str = "PNG", *, of_two: bool = False) -> bytes:
    """What no format can compress; colours at random, or only full and empty channels."""
    pixels = random.Random(0).randbytes(3 * width * height)
    if of_two:
        pixels = pixels.translate(bytes(128) + bytes([255] * 128))
    return saved(Image.frombytes("RGB", (width, height), pixels), kind)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_poster_shows_the_picture_upright_in_its_colours(case: Case) -> None:
    """Of any picture that is taken: as it was given, and as it was made to fit."""
    given = case.make()
    sent = fit(given).content
    assert sent is not None
    for source in (given, sent):
        made = poster(source)
        size = max(facts(made)[2])
        assert facts(made)[:2] == ("JPEG", "RGB")
        assert facts(made)[3]
        assert size <= 640
        assert size == 640 or size == max(case.size) or source is given
        assert alike(corners(made), case.look, case.tolerance + 8), corners(made)


@pytest.mark.parametrize("make", [tell_all_jpeg, tell_all_png, tell_all_webp, tell_all_heic])
def test_a_poster_tells_nothing_but_the_picture(make: Callable[[], bytes]) -> None:
    """A web picture that fits may hold whatever its owner wrote into it."""
    made = poster(make())
    assert facts(made) == ("JPEG", "RGB", (640, 480), True)
    assert b"secret" not in made
    assert alike(corners(made), QUADRANTS, 12)


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (partial(noise, 2000, 2000), None),
        (partial(noise, 2000, 2000, "JPEG"), None),
        (partial(noise, 640, 640), None),
        (partial(noise, 640, 640, of_two=True), None),
        (partial(noise, 360, 2000), (115, 640)),
        (partial(noise, 2000, 360), (640, 115)),
        (lambda: saved(quadrants(2000, 1500), "JPEG"), (640, 480)),
        (lambda: saved(quadrants(400, 380), "PNG"), (400, 380)),
        (lambda: saved(makers.photo(4032, 3024), "JPEG", quality=90), (640, 480)),
    ],
)
def test_a_poster_has_few_bytes_whatever_the_picture_shows(
    source: Callable[[], bytes], size: tuple[int, int] | None
) -> None:
    """Quality goes down first, and then the size; nothing is enlarged."""
    made = poster(source())
    form, mode, found, bare = facts(made)
    assert (form, mode, bare) == ("JPEG", "RGB", True)
    assert found == size or (size is None and 200 <= max(found) <= 640)
    assert is_whole(made)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"<html>", os.urandom(9000), saved(quadrants(), "PNG")[:900]]
)
def test_no_poster_is_made_of_what_is_no_picture(content: bytes) -> None:
    """One kind of error, whatever the decoder raised."""
    with pytest.raises(PictureError):
        poster(content)


def test_a_damaged_poster_is_told_from_a_whole_one() -> None:
    """Cut off at any place, emptied, replaced by something else, or too long."""
    whole = poster(saved(quadrants(), "PNG"))
    assert is_whole(whole)
    assert not any(is_whole(whole[:length]) for length in range(0, len(whole) - 2, 97))
    bomb = saved(Image.new("L", (9000, 9000)), "JPEG", quality=1)[:MAX_BYTES]
    for damaged in (bytes(len(whole)), b"<html>", saved(quadrants(), "PNG"), whole + bytes(MAX_BYTES), bomb):
        assert not is_whole(damaged)
