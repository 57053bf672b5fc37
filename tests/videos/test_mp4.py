"""Facts from MP4 files: right for real ones, and harmless whatever the bytes are."""

import io
import math
import struct
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.videos.formats import ending
from wan_mcp.videos.mp4 import MAX_BOXES, Movie, read

MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def large_box(kind: bytes, *content: bytes) -> bytes:
    """A box with a length of 64 bits."""
    body = b"".join(content)
    return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body


def open_box(kind: bytes, *content: bytes) -> bytes:
    """A box that goes on to the end of the file."""
    return struct.pack(">I4s", 0, kind) + b"".join(content)


def movie_header(version: int, scale: int, duration: int) -> bytes:
    times = struct.pack(">QQIQ" if version else ">IIII", 1, 2, scale, duration)
    return box(b"mvhd", bytes([version, 0, 0, 0]), times, bytes(16), MATRIX, bytes(28))


def track_header(version: int, width: int, height: int) -> bytes:
    times = struct.pack(">QQIIQ" if version else ">IIIII", 1, 2, 1, 0, 5000)
    sides = struct.pack(">II", width << 16, height << 16)
    return box(b"tkhd", bytes([version, 0, 0, 7]), times, bytes(16), MATRIX, sides)


def movie(version: int = 0, scale: int = 1000, duration: int = 5000) -> bytes:
    return box(
        b"moov",
        movie_header(version, scale, duration),
        box(b"trak", track_header(version, 0, 0), box(b"mdia", box(b"mdhd", bytes(24)))),
        box(
            b"trak",
            box(b"edts", bytes(12)),
            track_header(version, 1280, 720),
            box(b"mdia", box(b"mdhd", bytes(24))),
        ),
        box(b"udta", bytes(40)),
    )


FTYP = box(b"ftyp", b"isom\x00\x00\x02\x00isommp42")
MEDIA = box(b"mdat", bytes(3000))
Facts = tuple[float | None, int | None, int | None]
FILM: Facts = (5.0, 1280, 720)


def of(movie: Movie) -> Facts:
    return movie.seconds, movie.width, movie.height


def facts(content: bytes) -> Facts:
    return of(read(io.BytesIO(content)))


def is_whole(content: bytes) -> bool:
    return read(io.BytesIO(content)).is_whole


def film(path: Path, width: int, height: int, frames: int, sound: bool = False, **options: str) -> bytes:
    """A real file of 24 pictures a second."""
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if sound:
            track = container.add_stream("aac", rate=44100)
            silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            silence.sample_rate = 44100
            container.mux(track.encode(silence))
            container.mux(track.encode())
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(("width", "height", "frames"), [(16, 16, 1), (854, 480, 24), (720, 1280, 7)])
@pytest.mark.parametrize("flags", ["+faststart", "-faststart"])
def test_a_real_file_tells_its_length_and_size(
    tmp_path: Path, width: int, height: int, frames: int, flags: str
) -> None:
    """Whether its index stands at the beginning or at the end."""
    content = film(tmp_path / "film.mp4", width, height, frames, movflags=flags)
    assert (content.index(b"moov") < content.index(b"mdat")) == (flags == "+faststart")
    found = facts(content)
    assert found[1:] == (width, height)
    assert found[0] == pytest.approx(frames / 24, abs=0.002)
    assert is_whole(content)


def test_a_sound_track_has_no_size(tmp_path: Path) -> None:
    """The size is the picture's, with sound beside it as well."""
    found = facts(film(tmp_path / "film.mp4", 320, 180, 3, sound=True))
    assert found[1:] == (320, 180)


def test_a_file_in_fragments_does_not_tell_its_length(tmp_path: Path) -> None:
    """It is written before the end is known; that is no video of no seconds."""
    content = film(tmp_path / "film.mp4", 320, 180, 3, movflags="+frag_keyframe+empty_moov")
    assert facts(content) == (None, 320, 180)
    assert is_whole(content)


