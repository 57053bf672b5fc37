"""Colours: anything a picture file can hold becomes eight-bit sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from PIL import Image

_COLORANTS = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
"""Red, green and blue of sRGB, adapted to D50 as ICC profiles have them."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of more than eight bits a channel, all of them grey."""
_PROFILE_MODES = {b"RGB ": ("RGB", "RGBA"), b"GRAY": ("L",), b"CMYK": ("CMYK",)}


def is_srgb(profile: bytes | None) -> bool:
    """Whether an ICC profile describes sRGB; a picture without one is sRGB by convention."""
    if not profile:
        return True
    if profile[16:20] != b"RGB ":
        return False
    tags = _tags(profile)
    curve = tags.get(b"rTRC", b"")
    if curve[:4] == b"curv" and curve[8:12] == bytes(4):  # no points: linear light
        return False
    return all(
        abs(measured - wanted) < 0.003
        for name, colour in _COLORANTS.items()
        for measured, wanted in zip(_xyz(tags.get(name, b"")), colour, strict=True)
    )


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(int.from_bytes(profile[128:132], "big"), 100)
    tags = {}
    for at in range(132, 132 + 12 * count, 12):
        start = int.from_bytes(profile[at + 4 : at + 8], "big")
        tags[profile[at : at + 4]] = profile[start : start + 20]
    return tags


def _xyz(tag: bytes) -> tuple[float, float, float]:
    x, y, z = (int.from_bytes(tag[at : at + 4], "big", signed=True) / 65536 for at in (8, 12, 16))
    return x, y, z


def to_srgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """The picture in mode RGB or RGBA, and what was done to its colours if that is worth a word."""
    profile = image.info.get("icc_profile")
    before = image.mode
    image = _plain(image)
    if isinstance(profile, bytes) and not is_srgb(profile):
        converted = _by_profile(image, profile)
        if converted is not None:
            name = "CMYK" if before == "CMYK" else "colours of another profile"
            return converted, f"{name} converted to sRGB"
    words = {"CMYK": "CMYK converted to sRGB", "LAB": "Lab colours converted to sRGB"}
    word = words.get(before, None if is_srgb(profile) else "unusable colour profile removed")
    return (image if image.mode in ("RGB", "RGBA") else image.convert("RGB")), word


def _plain(image: Image.Image) -> Image.Image:
    """One of the modes L, RGB, RGBA and CMYK."""
    if image.mode in DEEP:
        return _eight_bits(image)
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "1"):
        return image.convert("L")
    if image.mode == "LAB":
        return _from_lab(image)
    return image if image.mode in ("RGB", "RGBA", "CMYK") else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep greys, with the white point that the numbers in them suggest."""
    floats = image.convert("F")
    low, high = (float(number) for number in cast("tuple[float, float]", floats.getextrema()))
    points = (65535.0,) if image.mode.startswith("I;16") else (1.0, 255.0, 65535.0)
    white = next((point for point in points if high <= point), high)
    black = min(low, 0.0)
    scale = 255 / (white - black)
    return floats.point(lambda value: value * scale - black * scale).convert("L")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return converted or image.convert("RGB")


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Converted by its profile; None where the profile cannot be used, and is better ignored."""
    if image.mode not in _PROFILE_MODES.get(profile[16:20], ()):
        return None
    from PIL import ImageCms

    output: Literal["RGB", "RGBA"] = "RGBA" if image.mode == "RGBA" else "RGB"
    in_place = output == image.mode  # spares a copy of the picture
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode=output, inPlace=in_place)
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None
    return image if in_place else converted
