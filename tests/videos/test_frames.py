"""Single pictures of a video: the right one, in its colours, upright, and small sheets of them."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.videos.made import make, number_in, numbered, psnr
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


def test_a_white_picture_can_be_told_from_no_picture(tmp_path: Path) -> None:
    """A film may begin or end in white."""
    white = make(tmp_path / "film.mp4", picture=lambda number, size: Image.new("RGB", size, "white"))
    sheet = image(contact_sheet(white, 2).content, "JPEG").convert("L")
    assert sheet.getpixel((0, 0)) == pytest.approx(192, abs=8)
    assert sheet.getpixel((sheet.width // 4, sheet.height // 3)) == pytest.approx(255, abs=10)
