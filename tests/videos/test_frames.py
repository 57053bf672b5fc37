"""Single pictures of a video: the right one, in its colours, upright, and small sheets of them."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ImageFilter import GaussianBlur

from tests.videos.made import make, mean, number_in, numbered, psnr
from wan_mcp.errors import VideoError
from wan_mcp.videos.frames import contact_sheet, last_frame


def image(content: bytes, kind: str) -> Image.Image:
    found = Image.open(io.BytesIO(content))
    assert found.format == kind
    return found


def test_the_last_picture_is_the_very_last(tmp_path: Path) -> None:
    """As it was encoded, as far as the eye can see."""
    last = image(last_frame(make(tmp_path / "film.mp4", count=50)), "PNG")
    assert number_in(last) == 49
    assert psnr(last, numbered(49, (320, 180))) > 30


def test_a_sheet_shows_the_film_from_its_first_to_its_last_picture(tmp_path: Path) -> None:
    """And says what the film is."""
    sheet = contact_sheet(make(tmp_path / "film.mp4", count=49), 4)
    assert sheet.times == pytest.approx((0, 2 / 3, 4 / 3, 2), abs=1 / 48)
    assert (sheet.width, sheet.height, sheet.rate, sheet.has_sound) == (320, 180, 24, False)
    assert sheet.seconds == pytest.approx(49 / 24, abs=0.001)
    assert image(sheet.content, "JPEG").size > (640, 360)
    assert len(sheet.content) <= 100_000


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>"], ids=["empty", "a page"])
def test_what_is_no_video_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    """Both for the last picture and for a sheet."""
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"^The video cannot be read as a video \(.+\)\.$"):
        last_frame(path)
    with pytest.raises(VideoError, match=r"^The video cannot be read as a video \(.+\)\.$"):
        contact_sheet(path, 4)


def blurred(*numbers: int, radius: float = 3) -> Callable[[int, tuple[int, int]], Image.Image]:
    """Numbered pictures of which some are not sharp."""

    def picture(number: int, size: tuple[int, int]) -> Image.Image:
        sharp = numbered(number, size)
        return sharp.filter(GaussianBlur(radius)) if number in numbers else sharp

    return picture


@pytest.mark.parametrize(("soft", "taken"), [((9,), 8), ((8, 9), 7), ((7, 8, 9), 9), ((8,), 9), ((), 9)])
def test_a_picture_is_taken_that_is_not_blurred(tmp_path: Path, soft: tuple[int, ...], taken: int) -> None:
    """One of the last three; the last one where it is as sharp as the others."""
    path = make(tmp_path / "film.mp4", count=10, picture=blurred(*soft))
    assert number_in(image(last_frame(path), "PNG")) == taken


def grain(number: int, size: tuple[int, int]) -> Image.Image:
    """A picture with another noise each time."""
    pixels = random.Random(number).randbytes(size[0] * size[1])
    return Image.blend(numbered(number, size), Image.frombytes("L", size, pixels).convert("RGB"), 0.2)


@pytest.mark.parametrize("crf", ["18", "30", "40"])
def test_noise_is_no_sharpness(tmp_path: Path, crf: str) -> None:
    """It differs from picture to picture, as does what compression leaves of it; the last one is taken."""
    for count in (20, 21, 22):
        path = make(tmp_path / "film.mp4", count=count, picture=grain, options={"crf": crf})
        assert number_in(image(last_frame(path), "PNG")) == count - 1


PATCHES = ((200, 60, 50), (60, 170, 70), (50, 80, 190), (230, 220, 40), (20, 20, 20), (128, 128, 128))


def patches(number: int, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size)
    for at, colour in enumerate(PATCHES):
        image.paste(colour, (at * size[0] // 6, 0, (at + 1) * size[0] // 6, size[1]))
    return image


def colours(picture: Image.Image) -> list[Any]:
    return [picture.getpixel(((2 * at + 1) * picture.width // 12, picture.height // 2)) for at in range(6)]


TAGS: list[dict[str, int]] = [
    {},
    {"colorspace": 1},
    {"colorspace": 5},
    {"colorspace": 6, "color_range": 1},
    {"colorspace": 1, "color_range": 2},
    {"colorspace": 6, "color_range": 2},
]


@pytest.mark.parametrize("size", [(320, 180), (1280, 720)], ids=["small", "HD"])
@pytest.mark.parametrize("tags", TAGS, ids=str)
def test_colours_are_those_that_a_player_shows(
    tmp_path: Path, size: tuple[int, int], tags: dict[str, int]
) -> None:
    """Whatever matrix and range the video says that it has; without a word, those of its size."""
    path = make(tmp_path / "film.mp4", count=2, size=size, picture=patches, tags=tags, options={"crf": "8"})
    for found, wanted in zip(colours(image(last_frame(path), "PNG")), PATCHES, strict=True):
        assert found == pytest.approx(wanted, abs=4)


@pytest.mark.slow
@pytest.mark.parametrize("tags", [{}, {"colorspace": 1, "color_range": 1}], ids=["untagged", "BT.709"])
def test_colours_do_not_drift_when_a_video_is_continued(tmp_path: Path, tags: dict[str, int]) -> None:
    """Eight times the last picture becomes the first one of the next video."""
    size = (640, 360)
    picture = patches(0, size)
    for _ in range(8):
        path = make(tmp_path / "film.mp4", count=3, size=size, tags=tags, picture=lambda *_, now=picture: now)
        picture = image(last_frame(path), "PNG").convert("RGB")
    assert mean(picture) == pytest.approx(mean(patches(0, size)), abs=3)


@pytest.mark.parametrize("size", [(1280, 720), (360, 640)], ids=["wide", "tall"])
def test_a_sheet_of_noise_is_small(tmp_path: Path, size: tuple[int, int]) -> None:
    """Nothing is compressed worse."""

    def noise(number: int, size: tuple[int, int]) -> Image.Image:
        return Image.frombytes("RGB", size, random.Random(number).randbytes(3 * size[0] * size[1]))

    film = make(tmp_path / "film.mp4", count=9, size=size, picture=noise)
    for count in (2, 5, 9):
        sheet = contact_sheet(film, count)
        assert len(sheet.content) <= 100_000
        assert len(sheet.times) == count
        assert max(image(sheet.content, "JPEG").size) >= 390


def test_a_white_picture_can_be_told_from_no_picture(tmp_path: Path) -> None:
    """A film may begin or end in white."""
    white = make(tmp_path / "film.mp4", picture=lambda number, size: Image.new("RGB", size, "white"))
    sheet = image(contact_sheet(white, 2).content, "JPEG").convert("L")
    assert sheet.getpixel((0, 0)) == pytest.approx(192, abs=8)
    assert sheet.getpixel((sheet.width // 4, sheet.height // 3)) == pytest.approx(255, abs=10)
