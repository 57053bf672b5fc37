"""Whatever a user has: what comes out is what Evolink documents, looks right, and is described in words."""

import io

import pytest
from PIL import Image

from tests.images.case import Case
from tests.images.colour_cases import ANIMATIONS, MODES, PROFILES
from tests.images.makers import Colour
from tests.images.shape_cases import ODD, ORIENTATIONS, SIZES
from wan_mcp.images.fitting import fit

CASES = [*ORIENTATIONS, *MODES, *ANIMATIONS, *PROFILES, *SIZES, *ODD]


def faults(content: bytes) -> list[str]:
    """What Evolink's documents would hold against a picture: written for the tests alone."""
    found = []
    if len(content) > 10_000_000:
        found.append(f"{len(content)} bytes")
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if image.format not in ("JPEG", "PNG", "WEBP"):
            found.append(f"format {image.format}")
        if not all(360 <= side <= 2000 for side in image.size):
            found.append(f"size {image.size}")
        if image.has_transparency_data or image.mode not in ("RGB", "L", "P", "1"):
            found.append(f"mode {image.mode}")
        if image.getexif() or {"exif", "xmp", "comment"} & image.info.keys() or getattr(image, "text", None):
            found.append("metadata")
        if getattr(image, "n_frames", 1) != 1:
            found.append("animation")
    return found


def corners(content: bytes) -> tuple[Colour, ...]:
    """The colours in the middle of each quadrant."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    places = ((1, 1), (3, 1), (1, 3), (3, 3))
    spots = [image.getpixel((image.width * x // 4, image.height * y // 4)) for x, y in places]
    return tuple((int(spot[0]), int(spot[1]), int(spot[2])) for spot in spots if isinstance(spot, tuple))


def alike(seen: tuple[Colour, ...], wanted: tuple[Colour, ...], tolerance: int) -> bool:
    return all(
        abs(a - b) <= tolerance
        for spot, colour in zip(seen, wanted, strict=True)
        for a, b in zip(spot, colour, strict=True)
    )


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 90


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_out_is_accepted_looks_right_and_is_described(case: Case) -> None:
    prepared = fit(case.make())

    assert prepared.content is not None
    assert faults(prepared.content) == []
    assert prepared.adjusted == case.adjusted
    assert (prepared.width, prepared.height) == case.size == Image.open(io.BytesIO(prepared.content)).size
    assert prepared.format == case.format == str(Image.open(io.BytesIO(prepared.content)).format).lower()
    assert alike(corners(prepared.content), case.look, case.tolerance), corners(prepared.content)
