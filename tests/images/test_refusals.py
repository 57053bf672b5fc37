"""What cannot be made to fit is refused with the numbers, in words that help."""

from collections.abc import Callable

import pytest
from PIL import Image

from tests.images import makers
from tests.images.makers import box, quadrants, saved
from wan_mcp.errors import PictureError
from wan_mcp.images import fitting
from wan_mcp.images.fitting import fit
from wan_mcp.images.limits import fitted_size

X = "\N{MULTIPLICATION SIGN}"


def bomb() -> bytes:
    """A PNG of a few hundred bytes that says to have 400 million pixels."""
    small = saved(quadrants(), "PNG")
    header = (20_000).to_bytes(4, "big") * 2 + small[24:29]
    return small[:8] + makers.chunk(b"IHDR", header) + small[33:]


def half(kind: str, **options: object) -> bytes:
    content = saved(makers.photo(600, 600), kind, **options)
    return content[: len(content) // 2]


def scanning() -> bytes:
    """A JPEG that says to be made of a thousand scans."""
    content = saved(quadrants(2500, 2500), "JPEG", progressive=True)
    scan = content.index(b"\xff\xda")
    return content[:-2] + content[scan : scan + 200].replace(b"\xff\xd9", b"") * 1000 + content[-2:]


def raw_photo() -> bytes:
    """A TIFF whose first page says to be a preview, as in a camera's raw file."""
    return saved(quadrants(), "TIFF", tiffinfo={254: 1})


def two_sizes() -> bytes:
    """A PNG whose header is there twice."""
    content = saved(quadrants(), "PNG")
    other = (900).to_bytes(4, "big") * 2 + content[24:29]
    return content[:33] + makers.chunk(b"IHDR", other) + content[33:]


def broken_png() -> bytes:
    """A PNG whose chunks are all there, but whose packed picture is garbage."""
    content = saved(quadrants(), "PNG")
    return content[:33] + makers.chunk(b"IDAT", b"garbage") + makers.chunk(b"IEND", b"")


UNKNOWN = "is a file of an unknown kind, not a picture that can be used"
CUT = "is cut off: it ends in the middle of the picture"

REFUSALS: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", "is empty (0 bytes)"),
    (
        "a web page",
        lambda: b"\n <!DOCTYPE html><html><body>Not here</body>",
        "is a web page (HTML), not",
    ),
    ("a web page without a doctype", lambda: b"<html lang=en>", "is a web page (HTML), not"),
    ("an XHTML page", lambda: b"<?xml version='1.0'?><html>", "is a web page (HTML), not"),
    (
        "an SVG drawing",
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "is an SVG drawing, not",
    ),
    ("an SVG drawing in XML", lambda: b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "is an SVG drawing, not"),
    ("an XML error", lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied", "is an XML document, not"),
    ("a JSON error", lambda: b'{"error": "no such picture"}', "is a JSON text, not a picture"),
    ("a text", lambda: b"The picture is elsewhere.", "is a text, not a picture"),
    (
        "an MP4 video",
        lambda: box(b"ftyp", b"isom", bytes(4), b"mp42") + bytes(99),
        "is an MP4 or QuickTime vid",
    ),
    (
        "a QuickTime video",
        lambda: box(b"ftyp", b"qt  ", bytes(4)) + bytes(99),
        "is an MP4 or QuickTime vid",
    ),
    ("an old QuickTime video", lambda: box(b"moov", bytes(99)), "is a QuickTime video"),
    ("a WebM video", lambda: b"\x1aE\xdf\xa3" + bytes(99), "is a WebM or Matroska video"),
    ("an AVI video", lambda: b"RIFF\0\0\0\0AVI LIST", "is an AVI video"),
    ("a sound", lambda: b"RIFF\0\0\0\0WAVEfmt ", "is a sound file"),
    ("a PDF", lambda: b"%PDF-1.7\n" + bytes(99), "is a PDF document"),
    ("an archive", lambda: b"PK\3\4" + bytes(99), "is an archive or an Office document"),
    ("a JPEG XL picture", lambda: b"\xff\x0a" + bytes(99), "is a JPEG XL picture"),
    ("a JPEG 2000 picture", lambda: saved(quadrants(), "JPEG2000"), "is a JPEG 2000 picture"),
    ("an icon", lambda: saved(quadrants(), "ICO"), "is an icon file"),
    ("a Photoshop document", lambda: b"8BPS\0\1" + bytes(99), "is a Photoshop document"),
    ("a raw photo", raw_photo, "is a camera's raw file"),
    ("a Canon raw photo", lambda: box(b"ftyp", b"crx ", bytes(4)) + bytes(99), "is a camera's raw file"),
    ("noise", lambda: bytes(range(256)), UNKNOWN),
    ("zeros", lambda: bytes(5000), UNKNOWN),
    ("half a JPEG that fits", lambda: half("JPEG"), CUT),
    ("half a large JPEG", lambda: saved(makers.photo(2400, 2400), "JPEG")[:90_000], CUT),
    ("half a progressive JPEG", lambda: half("JPEG", progressive=True), CUT),
    ("half a large PNG", lambda: saved(quadrants(2400, 2400), "PNG")[:2000], CUT),
    ("half a PNG", lambda: half("PNG"), CUT),
    ("half a WebP", lambda: half("WEBP"), "cannot be decoded: it is damaged or of an unusual kind"),
    ("half a GIF", lambda: half("GIF"), CUT),
    ("half a BMP", lambda: half("BMP"), CUT),
    ("half a TIFF", lambda: half("TIFF"), CUT),
    ("half an AVIF", lambda: half("AVIF"), "cannot be decoded: it is damaged or of an unusual kind"),
    ("a PNG of garbage", broken_png, "cannot be decoded: it is damaged or of an unusual kind"),
    ("a PNG of two sizes", two_sizes, CUT),
    (
        "only the beginning of a JPEG",
        lambda: saved(quadrants(), "JPEG")[:700] + bytes(9999),
        CUT,
    ),
    ("a bomb", bomb, f"is 20000{X}20000 pixels, 400 million; at most 120 million are opened"),
    ("a thousand scans", scanning, "has more than 100 scans"),
    (
        "a ribbon",
        lambda: saved(Image.new("RGB", (5000, 300)), "PNG"),
        f"is 5000{X}300 pixels: the sides differ by 16.7 to 1; "
        "at most 5.56 to 1 can fit into 360 to 2000 pixels",
    ),
    (
        "a tower",
        lambda: saved(Image.new("L", (200, 1200)), "JPEG"),
        f"is 200{X}1200 pixels: the sides differ by 6 to 1; at most 5.56 to 1 can fit",
    ),
    (
        "a thumbnail",
        lambda: saved(quadrants(179, 300), "JPEG"),
        f"is 179{X}300 pixels: too small. Each side must be 360 to 2000 pixels, "
        "and a picture is enlarged at most twofold, so both need 180 or more",
    ),
    ("a pixel", lambda: saved(Image.new("RGB", (1, 1)), "GIF"), f"is 1{X}1 pixels: too small"),
]


@pytest.mark.parametrize(("name", "make", "told"), REFUSALS, ids=[name for name, _, _ in REFUSALS])
def test_it_is_refused_with_what_it_is_and_what_to_do(
    name: str, make: Callable[[], bytes], told: str
) -> None:
    with pytest.raises(PictureError) as refused:
        fit(make())

    assert refused.value.message.startswith(told)
    assert refused.value.next_step.endswith(".")
    assert refused.value.charged == "no"


def test_a_real_heic_picture_stands_upright_in_srgb() -> None:
    """As an iPhone makes it: turned by the file's own transformation, in Display P3, with its place."""
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif has no wheel for this system")
    heif.register_heif_opener()
    stored = makers.lying(quadrants(2400, 1200), 6)
    stored.info["exif"] = makers.exif(6, gps=True).tobytes()

    prepared = fit(saved(stored, "HEIF", icc_profile=makers.wide_gamut_profile()))

    assert prepared.adjusted == (
        f"scaled from 2400{X}1200 to 2000{X}1000",
        "colours of another profile converted to sRGB",
        "converted from HEIC to JPEG",
        "metadata removed, including the location",
    )


def test_running_out_of_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the picture that is too large for the machine, not a fault of the server."""

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fitting, "check_memory", exhausted)

    with pytest.raises(PictureError, match="needs more memory than there is"):
        fit(saved(quadrants(), "PNG"))


FITTED = [
    ((4032, 3024), (2000, 1500)),
    ((3024, 4032), (1500, 2000)),
    ((2000, 360), (2000, 360)),
    ((2500, 450), (2000, 360)),
    ((200, 1000), (360, 1800)),
    ((180, 1000), (360, 2000)),
    ((359, 359), (360, 360)),
    ((2001, 361), (2000, 361)),
]


@pytest.mark.parametrize(("size", "fitted"), FITTED)
def test_the_size_that_fits_keeps_the_shape(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fitted_size(*size) == fitted


def test_every_size_that_is_not_refused_fits_and_keeps_its_shape() -> None:
    for short in range(180, 2300, 37):
        for long in range(short, min(short * 2000 // 360, 9000) + 1, 211):
            width, height = fitted_size(long, short)
            assert 360 <= height <= width <= 2000
            assert abs(width / height - long / short) <= 0.006 * long / short
            assert height <= 2 * short
