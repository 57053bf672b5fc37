"""Colours: anything that a picture file can hold becomes eight-bit sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from PIL import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of more than eight bits a channel, all of them grey."""
_SAMPLES = bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 120, 60, 30, 90, 170, 128, 128, 128))
"""Colours that come out of any profile but sRGB as others."""
_UNNOTICED = 4
"""Steps of 255 by which a colour may change unnoticed: profiles of sRGB differ in rounding."""


def scalable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be mixed: F, L, RGB, RGBA, CMYK or LAB."""
    if image.mode in DEEP:
        return image.convert("F")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "RGBA", "CMYK", "LAB") else image.convert("RGB")


def to_srgb(image: Image.Image, mode: str, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """The picture in mode L, RGB or RGBA, and what was done to its colours if that is worth a word.

    Args:
        image: as ``scalable`` made it.
        mode: the one that the file was in.
        profile: the file's ICC profile; without one, a picture is sRGB by convention.
    """
    from PIL import ImageCms

    if image.mode == "F":
        return _eight_bits(image, mode), None
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
    return cast("Image.Image", converted)  # None is only the answer where it converts in place


def _is_srgb(source: Any, mode: str) -> bool:
    """Whether a profile leaves colours as they are."""
    from PIL import Image

    samples = Image.frombytes("RGB", (len(_SAMPLES) // 3, 1), _SAMPLES).convert(mode)
    converted = _convert(samples, source)
    pairs = zip(samples.convert("RGB").tobytes(), converted.convert("RGB").tobytes(), strict=True)
    return all(abs(before - after) <= _UNNOTICED for before, after in pairs)


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """Deep greys, with the white point that the numbers in them suggest."""
    low, high = (float(number) for number in cast("tuple[float, float]", image.getextrema()))
    points = (65535.0,) if mode.startswith("I;16") else (1.0, 255.0, 65535.0)
    white = next((point for point in points if high <= point), high)
    black = min(low, 0.0)
    scale = 255 / (white - black)
    return image.point(lambda value: value * scale - black * scale).convert("L")
