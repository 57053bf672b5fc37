"""What a picture says of itself, from as few bytes as it takes."""

import io
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images import makers
from tests.images.makers import animation_of, lying, quadrants, saved, see_through, with_chunk, with_segment
from wan_mcp.errors import PictureError
from wan_mcp.images.facts import Facts, NeedMore, facts, facts_of

SMALL = {
    kind: saved(quadrants(400, 300), kind, **options)
    for kind, options in {
        "JPEG": {"exif": makers.exif(6, gps=True)},
        "PNG": {"exif": makers.exif(3)},
        "WEBP": {"exif": makers.exif(8)},
        "GIF": {},
        "BMP": {},
        "TIFF": {},
        "AVIF": {},
    }.items()
} | {"HEIC": makers.heic(400, 300)}

KNOWN = [
    ("JPEG", Facts("jpeg", 400, 300, orientation=6, location=True)),
    ("PNG", Facts("png", 400, 300, orientation=3)),
    ("WEBP", Facts("webp", 400, 300, orientation=8)),
    ("GIF", Facts("gif", 400, 300)),
    ("BMP", Facts("bmp", 400, 300)),
    ("TIFF", Facts("tiff", 400, 300)),
    ("AVIF", Facts("avif", 400, 300)),
    ("HEIC", Facts("heic", 400, 300)),
]


@pytest.mark.parametrize(("kind", "known"), KNOWN, ids=[kind for kind, _ in KNOWN])
def test_each_format_tells_its_facts(kind: str, known: Facts) -> None:
    assert facts_of(SMALL[kind]) == known


@pytest.mark.parametrize("kind", [kind for kind, _ in KNOWN])
def test_asking_for_what_is_needed_leads_to_the_same_facts_and_never_past_the_end(kind: str) -> None:
    content = SMALL[kind]
    found: Facts | NeedMore = facts(b"")
    while isinstance(found, NeedMore):
        assert found.size <= len(content)
        found = facts(content[: found.size])
    assert found == facts_of(content)


TRANSPARENT = [
    ("PNG with alpha", saved(see_through(), "PNG")),
    ("grey PNG with alpha", saved(see_through().convert("LA"), "PNG")),
    ("palette PNG with transparency", saved(see_through().quantize(16), "PNG")),
    ("PNG with a transparent colour", saved(quadrants(), "PNG", transparency=makers.RED)),
    ("WebP with alpha", saved(see_through(), "WEBP")),
    ("lossless WebP with alpha", saved(see_through(), "WEBP", lossless=True)),
    ("GIF with transparency", saved(see_through(), "GIF")),
    ("TIFF with alpha", saved(see_through(), "TIFF")),
    ("AVIF with alpha", saved(see_through(), "AVIF")),
]


@pytest.mark.parametrize(("name", "content"), TRANSPARENT, ids=[name for name, _ in TRANSPARENT])
def test_transparency_is_seen(name: str, content: bytes) -> None:
    found = facts_of(content)

    assert found.transparent
    assert (found.width, found.height) == (800, 600)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_several_frames_or_pages_are_seen(kind: str) -> None:
    assert facts_of(animation_of(kind)).animated


@pytest.mark.parametrize("big_tiff", [False, True])
def test_a_tiff_of_either_width_tells_its_size(big_tiff: bool) -> None:
    content = saved(quadrants(), "TIFF", big_tiff=big_tiff)

    assert facts_of(content) == Facts("tiff", 800, 600)


def test_a_bmp_may_be_stored_from_top_to_bottom_or_have_the_oldest_header() -> None:
    content = saved(quadrants(), "BMP")
    upside_down = content[:22] + (2**32 - 600).to_bytes(4, "little") + content[26:]
    oldest = b"BM" + bytes(12) + b"\x0c\0\0\0" + b"\x20\x03\x58\x02" + bytes(20)

    assert facts_of(upside_down) == facts_of(oldest) == Facts("bmp", 800, 600)


@pytest.mark.parametrize(
    ("turns", "size"), [(0, (800, 600)), (1, (600, 800)), (2, (800, 600)), (3, (600, 800))]
)
def test_a_heic_picture_tells_the_size_of_the_picture_as_it_is_turned(
    turns: int, size: tuple[int, int]
) -> None:
    found = facts_of(makers.heic(turns=turns))

    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    ("brand", "kind"), [(b"heic", "heic"), (b"heix", "heic"), (b"mif1", "heic"), (b"avif", "avif")]
)
def test_the_brand_tells_heic_and_avif_apart(brand: bytes, kind: str) -> None:
    assert facts_of(makers.heic(brand=brand)).format == kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_the_one_a_person_sees(orientation: int) -> None:
    content = saved(lying(quadrants(), orientation), "JPEG", exif=makers.exif(orientation))

    assert facts_of(content).upright_size == (800, 600)


def test_cmyk_and_sixteen_bits_are_seen() -> None:
    assert facts_of(saved(quadrants().convert("CMYK"), "JPEG")).cmyk
    assert facts_of(saved(Image.new("I;16", (400, 400)), "PNG")).deep


def test_a_large_jpeg_is_known_from_its_first_kilobytes() -> None:
    content = saved(makers.photo(2000, 2000), "JPEG", quality=95, exif=makers.exif(6))

    assert facts(content[:2048]) == Facts("jpeg", 2000, 2000, orientation=6)


def test_an_exif_block_behind_a_png_is_seen_only_with_the_whole_file() -> None:
    plain = saved(quadrants(), "PNG")
    content = plain[:-12] + makers.chunk(b"eXIf", makers.exif(6).tobytes()[6:]) + plain[-12:]

    assert facts(content) == Facts("png", 800, 600)
    assert facts_of(content) == Facts("png", 800, 600, orientation=6)


