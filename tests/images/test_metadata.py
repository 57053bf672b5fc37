"""Only pixels are uploaded: what a picture tells beside them is left behind."""

import io
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, ImageCms

from tests.images import makers
from tests.images.makers import quadrants, saved, with_chunk, with_segment
from wan_mcp.images.colours import to_srgb
from wan_mcp.images.fitting import fit

SECRET = b"51.5074N secret"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def tell_all_jpeg() -> bytes:
    content = saved(quadrants(), "JPEG", exif=makers.exif(gps=True), comment=SECRET, icc_profile=SRGB)
    for marker in (0xE1, 0xE2, 0xE4, 0xED, 0xEF, 0xFE):
        content = with_segment(content, marker, SECRET)
    return content + SECRET


def tell_all_png() -> bytes:
    content = saved(quadrants(), "PNG", exif=makers.exif(gps=True), icc_profile=SRGB)
    for name in (b"tEXt", b"caBX", b"prVt"):
        content = with_chunk(content, name, b"a\0" + SECRET)
    content = with_chunk(content, b"iTXt", b"a\0\0\0\0\0" + SECRET)
    content = with_chunk(content, b"tIME", bytes([7, 230, 1, 1, 1, 1, 1]))
    return content + SECRET


def tell_all_webp() -> bytes:
    return saved(quadrants(), "WEBP", exif=makers.exif(gps=True), xmp=SECRET, icc_profile=SRGB) + SECRET


def tell_all_heic() -> bytes:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif has no wheel for this system")
    heif.register_heif_opener()
    image = quadrants()
    image.info["exif"] = makers.exif(gps=True).tobytes()
    return saved(image, "HEIF", icc_profile=SRGB) + SECRET


def difference(one: bytes, other: bytes) -> float:
    """Steps of 255 by which a pixel differs, on the average."""
    with Image.open(io.BytesIO(one)) as before, Image.open(io.BytesIO(other)) as after:
        steps = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L").histogram()
    return sum(step * count for step, count in enumerate(steps)) / sum(steps)


@pytest.mark.parametrize("make", [tell_all_jpeg, tell_all_png, tell_all_webp, tell_all_heic])
def test_only_the_picture_stays(make: Callable[[], bytes]) -> None:
    """Neither texts nor places nor what follows the end; the pixels hardly change."""
    content = make()
    prepared = fit(content)
    assert prepared.content is not None
    assert difference(content, prepared.content) < 1
    with Image.open(io.BytesIO(prepared.content)) as image:
        assert not image.getexif()
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & image.info.keys()
    assert SECRET not in prepared.content
    assert prepared.adjusted[-1] == "metadata removed, including the location"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_fits_keeps_its_format_and_looks_the_same(kind: str) -> None:
    """Encoded anew, but so that nobody can tell, and without a word."""
    content = saved(makers.photo(100, 75).resize((800, 600), Image.Resampling.BICUBIC), kind)
    prepared = fit(content)
    assert (prepared.format, prepared.adjusted) == (kind.lower(), ())
    assert prepared.content is not None
    assert difference(content, prepared.content) < 2
    assert len(prepared.content) < 2 * len(content)


def test_a_picture_that_is_too_long_is_compressed() -> None:
    """Over ten megabytes it becomes a JPEG, and the answer says so."""
    content = saved(makers.photo(2000, 1990), "PNG", compress_level=0)
    prepared = fit(content)
    assert prepared.content is not None
    assert len(prepared.content) <= 10_000_000
    assert prepared.adjusted[-1].startswith("compressed from 11.9 MB to ")


def test_texts_that_the_decoder_would_give_up_on_do_no_harm() -> None:
    """Some programs write whole workflows into their pictures."""
    endless = b"workflow\0\0" + zlib.compress(bytes(30_000_000))
    prepared = fit(with_chunk(saved(quadrants(2400, 1200), "PNG"), b"zTXt", endless))
    assert (prepared.width, prepared.height) == (2000, 1000)
    assert prepared.adjusted[-1] == "metadata removed"


def test_a_comment_of_another_format_is_not_carried_over() -> None:
    """Pillow would write it again."""
    assert SECRET not in (fit(saved(quadrants(), "GIF", comment=SECRET)).content or b"")


def linear() -> bytes:
    """The sRGB profile without its curves."""
    profile = SRGB
    for entry in range(132, 132 + 12 * SRGB[131], 12):
        if SRGB[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            start = int.from_bytes(SRGB[entry + 4 : entry + 8], "big")
            profile = profile[:start] + b"curv" + bytes(8) + profile[start + 12 :]
    return profile


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (None, None),
        (SRGB, None),
        (makers.wide_gamut_profile(), "colours of another profile converted to sRGB"),
        (linear(), "colours of another profile converted to sRGB"),
        (
            ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
            "unusable colour profile removed",
        ),
        (b"nonsense", "unusable colour profile removed"),
    ],
    ids=["none", "sRGB", "Display P3", "linear light", "of another kind", "nonsense"],
)
def test_profiles_are_told_apart_by_what_they_do_to_colours(profile: bytes | None, said: str | None) -> None:
    """One that leaves them as they are is worth no word."""
    assert to_srgb(quadrants(), profile)[1] == said
