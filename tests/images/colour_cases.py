"""Files in every mode, colour space and number of frames, and what should become of them."""

from __future__ import annotations

import io
import zlib
from array import array
from functools import partial

from PIL import Image, ImageCms

from tests.images import makers
from tests.images.case import WHITE, Case
from tests.images.makers import (
    BLUE,
    GREEN,
    QUADRANTS,
    RED,
    YELLOW,
    Colour,
    animation_of,
    quadrants,
    saved,
    see_through,
    turned,
)


def grey(*colours: Colour) -> tuple[Colour, ...]:
    return tuple(
        (luma, luma, luma) for luma in (round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in colours)
    )


def avif(orientation: int) -> Case:
    told = () if orientation == 1 else (f"turned upright (EXIF orientation {orientation})",)
    return Case(
        f"AVIF turned by its boxes, as EXIF orientation {orientation} would",
        lambda: turned("AVIF", orientation),
        adjusted=(*told, "converted from AVIF to JPEG"),
        format="jpeg",
    )


def deep(mode: str, code: str) -> Image.Image:
    """Grey quadrants of sixteen bits: black, dark, light, white."""
    rows = [
        array(code, [left] * 400 + [right] * 400).tobytes() for left, right in ((0, 20000), (45000, 65535))
    ]
    return Image.frombytes(mode, (800, 600), rows[0] * 300 + rows[1] * 300)


DEEP = tuple((value >> 8, value >> 8, value >> 8) for value in (0, 20000, 45000, 65535))


def cmyk(kind: str) -> bytes:
    return saved(quadrants().convert("CMYK"), kind)


def lab() -> bytes:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(quadrants(), *profiles, outputMode="LAB")
    assert converted is not None
    return saved(converted, "TIFF")


def wide_gamut(kind: str) -> bytes:
    """Quadrants that look the same, told in the colours of a wider space."""
    profile = makers.wide_gamut_profile()
    wide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(quadrants(), ImageCms.createProfile("sRGB"), wide)
    assert converted is not None
    return saved(converted, kind, icc_profile=profile)


def transparent_colour() -> bytes:
    """A PNG whose yellow is declared to be transparent."""
    return saved(quadrants(), "PNG", transparency=YELLOW)


def bmp_with_alpha() -> bytes:
    """A BMP with a header of the fifth version, whose fourth byte is alpha."""
    pixels = see_through().tobytes("raw", "BGRA", 0, -1)
    sizes = (124).to_bytes(4, "little") + (800).to_bytes(4, "little") + (600).to_bytes(4, "little")
    header = sizes + b"\1\0\x20\0\3\0\0\0" + len(pixels).to_bytes(4, "little") + bytes(16)
    header += b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    header = header.ljust(124, b"\0")
    return b"BM" + (138 + len(pixels)).to_bytes(4, "little") + bytes(4) + b"\x8a\0\0\0" + header + pixels


