"""Joined videos: every picture in its place, the sound under its part, the length the sum."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from tests.videos.made import BLUE, GREEN, make, psnr, watched
from wan_mcp.errors import VideoError
from wan_mcp.videos.join import Joined, Stopped, join

LOSSLESS, ENCODED = Joined(True, ()), Joined(False, ())


def joined(folder: Path, *paths: Path) -> Joined:
    """Join them into ``film.part`` of that folder, and check the progress."""
    told: list[float] = []
    result = join(paths, folder / "film.part", told.append, lambda: False)
    assert told == sorted(told)
    assert told[-1] == 1
    return result


def test_equal_parts_are_copied_picture_by_picture(tmp_path: Path) -> None:
    """No picture is missing, doubled or changed at a seam; one part may come twice."""
    one, other = make(tmp_path / "1.mp4"), make(tmp_path / "2.mp4", colour=BLUE)
    assert joined(tmp_path, one, other, one) == LOSSLESS
    film = watched(tmp_path / "film.part")
    assert film.numbers == [*range(24)] * 3
    assert film.seconds == 3
    assert film.times == pytest.approx([number / 24 for number in range(72)], abs=1e-4)
    originals = [*watched(one).images, *watched(other).images, *watched(one).images]
    assert list(film.images) == originals


def test_different_parts_are_encoded_at_the_rate_of_the_first(tmp_path: Path) -> None:
    """Of 60 pictures a second, the nearest ones are shown at 24; the others keep their places."""
    first, fast = make(tmp_path / "24.mp4"), make(tmp_path / "60.mp4", rate=60, count=60, colour=GREEN)
    assert joined(tmp_path, first, fast, first) == ENCODED
    film = watched(tmp_path / "film.part")
    assert (film.seconds, film.rate) == (3, 24)
    assert film.numbers[:24] == film.numbers[48:] == [*range(24)]
    assert film.numbers[24:48] == pytest.approx([number * 2.5 for number in range(24)], abs=1)
    assert psnr(film.images[0], watched(first).images[0]) > 38


def test_sound_stays_under_its_part(tmp_path: Path) -> None:
    """Where a part has none, there is silence; the pictures are copied nevertheless."""
    silent, loud = make(tmp_path / "1.mp4"), make(tmp_path / "2.mp4", tone=440)
    assert joined(tmp_path, silent, loud, silent) == LOSSLESS
    film = watched(tmp_path / "film.part")
    assert film.numbers == [*range(24)] * 3
    assert [level > 0.4 for level in film.levels] == [False] * 10 + [True] * 10 + [False] * 10


@pytest.mark.parametrize("names", [["not there.mp4"], ["a.mp4", "text.mp4"]])
def test_a_part_that_cannot_be_used_is_named(tmp_path: Path, names: Sequence[str]) -> None:
    """By its number, in words."""
    make(tmp_path / "a.mp4")
    (tmp_path / "text.mp4").write_text("<html>Not found</html>")
    with pytest.raises(VideoError, match=f"^Part {len(names)} cannot be read as a video "):
        joined(tmp_path, *(tmp_path / name for name in names))


def test_a_join_stops_when_it_is_told(tmp_path: Path) -> None:
    """Between two packets, not only between parts."""
    part = make(tmp_path / "1.mp4")
    told: list[float] = []
    with pytest.raises(Stopped):
        join([part, part], tmp_path / "film.part", told.append, lambda: bool(told))
    assert len(told) == 1


@pytest.mark.parametrize("after", [500, 1900], ids=["pictures", "silence"])
def test_a_join_stops_within_a_picture_that_is_shown_for_long(tmp_path: Path, after: int) -> None:
    """A minute of it takes many places in the film, and as much silence, but no more packets."""
    first, still = make(tmp_path / "1.mp4", tone=440), make(tmp_path / "2.mp4", count=2, times=[0, 60_000])
    asked = count()
    with pytest.raises(Stopped):
        join([first, still], tmp_path / "film.part", lambda share: None, lambda: next(asked) > after)


def test_a_film_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """In the middle of the film, too, where what fails is closing it."""
    resource = pytest.importorskip("resource")
    part = make(tmp_path / "1.mp4", picture=lambda number, size: Image.effect_noise(size, 90).convert("RGB"))
    assert part.stat().st_size > 300_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            joined(tmp_path, part, part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
