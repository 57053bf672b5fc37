"""What an MP4 or MOV file says of itself: only the boxes that tell length, size and completeness."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NamedTuple

TOP = frozenset(
    b"ftyp styp moov mdat moof mfra free skip wide pnot pdin emsg sidx ssix prft uuid udta meta".split()
)
"""The boxes at the top level of a file; any of them may be the first one."""
CONTAINERS = frozenset(b"moov trak mdia minf stbl mvex moof traf".split())
MAX_DEPTH = 6
MAX_BOXES = 100_000
MAX_CONTENT = 4 * 1024**2
"""Bytes of a box that are read; a table of samples has four for each sample."""


@dataclass(frozen=True)
class Movie:
    """What a file says of itself; None where it does not say."""

    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    brand: bytes | None = None
    """Four letters for the kind of file."""
    is_turned: bool = False
    """Whether a track is to be shown turned or mirrored."""
    is_whole: bool = False
    """False where it is recognisably cut."""


class _Box(NamedTuple):
    kind: bytes
    body: int
    """Where its content begins in the file."""
    end: int
    is_open: bool
    """Whether it has no length, and goes on to the end."""
    depth: int


@dataclass
class _Samples:
    """Adds up the bytes of media that a file's index lists."""

    total: int = 0
    default: int = 0
    defaults: dict[int, int] = field(default_factory=dict)

    def add(self, kind: bytes, content: bytes) -> None:
        flags = int.from_bytes(content[1:4], "big")
        if kind == b"stsz":
            size, count = struct.unpack_from(">II", content, 4)
            self.total += size * count if size else sum(struct.unpack_from(f">{count}I", content, 12))
        elif kind == b"trex":
            track, size = struct.unpack_from(">I8xI", content, 4)
            self.defaults[track] = size
        elif kind == b"tfhd":
            track = int.from_bytes(content[4:8], "big")
            before = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2) + 4 * bool(flags & 8)
            has_default = bool(flags & 0x10)
            self.default = self.defaults.get(track, 0)
            if has_default:
                self.default = struct.unpack_from(">I", content, before)[0]
        elif kind == b"trun":
            count = int.from_bytes(content[4:8], "big")
            fields = (flags >> 8 & 0xF).bit_count()
            if flags & 0x200:
                before = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
                values = struct.unpack_from(f">{count * fields}I", content, before)
                self.total += sum(values[flags >> 8 & 1 :: fields])
            else:
                self.total += count * self.default


def read(file: BinaryIO) -> Movie:
    """Read what a file says of itself; a damaged one says less, and is not an error."""
    size = file.seek(0, 2)
    seconds, sides, brand, is_turned = None, [(0, 0)], None, False
    tops: list[_Box] = []
    samples = _Samples()
    for box in islice(_boxes(file, 0, size), MAX_BOXES):
        if box.depth == 0 and box.kind in TOP:
            tops.append(box)
        with suppress(struct.error):
            if box.kind in (b"ftyp", b"styp"):
                brand = brand or _content(file, box)[:4]
            elif box.kind == b"mvhd":
                seconds = _duration(_content(file, box))
            elif box.kind == b"tkhd":
                sides.append(_dimensions(_content(file, box)))
                is_turned |= _is_turned(_content(file, box))
            elif box.kind in (b"stsz", b"trex", b"tfhd", b"trun"):
                samples.add(box.kind, _content(file, box))
    width, height = max(sides)
    return Movie(
        seconds, width or None, height or None, brand, is_turned, _is_whole(tops, size, samples.total)
    )


def _is_whole(tops: list[_Box], size: int, listed: int) -> bool:
    """Whether the file has everything that its boxes at the top announce."""
    kinds = {box.kind for box in tops}
    media = [box for box in tops if box.kind == b"mdat"]
    if b"moov" not in kinds or not kinds & {b"mdat", b"moof"} or any(box.end > size for box in tops):
        return False
    if b"moof" in kinds or any(box.is_open for box in media):  # only the index tells where such a file ends
        return listed <= sum(box.end - box.body for box in media)
    return True


def _boxes(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[_Box]:
    """The boxes between two positions, in order; containers are entered, all else is skipped."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        length, kind = struct.unpack_from(">I4s", header)
        body, is_open = start + 8, length == 0
        if length == 1:
            body += 8
            length = int.from_bytes(header[8:], "big") if len(header) == 16 else end + 1  # cut in the header
        stop = start + length if length else end
        if stop < body:  # shorter than its own header: what follows is no box
            return
        yield _Box(kind, body, stop, is_open, depth)
        if kind in CONTAINERS and depth < MAX_DEPTH:
            yield from _boxes(file, body, min(stop, end), depth + 1)
        start = stop


def _content(file: BinaryIO, box: _Box) -> bytes:
    file.seek(box.body)
    return file.read(min(box.end - box.body, MAX_CONTENT))


def _duration(content: bytes) -> float | None:
    """Seconds, from a movie header of either version; all ones, or none, stand for unknown."""
    form, offset, unknown = (">IQ", 20, 2**64 - 1) if content[:1] == b"\x01" else (">II", 12, 2**32 - 1)
    scale, duration = struct.unpack_from(form, content, offset)
    return round(duration / scale, 3) if scale and duration not in (0, unknown) else None


def _dimensions(content: bytes) -> tuple[int, int]:
    """Pixels, from a track header of either version; a sound track has none."""
    width, height = struct.unpack_from(">II", content, 88 if content[:1] == b"\x01" else 76)
    return width >> 16, height >> 16


def _is_turned(content: bytes) -> bool:
    """Whether the matrix of a track header does more than move the picture."""
    matrix = struct.unpack_from(">9i", content, 52 if content[:1] == b"\x01" else 40)
    return (matrix[0] <= 0 or matrix[4] <= 0 or matrix[1] != 0 or matrix[3] != 0) and any(matrix)