def raw_png(
    bits: int, code: str, corners: tuple[tuple[int, ...], ...], transparent: tuple[int, ...]
) -> bytes:
    """A PNG of four flat corners, made by hand: ``code`` is what ``array`` calls such a number."""

    def row(left: tuple[int, ...], right: tuple[int, ...]) -> bytes:
        numbers = array(code, (left * 400 + right * 400))
        if bits == 4:
            return bytes(high << 4 | low for high, low in zip(numbers[::2], numbers[1::2], strict=True))
        numbers.byteswap()
        return numbers.tobytes()

    one, two = (b"\0" + row(*corners[:2])) * 300, (b"\0" + row(*corners[2:])) * 300
    kind = 2 if len(transparent) == 3 else 0
    header = (800).to_bytes(4, "big") + (600).to_bytes(4, "big") + bytes((bits, kind, 0, 0, 0))
    told = b"".join(number.to_bytes(2, "big") for number in transparent)
    chunks = ((b"IHDR", header), (b"tRNS", told), (b"IDAT", zlib.compress(one + two)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(makers.chunk(name, body) for name, body in chunks)


def outlying(number: float) -> bytes:
    """Numbers from 0 to 1, and a few that are no brightness, such as a map has where nothing was measured."""
    image = deep("F", "f").point(lambda v: v * (1 / 65535) + 0)
    for x in range(5):
        image.putpixel((x * 100 + 50, 2), number)
    return saved(image, "TIFF")


def other_tables() -> bytes:
    """A JPEG whose only quantisation table is the second."""
    jpeg = bytearray(saved(quadrants(), "JPEG", qtables=[[8] * 64]))
    jpeg[jpeg.find(b"\xff\xdb") + 4] = 1
    for component in range(3):
        jpeg[jpeg.find(b"\xff\xc0") + 12 + 3 * component] = 1
    return bytes(jpeg)


def five_six_five() -> bytes:
    """A BMP of two bytes a pixel."""
    colours = [(red >> 3) << 11 | (green >> 2) << 5 | blue >> 3 for red, green, blue in QUADRANTS]
    rows = [array("H", [left] * 400 + [right] * 400).tobytes() for left, right in (colours[2:], colours[:2])]
    header = b"".join(number.to_bytes(4, "little") for number in (40, 800, 600)) + b"\1\0\x10\0\3\0\0\0"
    header = header.ljust(40, b"\0") + b"".join(m.to_bytes(4, "little") for m in (0xF800, 0x7E0, 0x1F))
    return b"BM" + bytes(8) + (66).to_bytes(4, "little") + header + rows[0] * 300 + rows[1] * 300


REDUCED = ("more than 8 bits a channel reduced to 8", "converted from TIFF to PNG")
LAID = "transparency laid on white"
UNSEEN = (RED, GREEN, BLUE, WHITE)
MODES = [
    Case("plain JPEG", lambda: saved(quadrants(), "JPEG"), format="jpeg"),
    Case("progressive JPEG", lambda: saved(quadrants(), "JPEG", progressive=True), format="jpeg"),
    Case("grey JPEG", lambda: saved(quadrants().convert("L"), "JPEG"), format="jpeg", look=grey(*QUADRANTS)),
    Case("CMYK JPEG", lambda: cmyk("JPEG"), ("CMYK converted to sRGB",), format="jpeg", tolerance=40),
    Case("plain PNG", lambda: saved(quadrants(), "PNG")),
    Case("palette PNG", lambda: saved(quadrants().quantize(8), "PNG")),
    Case("grey PNG", lambda: saved(quadrants().convert("L"), "PNG"), look=grey(*QUADRANTS)),
    Case(
        "black and white PNG",
        lambda: saved(quadrants().convert("L").point(lambda v: 255 if v > 100 else 0).convert("1"), "PNG"),
        look=((0, 0, 0), WHITE, (0, 0, 0), WHITE),
    ),
    Case("PNG with alpha", lambda: saved(see_through(), "PNG"), (LAID,), look=UNSEEN),
    Case(
        "PNG with an alpha channel that hides nothing",
        lambda: saved(quadrants().convert("RGBA"), "PNG"),
        ("unused alpha channel removed",),
    ),
    Case(
        "grey PNG with alpha",
        lambda: saved(see_through().convert("LA"), "PNG"),
        (LAID,),
        look=(*grey(RED, GREEN, BLUE), WHITE),
    ),
    Case("PNG with a transparent colour", transparent_colour, (LAID,), look=UNSEEN),
    Case(
        "palette PNG with transparency",
        lambda: saved(see_through().quantize(16), "PNG"),
        (LAID,),
        look=UNSEEN,
    ),
    Case(
        "16-bit grey PNG",
        lambda: saved(deep("I;16", "H"), "PNG"),
        ("more than 8 bits a channel reduced to 8",),
        look=DEEP,
    ),
    Case("plain WebP", lambda: saved(quadrants(), "WEBP"), format="webp"),
    Case("lossless WebP", lambda: saved(quadrants(), "WEBP", lossless=True), format="webp"),
    Case(
        "WebP with alpha",
        lambda: saved(see_through(), "WEBP"),
        (LAID, "converted from WebP to PNG"),
        look=UNSEEN,
    ),
    Case("BMP", lambda: saved(quadrants(), "BMP"), ("converted from BMP to PNG",)),
    Case("palette BMP", lambda: saved(quadrants().quantize(8), "BMP"), ("converted from BMP to PNG",)),
    Case("BMP with alpha", bmp_with_alpha, (LAID, "converted from BMP to PNG"), look=UNSEEN),
    Case("GIF", lambda: saved(quadrants(), "GIF"), ("converted from GIF to PNG",)),
    Case(
        "GIF with transparency",
        lambda: saved(see_through(), "GIF"),
        (LAID, "converted from GIF to PNG"),
        look=UNSEEN,
    ),
    Case(
        "TIFF with alpha",
        lambda: saved(see_through(), "TIFF"),
        (LAID, "converted from TIFF to PNG"),
        look=UNSEEN,
    ),
    Case(
        "16-bit grey PNG with a transparent grey",
        lambda: raw_png(16, "H", ((0,), (20000,), (45000,), (33023,)), (33023,)),
        (LAID, REDUCED[0]),
        look=(*DEEP[:3], WHITE),
    ),
    Case(
        "16-bit PNG with a transparent colour",
        lambda: raw_png(16, "H", ((0,) * 3, (20000,) * 3, (45000,) * 3, (1, 33023, 9)), (1, 33023, 9)),
        (LAID, REDUCED[0]),
        look=(*DEEP[:3], WHITE),
    ),
    Case(
        "4-bit grey PNG with a transparent grey",
        lambda: raw_png(4, "B", ((0,), (3,), (10,), (5,)), (5,)),
        (LAID,),
        look=((0, 0, 0), (51, 51, 51), (170, 170, 170), WHITE),
    ),
    Case("JPEG with tables of other numbers", other_tables, format="jpeg"),
    Case("BMP of two bytes a pixel", five_six_five, ("converted from BMP to PNG",)),
    Case(
        "16-bit TIFF in which white is zero",
        lambda: saved(deep("I;16", "H"), "TIFF", tiffinfo={262: 0}),
        REDUCED,
        look=tuple((255 - v, 255 - v, 255 - v) for v, *_ in DEEP),
    ),
    *(
        Case(f"floating TIFF with {number}", partial(outlying, number), REDUCED, look=DEEP)
        for number in (1.0001, float("inf"), float("nan"), -3.4e38)
    ),
    Case("16-bit TIFF", lambda: saved(deep("I;16", "H"), "TIFF"), REDUCED, look=DEEP),
    Case("32-bit TIFF", lambda: saved(deep("I", "i"), "TIFF"), REDUCED, look=DEEP),
    Case(
        "floating TIFF",
        lambda: saved(deep("F", "f").point(lambda v: v * (1 / 65535) + 0), "TIFF"),
        REDUCED,
        look=DEEP,
    ),
    Case(
        "CMYK TIFF",
        lambda: cmyk("TIFF"),
        ("CMYK converted to sRGB", "converted from TIFF to PNG"),
        tolerance=40,
    ),
    Case("Lab TIFF", lab, ("Lab colours converted to sRGB", "converted from TIFF to PNG")),
    Case(
        "packed TIFF",
        lambda: saved(quadrants(), "TIFF", compression="tiff_deflate"),
        ("converted from TIFF to PNG",),
    ),
    Case(
        "TIFF of several pages",
        lambda: animation_of("TIFF"),
        ("first of several pages", "converted from TIFF to PNG"),
    ),
    Case(
        "AVIF with alpha",
        lambda: saved(see_through(), "AVIF"),
        (LAID, "converted from AVIF to JPEG"),
        look=UNSEEN,
        format="jpeg",
    ),
    *map(avif, (1, 3, 6, 8)),
]
ANIMATIONS = [
    Case(
        "animated GIF",
        lambda: animation_of("GIF"),
        ("first frame of an animation", "converted from GIF to PNG"),
    ),
    Case(
        "animated WebP",
        lambda: animation_of("WEBP"),
        ("first frame of an animation of 4", "converted from WebP to PNG"),
    ),
    Case("animated PNG", lambda: animation_of("PNG"), ("first frame of an animation of 4",)),
    Case(
        "animated AVIF",
        lambda: animation_of("AVIF"),
        ("first frame of an animation of 4", "converted from AVIF to JPEG"),
        format="jpeg",
    ),
]
PROFILES = [
    Case(
        f"{kind} in the colours of Display P3",
        partial(wide_gamut, kind),
        ("colours of another profile converted to sRGB", *more),
        format=result,
    )
    for kind, result, more in (
        ("JPEG", "jpeg", ()),
        ("PNG", "png", ()),
        ("WEBP", "png", ("converted from WebP to PNG",)),
    )
]
PROFILES.append(
    Case(
        "JPEG with an sRGB profile",
        lambda: saved(
            quadrants(),
            "JPEG",
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ),
        format="jpeg",
    )
)
PROFILES.append(
    Case(
        "PNG with a profile that is none",
        lambda: saved(quadrants(), "PNG", icc_profile=b"nonsense" * 30),
        ("unusable colour profile removed",),
    )
)
PROFILES.append(
    Case(
        "JPEG with a profile that is cut off",
        lambda: saved(quadrants(), "JPEG", icc_profile=makers.wide_gamut_profile()[:200]),
        ("unusable colour profile removed",),
        format="jpeg",
    )
)
