"""Scaling in the picture's own memory gives what scaling elsewhere gives."""

import io

import pytest
from PIL import Image, ImageChops

from tests.images.makers import lying, photo, quadrants, saved
from wan_mcp.images.scaling import scaled, upright

SIZES = [
    ((2016, 1512), (2000, 1500)),
    ((2500, 1300), (2000, 1040)),
    ((3900, 3000), (2000, 1538)),
    ((1000, 900), (1000, 700)),
    ((400, 300), (800, 600)),
    ((500, 500), (500, 500)),
]


def soft(width: int, height: int) -> Image.Image:
    """Smooth, and neither black nor white, where the order of the filters' passes would show."""
    return photo(width // 8, height // 8).resize((width, height)).point(lambda value: value // 2 + 64)


def difference(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel."""
    steps = ImageChops.difference(one, other).convert("RGB").histogram()
    return max(step % 256 for step, count in enumerate(steps) if count)


def reopened(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(saved(image, "PNG", compress_level=1)))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_bands_leave_no_seams(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = soft(*before)
    exactly = image.resize(after, Image.Resampling.LANCZOS)

    result = reopened(scaled(image, after))

    assert result.size == after
    assert difference(result, exactly) <= 3


def test_a_large_factor_is_taken_in_two_steps_that_cannot_be_told_from_one() -> None:
    image = soft(8000, 1600)
    exactly = image.resize((1000, 200), Image.Resampling.LANCZOS)

    assert difference(reopened(scaled(image, (1000, 200))), exactly) <= 6


@pytest.mark.parametrize("orientation", range(2, 9))
def test_each_orientation_is_turned_upright(orientation: int) -> None:
    expected = photo(700, 500)

    assert difference(upright(lying(expected, orientation), orientation), expected) == 0


@pytest.mark.parametrize("orientation", range(2, 9))
def test_what_was_scaled_in_place_is_turned_without_its_rest(orientation: int) -> None:
    shrunk = scaled(lying(quadrants(900, 700), orientation), (450, 350) if orientation < 5 else (350, 450))

    assert difference(upright(shrunk, orientation), quadrants(450, 350)) <= 40
