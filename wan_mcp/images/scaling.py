"""Scaling and turning a decoded picture, fast and in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_BAND = 128
"""Rows made at a time."""
_NEARLY = 1.25
"""Below this factor a cheaper filter cannot be told from the best one."""


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at another size; an RGB picture that shrinks is given up, its memory used again."""
    from PIL.Image import Resampling

    if image.size == size:
        return image
    factor = image.width / size[0]
    if image.mode != "RGB" or factor < 1:
        return image.resize(size, Resampling.LANCZOS, reducing_gap=2.0)
    if factor >= 4:
        image = image.reduce(int(factor / 2))
        factor = image.width / size[0]
    _shrink(image, size, Resampling.BICUBIC if factor < _NEARLY else Resampling.LANCZOS)
    return _window(image, size)


def _shrink(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> None:
    """Scale into the upper left corner of the picture itself, band by band.

    A band lies above the rows that it is made from, but for a few at its edge: so each is written
    only after the next one was made.
    """
    width, height = size
    row = image.height / height
    waiting: tuple[Image.Image, int] | None = None
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        box = (0, top * row, image.width, min(bottom * row, image.height))
        band = image.resize((width, bottom - top), resample, box=box)
        if waiting is not None:
            image.paste(waiting[0], (0, waiting[1]))
        waiting = band, top
    if waiting is not None:
        image.paste(waiting[0], (0, waiting[1]))


def _window(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The upper left corner as a picture of its own that shares the memory, so that it costs no copy.

    It can be saved, and cut into parts. What else Pillow does sees the whole picture.
    """
    from PIL import Image

    class Window(Image.Image):
        def __init__(self) -> None:
            super().__init__()
            self.im = image.im
            self._mode, self._size = image.mode, size

    return Window()


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture turned and mirrored as its EXIF orientation (2 to 8) asks, band by band."""
    from PIL import Image
    from PIL.Image import Transpose

    turn, backwards = {
        2: (Transpose.FLIP_LEFT_RIGHT, False),
        3: (Transpose.ROTATE_180, True),
        4: (Transpose.FLIP_TOP_BOTTOM, True),
        5: (Transpose.TRANSPOSE, False),
        6: (Transpose.ROTATE_270, True),
        7: (Transpose.TRANSVERSE, True),
        8: (Transpose.ROTATE_90, False),
    }[orientation]
    width, height = picture.size
    turned = Image.new(picture.mode, (height, width) if orientation >= 5 else (width, height))
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        band = picture.crop((0, top, width, bottom)).transpose(turn)
        place = height - bottom if backwards else top
        turned.paste(band, (place, 0) if orientation >= 5 else (0, place))
    return turned
