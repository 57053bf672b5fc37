"""Colours: anything that a picture file can hold becomes eight-bit sRGB."""

from __future__ import annotations

import io
import math
from array import array
from typing import TYPE_CHECKING, Any, Literal, cast

from wan_mcp.errors import PictureError
from wan_mcp.images.unsupported import SAVE_AGAIN

if TYPE_CHECKING:
    from PIL import Image

DEEP = ("I", "F")
"""The beginnings of Pillow's modes with more than eight bits a channel, all of them grey."""
SCALABLE = ("L", "RGB", "RGBA", "CMYK", "LAB", "F")
"""Its modes whose pixels can be mixed."""
_SAMPLES = bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 120, 60, 30, 90, 170, 128, 128, 128))
"""Colours that every profile except sRGB changes."""
_UNNOTICED = 4
"""Steps of 255 by which a colour may change unnoticed: profiles of sRGB differ in rounding."""


def scalable(image: Image.Image) -> Image.Image:
    """The picture in one of the modes ``SCALABLE``."""
    if image.mode.startswith("I;16"):
        image = image.convert("I").point([value >> 8 for value in range(65536)], "L")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in SCALABLE:
        return image
    return image.convert("F" if image.mode.startswith(DEEP) else "RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """The picture in mode L, RGB or RGBA, and what was done to its colours if the user should know.

    Args:
        image: as ``scalable`` made it.
        profile: the file's ICC profile; without one, a picture is sRGB by convention.
    """
    from PIL import ImageCms

    if image.mode == "F":
        return _eight_bits(image), None
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _convert(image, lab), "Lab colours converted to sRGB"
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if image.mode != "CMYK" and _is_srgb(source, image.mode):
                return image, None
            name = "CMYK" if image.mode == "CMYK" else "colours of another profile"
            return _convert(image, source), f"{name} converted to sRGB"
        except (OSError, ValueError, ImageCms.PyCMSError):
            pass  # the profile says nothing that can be used
    if image.mode == "CMYK":
        return image.convert("RGB"), "CMYK converted to sRGB"
    return image, "unusable colour profile removed" if profile else None


def _convert(image: Image.Image, source: Any) -> Image.Image:
    from PIL import ImageCms

    output: Literal["RGB", "RGBA"] = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=output)
    return cast("Image.Image", converted)  # None only where it converts in place


def _is_srgb(source: Any, mode: str) -> bool:
    """Whether a profile leaves colours as they are."""
    from PIL import Image

    samples = Image.frombytes("RGB", (len(_SAMPLES) // 3, 1), _SAMPLES).convert(mode)
    converted = _convert(samples, source)
    pairs = zip(samples.convert("RGB").tobytes(), converted.convert("RGB").tobytes(), strict=True)
    return all(abs(before - after) <= _UNNOTICED for before, after in pairs)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Reduce deep greys to eight bits. The numbers suggest the white point; a few outliers do not count."""
    from PIL.Image import Resampling

    sample = array("f", image.resize((256, 256), Resampling.NEAREST).tobytes())
    numbers = sorted(filter(math.isfinite, sample))
    if not numbers:
        raise PictureError("has pixels without a brightness", next_step=SAVE_AGAIN)
    low, high = numbers[len(numbers) // 100], numbers[-1 - len(numbers) // 100]
    white = next((point for point in (1.0, 255.0, 65535.0) if high <= point), high)
    black = min(low, 0.0)
    scale = 255 / (white - black)
    return image.point(lambda value: value * scale - black * scale).convert("L")
