"""Undoing the encoding of a transfer, for hosts that compress although they were asked not to."""

from collections.abc import Iterator
from pathlib import Path

import httpx2

from wan_mcp.videos import formats

BLOCK = 256 * 1024
"""Bytes that are decoded at once."""
GZIP = b"\x1f\x8b\x08"


class Unreadable(Exception):
    """Raised when a file is not encoded as its host says, or is cut off."""


def decode(source: Path, target: Path, coding: str, limit: int) -> bool:
    """Decode ``source`` into ``target``; returns whether there was anything to decode.

    Args:
        source: the body as it was received.
        target: created or overwritten.
        coding: its Content-Encoding. A body without one can be gzip, and a body with one a plain video.
        limit: bytes at most.

    Raises:
        Unreadable: when it cannot be decoded, or has more bytes than ``limit``.
    """
    with source.open("rb") as file:
        head = file.read(formats.HEAD)
    if head.startswith(GZIP) and coding.lower().rpartition(",")[2].strip() != "gzip":
        coding = "gzip"
    if not coding or formats.ending(head):
        return False
    size = 0
    with target.open("wb") as file:
        try:
            for part in httpx2.Response(
                200, headers={"content-encoding": coding}, content=_blocks(source)
            ).iter_bytes():
                size += file.write(part)
                if size > limit:
                    raise Unreadable
        except httpx2.DecodingError as error:
            raise Unreadable from error
    return True


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
