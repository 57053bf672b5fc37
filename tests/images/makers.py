"""Real picture files, made in memory: four coloured quadrants, so that a picture shows which way is up."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms, ImageDraw
from PIL.Image import Transpose

Colour = tuple[int, int, int]

RED, GREEN, BLUE, YELLOW = (220, 40, 40), (40, 190, 60), (40, 60, 210), (230, 220, 50)
QUADRANTS = (RED, GREEN, BLUE, YELLOW)
"""Upper left, upper right, lower left, lower right."""

GPS = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 17.0)}

_LYING = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def quadrants(width: int = 800, height: int = 600) -> Image.Image:
    """The picture as it should look in the end."""
    image = Image.new("RGB", (width, height), RED)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=BLUE)
    draw.rectangle((width // 2, height // 2, width, height), fill=YELLOW)
    return image


def lying(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that writes this EXIF orientation."""
    return image.transpose(_LYING[orientation]) if orientation > 1 else image


def exif(orientation: int = 1, gps: bool = False) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    if gps:
        tags[34853] = GPS
    return tags


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(kind: str, orientation: int, **options: Any) -> bytes:
    return saved(lying(quadrants(), orientation), kind, exif=exif(orientation), **options)


def photo(width: int, height: int) -> Image.Image:
    """Something with as many colours as a photo, and as hard to compress as its noise makes it."""
    noise = Image.effect_noise((width, height), 60)
    slope = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (noise, slope, noise.transpose(Transpose.FLIP_LEFT_RIGHT)))


def see_through(width: int = 800, height: int = 600) -> Image.Image:
    """The quadrants, the last of which cannot be seen."""
    image = quadrants(width, height).convert("RGBA")
    image.paste((9, 9, 9, 0), (width // 2, height // 2, width, height))
    return image


def wide_gamut_profile() -> bytes:
    """The sRGB profile with the colorants of Display P3."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colorants = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for entry in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        name, start = profile[entry : entry + 4], int.from_bytes(profile[entry + 4 : entry + 8], "big")
        if name in colorants:
            values = b"".join(round(n * 65536).to_bytes(4, "big", signed=True) for n in colorants[name])
            profile = profile[: start + 8] + values + profile[start + 20 :]
    return profile


def box(name: bytes, *content: bytes) -> bytes:
    """A box of the structure that HEIC, AVIF and MP4 files have."""
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4, "big") + name + body


def heic(width: int = 800, height: int = 600, *, turns: int = 0, brand: bytes = b"heic") -> bytes:
    """The boxes that describe a HEIC picture, without the picture."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    thumbnail = (160).to_bytes(4, "big") + (120).to_bytes(4, "big")
    properties = box(
        b"ipco",
        box(b"ispe", bytes(4), thumbnail),
        box(b"ispe", bytes(4), size),
        box(b"irot", bytes([turns])),
    )
    associations = box(b"ipma", bytes(4), (2).to_bytes(4, "big"), b"\0\2\1\x81", b"\0\1\2\x82\x83")
    meta = box(b"meta", bytes(4), box(b"pitm", bytes(4), b"\0\1"), box(b"iprp", properties, associations))
    return box(b"ftyp", brand, bytes(4), b"mif1", b"heic") + meta + box(b"mdat", bytes(64))


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    import zlib

    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG file with a chunk more behind its header."""
    return png[:33] + chunk(name, body) + png[33:]


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG file with a segment more at its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def animation_of(kind: str) -> bytes:
    """The quadrants, and three frames or pages of one colour."""
    others = [Image.new("RGB", (800, 600), colour) for colour in ("black", "white", "grey")]
    return saved(quadrants(), kind, save_all=True, append_images=others, duration=80)
