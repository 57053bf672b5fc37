"""A poster: a small JPEG that shows a picture. Runs in a thread, imports Pillow late."""

import io
from contextlib import suppress
from itertools import product

from wan_mcp.errors import PictureError
from wan_mcp.images.colours import scalable
from wan_mcp.images.decoding import decoding_errors, opened
from wan_mcp.images.fitting import decode, saved, scaled, visible

MAX_BYTES = 60_000
_SIDES = (640, 480, 320, 200)
"""Pixels of the longer side, at most. Even noise takes fewer than ``MAX_BYTES`` at the last one."""
_QUALITIES = (82, 70, 55, 40)


def poster(content: bytes) -> bytes:
    """A JPEG file of at most ``MAX_BYTES`` and 640 pixels a side: sRGB, upright, on white, without metadata.

    Args:
        content: a picture that Evolink takes, as a whole file.

    Raises:
        PictureError: when it cannot be decoded.
    """
    with decoding_errors():
        image, kind = opened(content)
        size = _within(_SIDES[0], *image.size)
        deep, _, orientation = decode(image, kind, size)
        picture = visible(scaled(scalable(image), size), image, deep, orientation)[0].convert("RGB")
        for side, quality in product(_SIDES, _QUALITIES):
            smaller = scaled(picture, _within(side, *picture.size))
            encoded = saved(smaller, "jpeg", quality=quality, optimize=True)
            if len(encoded) <= MAX_BYTES:
                break
        return encoded


def is_whole(content: bytes) -> bool:
    """Whether a poster from the disk can be shown."""
    from PIL import Image

    if len(content) > MAX_BYTES:
        return False
    with (
        suppress(PictureError),
        decoding_errors(),
        Image.open(io.BytesIO(content), formats=["JPEG"]) as image,
    ):
        if max(image.size) <= _SIDES[0]:  # a small file of a huge picture would take much memory
            image.load()
            return True
    return False


def _within(side: int, width: int, height: int) -> tuple[int, int]:
    """The size of a picture, reduced where its longer side has more than ``side`` pixels."""
    scale = min(1.0, side / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)