@pytest.mark.parametrize(
    "content",
    [
        FTYP + movie() + MEDIA,
        FTYP + MEDIA + movie(),
        FTYP + movie(version=1) + MEDIA,
        FTYP + MEDIA + movie(version=1, scale=90_000, duration=450_000),
        FTYP + large_box(b"mdat", bytes(3000)) + movie(),
        FTYP + MEDIA + open_box(b"moov", movie()[8:]),
        FTYP + MEDIA + large_box(b"moov", movie()[8:]),
        FTYP + movie() + open_box(b"mdat", bytes(3000)),
        FTYP + box(b"free") * 100 + movie() + MEDIA + b"\x00" * 5,
    ],
    ids=[
        "index first",
        "index last",
        "version 1",
        "version 1 last",
        "64-bit length",
        "open index",
        "64-bit index",
        "open media",
        "padding",
    ],
)
def test_every_form_of_header_is_read(content: bytes) -> None:
    """Both versions, all three ways to write a length, any order."""
    assert facts(content) == FILM
    assert is_whole(content)


@pytest.mark.parametrize(
    ("version", "scale", "duration"),
    [(0, 1000, 2**32 - 1), (1, 1000, 2**64 - 1), (0, 0, 5000), (1, 0, 5000), (0, 1000, 0)],
)
def test_a_length_that_is_not_known_is_absent(version: int, scale: int, duration: int) -> None:
    """All ones stand for unknown; and nothing is divided by nothing."""
    assert facts(FTYP + movie(version, scale, duration)) == (None, 1280, 720)


def test_a_file_cut_anywhere_is_no_error_and_not_whole() -> None:
    """Every beginning of a film: facts or none, and only the whole one counts as whole."""
    content = FTYP + MEDIA[:200].replace(MEDIA[:4], struct.pack(">I", 200)) + movie()
    for length in range(len(content) + 1):
        part = read(io.BytesIO(content[:length]))
        assert of(part) in ((None, None, None), (5.0, None, None), FILM)
        assert part.is_whole == (length == len(content)), length


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (FTYP[:12], "mp4"),
        (FTYP[:8], "mp4"),
        (b"", None),
        (b"ftyp", None),
        (b"<!DOCTYPE html>", None),
        (b"\x1aE\xdf\xa3\x88B\x82\x84webm", "webm"),
        (b"\x00\x00\x00\x08moov", "mp4"),
        (b"\x00\x00\x00\x08junk", None),
    ],
)
def test_the_first_bytes_tell_the_format(head: bytes, answer: str | None) -> None:
    """A box that may stand first, or another format's mark."""
    assert ending(head) == answer


