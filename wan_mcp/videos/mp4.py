"""What an MP4 file says of itself: just enough of its boxes for length and size."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

CONTAINERS = (b"moov", b"trak", b"mdia")
MAX_BOXES = 10_000
MAX_HEADER = 256
"""Bytes of a header box that are read; real ones have about a hundred."""


@dataclass(frozen=True)
class Facts:
    """Length and size of a video; None where the file does not say."""

    seconds: float | None = None
    width: int | None = None
    height: int | None = None


class _Box(NamedTuple):
    kind: bytes
    body: int
    """Where its content begins in the file."""
    end: int


def is_mp4(head: bytes) -> bool:
    """Whether a file begins as an MP4 file does."""
    return head[4:8] == b"ftyp"


def is_whole(file: BinaryIO) -> bool:
    """Whether every box of a file ends in it: where one goes on, the rest of the file is missing."""
    size = file.seek(0, 2)
    try:
        return all(box.end <= size for box in _boxes(file, size))
    except struct.error:  # a header that breaks off
        return False
    except ValueError:  # damaged, which is not the same
        return True


def read_facts(file: BinaryIO) -> Facts:
    """Read the facts of a file; one that is damaged has none, and is no error."""
    seconds: float | None = None
    sizes: list[tuple[int, int]] = []
    with suppress(struct.error, OSError, ValueError):
        for box in _boxes(file, file.seek(0, 2)):
            if box.kind == b"mvhd":
                seconds = _duration(_content(file, box))
            elif box.kind == b"tkhd":
                sizes.append(_dimensions(_content(file, box)))
    width, height = max(sizes, default=(0, 0))
    return Facts(seconds, width or None, height or None)


def _boxes(file: BinaryIO, size: int) -> Iterator[_Box]:
    """The boxes of a file of ``size`` bytes, in order; containers are entered, all else is skipped."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > size:
            return
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        body = position + 8
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
            body += 8
        end = position + length if length else size
        if end < body:
            raise ValueError("a box that is shorter than its own header")
        yield _Box(kind, body, end)
        position = body if kind in CONTAINERS else end


def _content(file: BinaryIO, box: _Box) -> bytes:
    file.seek(box.body)
    return file.read(min(box.end - box.body, MAX_HEADER))


def _duration(content: bytes) -> float | None:
    """Seconds, from a movie header of either version; all ones, or none, stand for unknown."""
    form, offset, unknown = (">IQ", 20, 2**64 - 1) if content[:1] == b"\x01" else (">II", 12, 2**32 - 1)
    scale, duration = struct.unpack_from(form, content, offset)
    return round(duration / scale, 3) if scale and duration not in (0, unknown) else None


def _dimensions(content: bytes) -> tuple[int, int]:
    """Pixels, from a track header of either version; a sound track has none."""
    width, height = struct.unpack_from(">II", content, 88 if content[:1] == b"\x01" else 76)
    return width >> 16, height >> 16
