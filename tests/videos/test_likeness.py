"""The measure of likeness by which films are judged tells what the eye sees."""

from random import Random

import pytest
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from tests.videos.likeness import C1, ssim
from tests.videos.made import textured


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return textured((420, 280))


def test_a_picture_is_like_itself(picture: Image.Image) -> None:
    """Exactly 1, as for no other."""
    assert ssim(picture, picture.copy()) == pytest.approx(1, abs=1e-6)


def test_flat_pictures_differ_by_their_brightness_alone() -> None:
    """By the formula's first factor, which can be worked out by hand."""
    one, other = Image.new("L", (70, 70), 100), Image.new("L", (70, 70), 150)
    assert ssim(one, other) == pytest.approx((2 * 100 * 150 + C1) / (100**2 + 150**2 + C1), abs=1e-6)


def test_a_negative_is_unlike(picture: Image.Image) -> None:
    """Its structure is the opposite: less than nothing in common."""
    assert ssim(picture, ImageChops.invert(picture)) < 0


def test_what_the_eye_sees_is_well_below_the_bound(picture: Image.Image) -> None:
    """A blur, noise, and a shift by two pixels. A little more light, which hardly shows, is not."""
    noise = Image.frombytes("RGB", picture.size, Random(2).randbytes(3 * picture.width * picture.height))
    assert ssim(picture, picture.filter(ImageFilter.GaussianBlur(1))) < 0.9
    assert ssim(picture, Image.blend(picture, noise, 0.3)) < 0.9
    assert ssim(picture, ImageChops.offset(picture, 2, 0)) < 0.9
    assert ssim(picture, ImageEnhance.Brightness(picture).enhance(1.02)) > 0.99
