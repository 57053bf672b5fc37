"""A contact sheet: pictures in a grid, each with its time under it, as a small JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, log
from typing import TYPE_CHECKING

from wan_mcp.images.fitting import saved, scaled

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 100_000
SIDE = 1600
_SIDES = (SIDE, 1280, 960, 640, 400)
"""Pixels of the sheet's longer side, at most. Even noise takes fewer than ``MAX_BYTES`` at the last one."""
_QUALITIES = (85, 75, 62, 50, 38)
_GAP, _LABEL = 6, 22
"""Pixels between the pictures, and of the line with the times."""
_SHAPE = 1.4
"""The intended ratio of the sheet's width to its height: chat programs show such pictures large."""


def drawn(pictures: Sequence[Image.Image], labels: Sequence[str]) -> bytes:
    """A JPEG of at most ``MAX_BYTES``: smaller and more compressed the more the pictures need."""
    for side, quality in product(_SIDES, _QUALITIES):
        if quality == _QUALITIES[0]:
            sheet = _sheet(pictures, labels, side)
        encoded = saved(sheet, "jpeg", quality=quality, optimize=True)
        if len(encoded) <= MAX_BYTES:
            break
    return encoded


def _sheet(pictures: Sequence[Image.Image], labels: Sequence[str], side: int) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    width, height = pictures[0].size
    columns = _columns(len(pictures), width / height)
    rows = ceil(len(pictures) / columns)
    scale = min((side / columns - _GAP) / width, (side / rows - _GAP - _LABEL) / height, 1)
    width, height = max(round(width * scale), 1), max(round(height * scale), 1)
    size = columns * (width + _GAP) + _GAP, rows * (height + _LABEL + _GAP) + _GAP
    sheet = Image.new("RGB", size, "silver")  # on white, a white picture would not be seen
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LABEL - 4)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        row, column = divmod(number, columns)
        left, top = _GAP + column * (width + _GAP), _GAP + row * (height + _LABEL + _GAP)
        sheet.paste(scaled(picture, (width, height)), (left, top))
        draw.text((left + width / 2, top + height + _LABEL / 2), label, "black", font, anchor="mm")
    return sheet


def _columns(count: int, shape: float) -> int:
    """The number of columns that leaves few places empty and comes near to ``_SHAPE``."""

    def badness(columns: int) -> float:
        rows = ceil(count / columns)
        return abs(log(shape * columns / rows / _SHAPE)) + (columns * rows - count) / count

    return min(range(1, count + 1), key=badness)
