"""What an MP4 file says of itself: just enough of its boxes for length and size."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

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


def is_mp4(head: bytes) -> bool:
    """Whether a file begins as an MP4 file does."""
    return head[4:8] == b"ftyp"


def read_facts(file: BinaryIO) -> Facts:
    """Read the facts of a file; one that is damaged has none, and is no error."""
    seconds: float | None = None
    sizes: list[tuple[int, int]] = []
    with suppress(struct.error, OSError, ValueError):
        for kind, content in _headers(file):
            if kind == b"mvhd":
                seconds = _duration(content)
            else:
                sizes.append(_dimensions(content))
    width, height = max(sizes, default=(0, 0))
    return Facts(seconds, width or None, height or None)


def _headers(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The movie's header and each track's, in order; containers are entered, all else is skipped."""
    position, end = 0, file.seek(0, 2)
    for _ in range(MAX_BOXES):
        if position + 8 > end:
            return
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        body = position + 8
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
            body += 8
        if kind in (b"mvhd", b"tkhd"):
            yield kind, file.read(min(max(length - 8, 0), MAX_HEADER))
        if length == 0:
            return
        if length < body - position:
            raise ValueError("a box that is shorter than its own header")
        position = body if kind in CONTAINERS else position + length


def _duration(content: bytes) -> float | None:
    """Seconds, from a movie header of either version."""
    form, offset = (">IQ", 20) if content[:1] == b"\x01" else (">II", 12)
    scale, duration = struct.unpack_from(form, content, offset)
    return round(duration / scale, 3) if scale else None


def _dimensions(content: bytes) -> tuple[int, int]:
    """Pixels, from a track header of either version; a sound track has none."""
    width, height = struct.unpack_from(">II", content, 88 if content[:1] == b"\x01" else 76)
    return width >> 16, height >> 16
