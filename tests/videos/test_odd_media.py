"""Odd videos: joined in full, or refused in words; their last picture is the right one, upright."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.videos.made import (
    BLUE,
    RED,
    cut,
    make,
    mean,
    number_in,
    numbered,
    overwritten,
    psnr,
    turned,
    watched,
)
from tests.videos.test_join import ENCODED, LOSSLESS, joined
from wan_mcp.errors import VideoError
from wan_mcp.videos.frames import contact_sheet, last_frame
from wan_mcp.videos.join import Joined

Make = Callable[[Path], Path]
DAMAGED = Joined(False, ("Part 1 is damaged: its pictures may jump or stand still.",))


def made(**how: Any) -> Make:
    return lambda path: make(path, **how)


def last(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(last_frame(path)))


ODD: dict[str, tuple[Make, Joined]] = {
    "one key frame": (made(options={"g": "1000"}), LOSSLESS),
    "a key frame each": (made(options={"g": "1"}), LOSSLESS),
    "not reordered": (made(options={"bf": "0"}), LOSSLESS),
    "in fragments": (made(flags="+frag_keyframe+empty_moov"), LOSSLESS),
    "MOV": (made(kind="mov"), LOSSLESS),
    "10 bits": (made(pixels="yuv420p10le"), LOSSLESS),
    "full range": (made(tags={"color_range": 2, "colorspace": 1}), LOSSLESS),
    "HEVC": (made(codec="libx265", options={"x265-params": "log-level=none"}), LOSSLESS),
    "odd sides": (made(size=(321, 181), pixels="yuv444p"), LOSSLESS),
    "wide pixels": (made(aspect=Fraction(4, 3)), LOSSLESS),
    "portrait": (made(size=(180, 320)), LOSSLESS),
    "MPEG-4": (made(codec="mpeg4"), ENCODED),
    "ProRes": (made(kind="mov", codec="prores_ks", pixels="yuv422p10le"), ENCODED),
    "WebM, VP8": (made(kind="webm", codec="libvpx"), ENCODED),
    "WebM, VP9": (made(kind="webm", codec="libvpx-vp9"), ENCODED),
    "Matroska": (made(kind="matroska"), ENCODED),
    "transport stream": (made(kind="mpegts"), ENCODED),
    "AVI": (made(kind="avi", codec="mpeg4"), ENCODED),
}
DISPLAYED = {"wide pixels": (427, 180), "portrait": (180, 320), "odd sides": (321, 181)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_an_odd_video_is_joined_picture_by_picture(tmp_path: Path, name: str) -> None:
    """With itself, and after an ordinary one, into whose size it is fitted."""
    make_it, expected = ODD[name]
    odd, plain = make_it(tmp_path / "odd"), make(tmp_path / "plain.mp4", colour=BLUE, options={"bf": "1"})
    assert joined(tmp_path, odd, odd) == expected
    film = watched(tmp_path / "film.part")
    assert film.numbers == [*range(24)] * 2
    assert film.seconds == pytest.approx(2, abs=0.01)
    assert joined(tmp_path, plain, odd) == ENCODED
    film = watched(tmp_path / "film.part")
    assert film.images[0].size == (320, 180)
    assert film.seconds == pytest.approx(2, abs=0.01)
    assert film.numbers[:24] == [*range(24)]
    if name != "portrait":  # whose squares are too small there
        assert film.numbers[24:] == [*range(24)]
    assert film.images[30].getpixel((160, 40)) == pytest.approx(RED, abs=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_the_last_picture_of_an_odd_video_is_its_last(tmp_path: Path, name: str) -> None:
    """With square pixels, in its own colours; and a sheet shows it as well."""
    path = ODD[name][0](tmp_path / "odd")
    picture = last(path)
    assert picture.size == DISPLAYED.get(name, (320, 180))
    assert number_in(picture) == 23
    assert picture.getpixel((picture.width // 2, 20)) == pytest.approx(RED, abs=8)
    sheet = contact_sheet(path, 3)
    assert (sheet.width, sheet.height) == picture.size
    assert sheet.times == pytest.approx((0, 11.5 / 24, 23 / 24), abs=0.03)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    """Clockwise, as the header of the file says, in the picture and in the film."""

    def corner(number: int, size: tuple[int, int]) -> Image.Image:
        image = Image.new("RGB", size, RED)
        image.paste(BLUE, (0, 0, size[0] // 2, size[1] // 2))
        return image

    path = turned(make(tmp_path / "turned.mp4", picture=corner), degrees)
    upright = corner(0, (320, 180)).rotate(-degrees, expand=True)
    assert psnr(last(path), upright) > 28
    assert joined(tmp_path, path, path) == ENCODED
    film = watched(tmp_path / "film.part")
    assert [psnr(film.images[at], upright) > 28 for at in (0, 23, 24, 47)] == [True] * 4


def test_a_portrait_is_laid_on_black(tmp_path: Path) -> None:
    """In the middle, in its own proportions."""
    wide = make(tmp_path / "1.mp4", size=(320, 180))
    tall = make(
        tmp_path / "2.mp4", size=(180, 320), picture=lambda number, size: Image.new("RGB", size, BLUE)
    )
    joined(tmp_path, wide, tall)
    image = watched(tmp_path / "film.part").images[40]
    bars = image.crop((0, 0, 105, 180)), image.crop((215, 0, 320, 180))
    assert [max(mean(bar)) < 3 for bar in bars] == [True, True]
    assert mean(image.crop((115, 5, 205, 175))) == pytest.approx(BLUE, abs=4)


def test_a_variable_rate_becomes_constant(tmp_path: Path) -> None:
    """Each picture is shown at its time, and the next part begins when this one ends."""
    times = [0, 40, 80, 300, 500, 900, 1000, 1500]
    path = make(tmp_path / "1.mp4", count=8, times=times)
    plain = make(tmp_path / "2.mp4")
    assert joined(tmp_path, path, plain) == ENCODED
    film = watched(tmp_path / "film.part")
    shown = [round(time * 24 / 1000) for time in times]
    assert [film.numbers[place] for place in shown] == [*range(8)]
    assert film.numbers[-24:] == [*range(24)]
    assert film.seconds == pytest.approx(1.5 + 0.04 + 1, abs=0.05)
    assert number_in(last(path)) == 7


@pytest.mark.slow
@pytest.mark.parametrize(("begin", "end"), [(0, 0.2), (0.3, 0.6), (0.8, 1)])
def test_damage_is_shown_as_a_still_picture_and_said(tmp_path: Path, begin: float, end: float) -> None:
    """No part of the film moves in time because of it, and the last picture is one that is whole."""
    path = overwritten(make(tmp_path / "1.mp4", count=96, options={"g": "12"}), begin, end)
    plain = make(tmp_path / "2.mp4", colour=BLUE)
    assert joined(tmp_path, path, plain) == DAMAGED
    film = watched(tmp_path / "film.part")
    assert film.seconds == 5
    assert film.numbers[96:] == [*range(24)]
    whole = [place for place in range(96) if film.numbers[place] == place]
    assert len(whole) > 40
    assert number_in(last(path)) == whole[-1]


def test_a_file_that_is_cut_ends_early(tmp_path: Path) -> None:
    """With its sound; the next part begins there."""
    path = cut(make(tmp_path / "1.mp4", count=96, flags="+faststart", tone=440), 0.6)
    assert joined(tmp_path, path, make(tmp_path / "2.mp4", colour=BLUE)) == DAMAGED
    film = watched(tmp_path / "film.part")
    assert film.numbers[-24:] == [*range(24)]
    assert 2 < film.seconds < 4
    assert number_in(last(path)) == pytest.approx(film.seconds * 24 - 25, abs=1)


def test_where_nothing_can_be_decoded_it_is_said(tmp_path: Path) -> None:
    """Of a part by its number, of a single video as such; also where there is only sound."""
    path = overwritten(make(tmp_path / "2.mp4"), 0, 1)
    with pytest.raises(VideoError, match=r"^Part 2 has no picture that can be decoded\.$"):
        joined(tmp_path, make(tmp_path / "1.mp4"), path)
    for read in (last_frame, lambda path: contact_sheet(path, 4)):
        with pytest.raises(VideoError, match=r"^The video has no picture that can be decoded\.$"):
            read(path)


def test_one_picture_is_enough(tmp_path: Path) -> None:
    """It is the last one, a sheet of one, and a part of the film."""
    path = make(tmp_path / "1.mp4", count=1)
    assert psnr(last(path), numbered(0, (320, 180))) > 28
    assert contact_sheet(path, 9).times == (0,)
    joined(tmp_path, path, path)
    assert watched(tmp_path / "film.part").numbers == [0, 0]


def test_a_list_of_files_is_no_video(tmp_path: Path) -> None:
    """Else the last picture of another file of the user's would be uploaded."""
    make(tmp_path / "private.mp4")
    path = tmp_path / "list.mp4"
    path.write_bytes(b"ffconcat version 1.0\n#\x01\nfile private.mp4\n")
    for read in (last_frame, lambda path: contact_sheet(path, 4)):
        with pytest.raises(VideoError, match=r"cannot be read as a video \(its format is unknown\)\.$"):
            read(path)
