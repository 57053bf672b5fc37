"""Files in every orientation and size, and odd ones, and what should become of them."""

from __future__ import annotations

from functools import partial

from tests.images import makers
from tests.images.case import WHITE, Case
from tests.images.makers import BLUE, GREEN, RED, quadrants, saved, see_through, turned

X = "\N{MULTIPLICATION SIGN}"
LAID, UNSEEN = "transparency laid on white", (RED, GREEN, BLUE, WHITE)


def sideways(kind: str, result: str, *words: str) -> list[Case]:
    """The same picture, stored in each of the ways that EXIF can tell how to undo."""
    return [
        Case(
            f"{kind} with EXIF orientation {orientation}",
            partial(turned, kind, orientation),
            (f"turned upright (EXIF orientation {orientation})", *words),
            format=result,
        )
        for orientation in range(2, 9)
    ]


ORIENTATIONS = [
    Case("JPEG with EXIF that only turns", partial(turned, "JPEG", 1), format="jpeg"),
    Case("PNG with EXIF that only turns", partial(turned, "PNG", 1)),
    Case("WebP with EXIF that only turns", partial(turned, "WEBP", 1), format="webp"),
    Case("TIFF with EXIF", partial(turned, "TIFF", 1), ("converted from TIFF to PNG",)),
    *sideways("JPEG", "jpeg"),
    *sideways("PNG", "png"),
    *sideways("WEBP", "png", "converted from WebP to PNG"),
    *sideways("TIFF", "png", "converted from TIFF to PNG"),
]


def scaled(before: tuple[int, int], after: tuple[int, int]) -> str:
    return f"scaled from {before[0]}{X}{before[1]} to {after[0]}{X}{after[1]}"


def resized(kind: str, before: tuple[int, int], after: tuple[int, int], **options: object) -> Case:
    return Case(
        f"{kind} of {before[0]}x{before[1]}",
        lambda: saved(quadrants(*before), kind, **options),
        adjusted=(scaled(before, after),),
        size=after,
        format=kind.lower(),
    )


def phone_photo() -> bytes:
    image = makers.lying(quadrants(3024, 4032), 6)
    return saved(image, "JPEG", quality=85, exif=makers.exif(6, gps=True))


SIZES = [
    resized("JPEG", (2400, 1200), (2000, 1000)),
    resized("PNG", (2400, 1200), (2000, 1000)),
    resized("JPEG", (4000, 4000), (2000, 2000)),
    resized("JPEG", (4032, 3024), (2000, 1500)),
    resized("JPEG", (9000, 6000), (2000, 1333)),
    resized("PNG", (5000, 3000), (2000, 1200)),
    resized("JPEG", (200, 200), (360, 360)),
    resized("PNG", (180, 180), (360, 360)),
    resized("JPEG", (300, 600), (360, 720)),
    resized("PNG", (2001, 2000), (2000, 1999)),
    resized("JPEG", (361, 2003), (360, 2000)),
    resized("PNG", (10000, 1900), (2000, 380)),
    Case(
        "JPEG just narrow enough",
        lambda: saved(quadrants(360, 2000), "JPEG"),
        size=(360, 2000),
        format="jpeg",
    ),
    Case(
        "JPEG just large enough", lambda: saved(quadrants(360, 360), "JPEG"), size=(360, 360), format="jpeg"
    ),
    Case("PNG just small enough", lambda: saved(quadrants(2000, 2000), "PNG"), size=(2000, 2000)),
    Case(
        "a phone's photo, sideways, with its place",
        phone_photo,
        (
            "turned upright (EXIF orientation 6)",
            scaled((3024, 4032), (1500, 2000)),
            "metadata removed, including the location",
        ),
        size=(1500, 2000),
        format="jpeg",
    ),
    Case(
        "a tall screenshot with alpha",
        lambda: saved(see_through(1179, 2556), "PNG"),
        (scaled((1179, 2556), (923, 2000)), LAID),
        size=(923, 2000),
        look=UNSEEN,
    ),
]
ODD = [
    Case(
        "JPEG with something behind its end",
        lambda: saved(quadrants(), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(5000),
        format="jpeg",
    ),
    Case(
        "PNG with something behind its end",
        lambda: saved(quadrants(), "PNG") + bytes(5000),
    ),
    Case(
        "JPEG of several pictures",
        lambda: saved(quadrants(), "MPO", save_all=True, append_images=[quadrants(160, 120)]),
        format="jpeg",
    ),
    Case(
        "JPEG with a broken EXIF block",
        lambda: makers.with_segment(saved(quadrants(), "JPEG"), 0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        format="jpeg",
    ),
    Case(
        "JPEG with a comment and an XMP block that tells the place",
        lambda: makers.with_segment(
            saved(quadrants(), "JPEG", comment="home"),
            0xE1,
            b"http://ns.adobe.com/xap/1.0/\0<exif:GPSLatitude>",
        ),
        ("metadata removed, including the location",),
        format="jpeg",
    ),
    Case(
        "PNG with texts",
        lambda: makers.with_chunk(saved(quadrants(), "PNG"), b"tEXt", b"Author\0somebody"),
        ("metadata removed",),
    ),
    Case(
        "GIF with a comment",
        lambda: saved(quadrants(), "GIF", comment=b"home"),
        ("converted from GIF to PNG", "metadata removed"),
    ),
]
