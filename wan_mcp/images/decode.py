"""Decoding the first frame of a picture with Pillow, or saying why that failed."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wan_mcp.errors import PictureError
from wan_mcp.images.facts import Facts
from wan_mcp.images.formats.exif import ORIENTATION
from wan_mcp.images.formats.head import SAVE_AGAIN, damaged
from wan_mcp.images.limits import check_possible

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_MAX_SCANS = 200
"""Progressive files have about ten; thousands are made to keep a decoder busy."""


def decode(content: bytes, facts: Facts, *, at_least: tuple[int, int]) -> ImageFile:
    """Decode the first frame; a JPEG at the smallest of its own scales that is at least that large.

    The plugins are called by name, since ``Image.open`` would try others as well.
    """
    if facts.format == "jpeg" and content.count(b"\xff\xda") > _MAX_SCANS:
        raise PictureError(f"has more than {_MAX_SCANS} scans", next_step=SAVE_AGAIN)
    image: ImageFile = _opener(facts.format)(io.BytesIO(content))
    check_possible(*image.size)
    if facts.format not in ("avif", "heic") and sorted(image.size) != sorted((facts.width, facts.height)):
        raise damaged("it tells two different sizes")
    if facts.format == "jpeg":
        image.draft(image.mode, at_least)
    image.load()
    return image


def _opener(kind: str) -> Any:
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    if kind == "heic":
        return _heic_opener()
    if kind == "avif" and not AvifImagePlugin.SUPPORTED:
        text = "is an AVIF picture, and the installed Pillow cannot read those"
        raise PictureError(text, next_step=SAVE_AGAIN)
    return {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
        "avif": AvifImagePlugin.AvifImageFile,
    }[kind]


def _heic_opener() -> Any:
    try:
        return import_module("pillow_heif").HeifImageFile
    except ImportError:
        raise PictureError(
            "is a HEIC picture, as iPhones make them, and reading those is not installed",
            next_step="Install the extra wan-mcp[heic], or export the picture as JPEG and give that.",
        ) from None


def left_to_turn(image: ImageFile, facts: Facts) -> int:
    """The EXIF orientation that a decoded picture still has: some decoders turn by themselves."""
    if facts.format != "avif":
        return 1 if facts.format in ("tiff", "heic") else facts.orientation
    value: int = image.getexif().get(ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def undecodable(error: Exception) -> PictureError:
    """The error for a picture that the decoder gave up on; the decoder's own words may quote the file."""
    if isinstance(error, OSError) and "truncated" in str(error):
        text = "is cut off: it ends in the middle of the picture"
    else:
        text = f"cannot be decoded; it is damaged, or of an unusual kind ({type(error).__name__})"
    return PictureError(text, next_step=SAVE_AGAIN)
