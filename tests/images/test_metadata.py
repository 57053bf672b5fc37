"""What a picture tells beside itself is taken off without touching a pixel."""

import io
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms

from tests.images import makers
from tests.images.makers import quadrants, saved, with_chunk, with_segment
from wan_mcp.images import colours
from wan_mcp.images.fitting import fit

SECRET = b"51.5074N secret"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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


@pytest.mark.parametrize("make", [tell_all_jpeg, tell_all_png, tell_all_webp])
def test_only_the_picture_and_its_colours_stay(make: Callable[[], bytes]) -> None:
    content = make()

    prepared = fit(content)

    with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(prepared.content)) as after:
        assert before.tobytes() == after.tobytes()
        assert after.info["icc_profile"] == SRGB
        assert not after.getexif()
    assert SECRET not in prepared.content
    assert prepared.adjusted == ("metadata removed, the location among it",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_tells_nothing_is_passed_on_byte_for_byte(kind: str) -> None:
    content = saved(quadrants(), kind)

    assert fit(content).content == content


def test_a_progressive_jpeg_keeps_all_its_scans() -> None:
    content = saved(makers.photo(800, 600), "JPEG", progressive=True)

    assert fit(with_segment(content, 0xFE, SECRET)).content == content


def test_a_file_that_is_too_long_only_for_its_metadata_is_not_encoded_again() -> None:
    content = saved(quadrants(), "JPEG")
    long = content
    while len(long) < 10_500_000:
        long = with_segment(long, 0xEF, bytes(65_000))

    assert fit(long).content == content


def test_a_picture_that_is_too_long_is_compressed() -> None:
    content = saved(makers.photo(2000, 1990), "PNG", compress_level=0)

    prepared = fit(content)

    assert len(prepared.content) <= 10_000_000
    assert prepared.format == "jpeg"
    assert prepared.adjusted[0] == "converted from PNG to JPEG"
    assert prepared.adjusted[1].startswith("compressed from 11.9 MB to ")


def test_texts_that_the_decoder_would_give_up_on_do_no_harm() -> None:
    endless = b"workflow\0\0" + zlib.compress(bytes(30_000_000))

    prepared = fit(with_chunk(saved(quadrants(2400, 1200), "PNG"), b"zTXt", endless))

    assert (prepared.width, prepared.height) == (2000, 1000)
    assert prepared.adjusted[-1] == "metadata removed"


def test_a_comment_of_another_format_is_not_carried_over() -> None:
    prepared = fit(saved(quadrants(), "GIF", comment=SECRET))

    assert SECRET not in prepared.content


def test_profiles_are_told_apart_by_their_colours() -> None:
    assert colours.is_srgb(None)
    assert colours.is_srgb(SRGB)
    assert not colours.is_srgb(makers.wide_gamut_profile())
    assert not colours.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    assert not colours.is_srgb(b"nonsense")


def test_linear_light_is_not_taken_for_srgb() -> None:
    start = next(
        int.from_bytes(SRGB[entry + 4 : entry + 8], "big")
        for entry in range(132, 132 + 12 * SRGB[131], 12)
        if SRGB[entry : entry + 4] == b"rTRC"
    )

    assert not colours.is_srgb(SRGB[:start] + b"curv" + bytes(8) + SRGB[start + 12 :])