def test_a_webp_that_announces_exif_is_read_up_to_it() -> None:
    content = saved(quadrants(), "WEBP", exif=makers.exif(6))
    found = facts(content[:100])

    assert isinstance(found, NeedMore)
    assert found.size > len(content) // 2


DAMAGED = [
    ("JPEG without a size", b"\xff\xd8\xff\xda" + bytes(40)),
    ("JPEG whose segments do not meet", b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(40)),
    ("JPEG with a segment of no length", b"\xff\xd8\xff\xe0\x00\x01" + bytes(40)),
    ("JPEG of nothing but fill bytes", b"\xff\xd8" + b"\xff" * 100_000),
    ("JPEG of nothing but empty segments", b"\xff\xd8" + b"\xff\xe0\0\2" * 50_000),
    ("PNG without its header", b"\x89PNG\r\n\x1a\n" + makers.chunk(b"tEXt", b"a") * 5),
    (
        "PNG of nothing but empty chunks",
        saved(quadrants(), "PNG")[:33] + makers.chunk(b"teXt", b"") * 110_000,
    ),
    ("WebP of an unknown kind", b"RIFF\x40\0\0\0WEBPVP9 " + bytes(60)),
    ("WebP without a key frame", b"RIFF\x40\0\0\0WEBPVP8 " + bytes(60)),
    ("WebP without a lossless header", b"RIFF\x40\0\0\0WEBPVP8L" + bytes(60)),
    ("GIF of nothing but empty blocks", b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe\0" * 400_000),
    ("GIF of an unknown block", b"GIF89a\1\0\1\0\0\0\0" + b"\x77" * 40),
    ("BMP with a header of no known length", b"BM" + bytes(12) + b"\x10\0\0\0" + bytes(40)),
    ("TIFF without a size", b"II*\0\x08\0\0\0" + bytes(40)),
    ("TIFF with a million tags", b"II*\0\x08\0\0\0\xff\xff" + bytes(40)),
    ("HEIC of nothing but empty boxes", makers.heic()[:24] + makers.box(b"free") * 3000),
    ("HEIC whose box is shorter than itself", makers.heic()[:24] + b"\0\0\0\2meta" + bytes(40)),
    (
        "HEIC without a size",
        makers.box(b"ftyp", b"heic", bytes(4)) + makers.box(b"meta", bytes(40)) + bytes(40),
    ),
    ("PNG without pixels", saved(quadrants(), "PNG").replace(b"\0\0\3\x20", bytes(4), 1)),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED, ids=[name for name, _ in DAMAGED])
def test_a_file_that_contradicts_its_format_is_called_damaged(name: str, content: bytes) -> None:
    with pytest.raises(PictureError, match=r"^is damaged: "):
        facts_of(content)


@pytest.mark.parametrize("kind", [kind for kind, _ in KNOWN])
def test_a_file_that_ends_before_its_facts_is_called_cut_off(kind: str) -> None:
    with pytest.raises(PictureError, match=r"^is cut off: it ends after 17 bytes"):
        facts_of(SMALL[kind][:17])


def test_a_size_that_stands_too_far_behind_is_not_waited_for() -> None:
    with pytest.raises(PictureError, match="beyond the first 64 MB"):
        facts(b"II*\0\xff\xff\xff\x7f" + bytes(100))


def test_segments_before_the_size_are_skipped_whatever_they_hold() -> None:
    content = saved(quadrants(), "JPEG")
    for marker in (0xE1, 0xE2, 0xED, 0xFE):
        content = with_segment(content, marker, bytes(60_000))
    png = with_chunk(saved(quadrants(), "PNG"), b"zTXt", bytes(200_000))

    assert facts(content) == Facts("jpeg", 800, 600)
    assert facts(png) == Facts("png", 800, 600)


def understood(data: bytes) -> None:
    """Facts, a request for more, or a picture error: nothing else."""
    for found in (outcome(facts, data), outcome(facts_of, data)):
        match found:
            case Facts():
                assert found.width > 0 < found.height
            case NeedMore():
                assert found.size > len(data)
            case PictureError():
                assert found.message
                assert found.next_step


def outcome(look: Callable[[bytes], Facts | NeedMore], data: bytes) -> Facts | NeedMore | PictureError:
    try:
        return look(data)
    except PictureError as error:
        return error


SIGNATURES = [content[:32] for content in SMALL.values()]


@given(st.binary(max_size=600))
@example(b"")
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_facts_or_a_picture_error(data: bytes) -> None:
    understood(data)


@given(st.sampled_from(SIGNATURES), st.integers(0, 32), st.binary(max_size=300))
@settings(max_examples=600, deadline=None)
def test_any_bytes_behind_a_real_beginning_are_facts_or_a_picture_error(
    head: bytes, kept: int, data: bytes
) -> None:
    understood(head[:kept] + data)


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=600, deadline=None)
def test_any_damage_to_a_real_file_leaves_facts_or_a_picture_error(kind: str, seed: int, hits: int) -> None:
    damage = random.Random(seed)
    content = bytearray(SMALL[kind][: damage.choice([100, 400, 2000, 100_000])])
    for _ in range(hits):
        content[damage.randrange(min(len(content), 600))] = damage.choice([0, 1, 127, 128, 255])
    understood(bytes(content))


def test_what_the_facts_say_is_what_a_decoder_says() -> None:
    for kind, content in SMALL.items():
        if kind != "HEIC":
            with Image.open(io.BytesIO(content)) as image:
                assert (facts_of(content).width, facts_of(content).height) == image.size, kind
