"""Decoded pictures as a player shows them: upright, with square pixels, in their own colours."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream
    from PIL import Image

BT709, FULL_RANGE = 1, 2
"""The number of a matrix in H.273, and that of a range in libav."""
HD_LINES = 720
"""Players read untagged pictures with at least so many lines as BT.709, and smaller ones as BT.601."""
MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
"""The names that libav's scaler has for the matrices of H.273."""
_NUMBERS = {"bt709": 1, "fcc": 4, "bt601": 5, "smpte240m": 7, "bt2020": 9}
"""The numbers that the scaler has for these names."""
_EXACT = 0x40000 | 0x2000
"""Libav's flags for exact rounding and full chroma. Without them each picture is a little darker than its
frame, and a chain of videos that continue each other gets dark."""
_TURNS = {90: 2, 180: 3, 270: 4}
"""Pillow's numbers for turns by an angle, counter-clockwise."""


def pixel_aspect(stream: VideoStream) -> Fraction:
    """How much wider than high a pixel is."""
    return stream.sample_aspect_ratio or Fraction(1)


def displayed_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width and height as a player shows them."""
    size = max(round(frame.width * aspect), 1), frame.height
    return size[::-1] if frame.rotation % 180 else size


def matrix(frame: VideoFrame) -> str:
    """The matrix from which red, green and blue were made, by the scaler's name for it."""
    return MATRICES.get(frame.colorspace, "bt709" if frame.height >= HD_LINES else "bt601")


def is_full_range(frame: VideoFrame) -> bool:
    return frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")


def image_of(frame: VideoFrame, aspect: Fraction) -> Image.Image:
    """A picture for Pillow."""
    from av.video.reformatter import ColorRange, Interpolation
    from PIL.Image import Transpose

    shown = frame.reformat(
        width=max(round(frame.width * aspect), 1),
        format="rgb24",
        src_colorspace=_NUMBERS[matrix(frame)],
        src_color_range=ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | _EXACT,
    )
    image: Image.Image = shown.to_image()  # type: ignore[no-untyped-call]  # PyAV gives it no types
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return image if turn is None else image.transpose(Transpose(turn))