class Counting(io.BytesIO):
    """Counts what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads = self.total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.reads += 1
        self.total += len(found)
        return found


kinds = st.sampled_from([b"ftyp", b"moov", b"trak", b"mdia", b"mvhd", b"tkhd", b"mdat", b"free", b"\x00" * 4])
lengths = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 100, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
junk = st.builds(
    lambda length, kind, content: struct.pack(">I4s", length, kind) + content,
    lengths,
    kinds,
    st.binary(max_size=120),
)
trees = st.recursive(
    junk | st.builds(box, kinds, st.binary(max_size=120)),
    lambda inner: st.builds(lambda kind, parts: box(kind, *parts), kinds, st.lists(inner, max_size=4)),
    max_leaves=12,
)
versions = st.integers(0, 255)
headers = st.builds(
    lambda kind, version, rest: box(kind, bytes([version]), rest),
    st.sampled_from([b"mvhd", b"tkhd"]),
    versions,
    st.binary(max_size=130),
)


def plausible(found: Movie) -> bool:
    return (
        (found.seconds is None or (math.isfinite(found.seconds) and found.seconds >= 0))
        and (found.width is None or 0 < found.width < 65_536)
        and (found.height is None or 0 < found.height < 65_536)
    )


@given(st.binary(max_size=400) | st.lists(trees | headers, max_size=6).map(b"".join))
def test_any_bytes_give_facts(content: bytes) -> None:
    """Never an exception, never nonsense, and each byte is read a few times at most."""
    file = Counting(content)
    assert plausible(read(file))
    assert file.reads <= len(content) + 2


@pytest.mark.parametrize(
    "content",
    [box(b"free") * 200_000, box(b"moov") * 200_000, struct.pack(">I4sQ", 1, b"moov", 16) * 100_000],
    ids=["boxes", "containers", "large containers"],
)
def test_the_work_is_bounded(content: bytes) -> None:
    """A file of nothing but empty boxes is given up."""
    file = Counting(content)
    assert read(file) == Movie()
    assert file.reads <= 3 * MAX_BOXES


@pytest.mark.parametrize(
    "content",
    [
        FTYP + movie() + struct.pack(">I4s", 1, b"mdat") + bytes(7),
        FTYP + MEDIA + movie()[:-1],
        FTYP + movie() + MEDIA[:8],
    ],
)
def test_a_file_that_ends_inside_a_box_is_not_whole(content: bytes) -> None:
    """Also where the cut goes through a header."""
    assert not is_whole(content)


@pytest.mark.parametrize(
    "rest", [struct.pack(">I4s", 5, b"what") + bytes(100), b"\x7f" * 50, bytes(100), b"\n", MEDIA[:7]]
)
def test_what_stands_behind_the_last_box_is_no_cut(rest: bytes) -> None:
    """Nothing is missing from a file that has all that its boxes announce."""
    assert is_whole(FTYP + movie() + MEDIA + rest)


def test_a_damaged_index_is_no_cut() -> None:
    """Its boxes make no sense, and the media beside it is there."""
    damaged = box(b"moov", box(b"trak", struct.pack(">I4s", 3, b"tkhd") + bytes(50)))
    assert is_whole(FTYP + damaged + MEDIA)


def samples(*sizes: int) -> bytes:
    return box(b"stsz", bytes(8), struct.pack(f">{len(sizes) + 1}I", len(sizes), *sizes))


def index(table: bytes) -> bytes:
    return box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", table)))))


def fragment(header: bytes, run: bytes) -> bytes:
    return box(b"moof", box(b"traf", box(b"tfhd", header), box(b"trun", run)))


EXTENDS = box(b"moov", box(b"mvex", box(b"trex", struct.pack(">6I", 0, 1, 1, 0, 100, 0))))


@pytest.mark.parametrize(
    "before",
    [
        index(samples(100, 150, 50)),
        index(box(b"stsz", struct.pack(">3I", 0, 100, 3))),
        EXTENDS + fragment(struct.pack(">2I", 0, 1), struct.pack(">2I", 0, 3)),
        EXTENDS + fragment(struct.pack(">4I", 0x18, 1, 0, 150), struct.pack(">3I", 1, 2, 8)),
        EXTENDS + fragment(struct.pack(">2I", 0, 1), struct.pack(">8I", 0x305, 2, 8, 0, 9, 100, 9, 200)),
    ],
    ids=["sizes", "one size", "size of the film", "size of the fragment", "sizes of the run"],
)
def test_media_without_a_length_are_whole_where_all_samples_are_there(before: bytes) -> None:
    """Only the index tells: 300 bytes of media, and not one less."""
    assert is_whole(FTYP + before + open_box(b"mdat", bytes(300)))
    assert not is_whole(FTYP + before + open_box(b"mdat", bytes(299)))


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    """Nobody takes a failing disk for a cut file."""

    class Broken(io.BytesIO):
        def read(self, *args: Any) -> bytes:
            raise OSError("I/O error")

    with pytest.raises(OSError, match="I/O error"):
        read(Broken(FTYP + movie()))
