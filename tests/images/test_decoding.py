"""Pictures are told by their content, bounded before they are decoded, and refused in words."""

import base64
import io
import random
import re
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images import makers
from tests.images.makers import animation_of, quadrants, saved, see_through
from wan_mcp.errors import PictureError
from wan_mcp.images import decoding
from wan_mcp.images.decoding import format_of
from wan_mcp.images.fitting import Prepared, fit

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


@pytest.mark.parametrize("kind", SMALL)
def test_each_format_is_told_by_its_content(kind: str) -> None:
    """Whatever a name or a header says."""
    assert format_of(SMALL[kind]) == kind.lower()


@pytest.mark.parametrize(
    ("brand", "kind"),
    [(b"heic", "heic"), (b"heix", "heic"), (b"mif1", "heic"), (b"avif", "avif"), (b"isom", None)],
)
def test_the_brand_tells_heic_and_avif_apart(brand: bytes, kind: str | None) -> None:
    """A general brand says nothing, so the compatible ones decide; a film has neither."""
    assert format_of(makers.heic(brand=brand)) == kind


@pytest.mark.parametrize("big_tiff", [False, True])
def test_a_tiff_of_either_width_is_opened(big_tiff: bool) -> None:
    """Files over 4 GB have another header, which small ones may have as well."""
    assert fit(saved(quadrants(), "TIFF", big_tiff=big_tiff)).adjusted == ("converted from TIFF to PNG",)


def test_a_bmp_may_be_stored_from_top_to_bottom_or_have_the_oldest_header() -> None:
    """A negative height, and the twelve bytes of OS/2."""
    content = saved(quadrants(), "BMP")
    upside_down = content[:22] + (2**32 - 600).to_bytes(4, "little") + content[26:]
    oldest = b"BM" + bytes(8) + b"\x1a\0\0\0\x0c\0\0\0\x20\x03\x58\x02\1\0\x18\0" + bytes(800 * 600 * 3)
    assert [(fit(one).width, fit(one).height) for one in (upside_down, oldest)] == [(800, 600)] * 2


UNFIT = [
    ("PNG with alpha", saved(see_through(), "PNG")),
    ("grey PNG with alpha", saved(see_through().convert("LA"), "PNG")),
    ("palette PNG with transparency", saved(see_through().quantize(16), "PNG")),
    ("PNG with a transparent colour", saved(quadrants(), "PNG", transparency=makers.RED)),
    ("WebP with alpha", saved(see_through(), "WEBP")),
    ("lossless WebP with alpha", saved(see_through(), "WEBP", lossless=True)),
    ("animated PNG", animation_of("PNG")),
    ("animated WebP", animation_of("WEBP")),
    ("CMYK JPEG", saved(quadrants().convert("CMYK"), "JPEG")),
    ("16-bit PNG", saved(Image.new("I;16", (400, 400)), "PNG")),
    ("a sideways JPEG", makers.turned("JPEG", 6)),
    ("a large PNG", saved(quadrants(2400, 1200), "PNG")),
    ("a GIF", saved(quadrants(), "GIF")),
]


@pytest.mark.parametrize(("name", "content"), UNFIT, ids=[name for name, _ in UNFIT])
def test_what_does_not_fit_as_it_is_has_no_use_of_its_own_address(name: str, content: bytes) -> None:
    """Evolink takes neither transparency nor several frames, and nobody says what it makes of the rest."""
    assert fit(content, has_address=True).content


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_what_fits_as_it_is_keeps_its_address(kind: str) -> None:
    """Decoded to its end all the same."""
    content = saved(quadrants(), kind)
    assert fit(content, has_address=True).content is None
    with pytest.raises(PictureError):
        fit(content[:700], has_address=True)


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
    ("GIF of an unknown block", b"GIF89a\1\0\1\0\0\0\0" + b"\x77" * 40),
    ("BMP with a header of no known length", b"BM" + bytes(12) + b"\x10\0\0\0" + bytes(40)),
    ("TIFF without a size", b"II*\0\x08\0\0\0" + bytes(40)),
    ("TIFF with many tags", b"II*\0\x08\0\0\0\xff\xff" + bytes(40)),
    ("TIFF whose tags stand far behind", b"II*\0\xff\xff\xff\x7f" + bytes(100)),
    ("HEIC of nothing but empty boxes", makers.heic()[:24] + makers.box(b"free") * 3000),
    ("HEIC whose box is shorter than itself", makers.heic()[:24] + b"\0\0\0\2meta" + bytes(40)),
    ("HEIC without a picture", makers.heic()),
    ("PNG without pixels", saved(quadrants(), "PNG").replace(b"\0\0\3\x20", bytes(4), 1)),
]


@pytest.mark.parametrize("content", [content for _, content in DAMAGED], ids=[name for name, _ in DAMAGED])
def test_a_file_that_contradicts_its_format_is_refused(content: bytes) -> None:
    """In words of our own, which quote nothing of it."""
    with pytest.raises(PictureError) as refused:
        fit(content)
    assert refused.value.message.isprintable()
    assert refused.value.next_step


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("length", [17, 60, 200])
def test_a_file_that_ends_too_early_is_refused(kind: str, length: int) -> None:
    """Wherever it ends."""
    with pytest.raises(PictureError):
        fit(SMALL[kind][:length])


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe\0" * 3_000_000,
        saved(quadrants(400, 400), "PNG")[:33] + makers.chunk(b"prVt", b"") * 2_000_000,
    ],
    ids=["GIF of empty blocks", "PNG of empty chunks"],
)
def test_a_file_of_millions_of_parts_is_left_early(content: bytes) -> None:
    """A small file must not keep a decoder busy for minutes."""
    with pytest.raises(PictureError, match="is damaged: it has more than 1,000,000 parts"):
        fit(content)


def grey_desert() -> bytes:
    """A PNG of 120 million pixels of sixteen bits, in less than a megabyte."""
    row = b"\0" + bytes(2 * 10_000)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(12_000)) + packer.flush()
    header = (10_000).to_bytes(4, "big") + (12_000).to_bytes(4, "big") + b"\x10\0\0\0\0"
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(makers.chunk(name, body) for name, body in chunks)


def test_memory_is_bounded_before_anything_is_decoded() -> None:
    """A megabyte on the disk that is more than a gigabyte in memory: refused with the numbers."""
    content = grey_desert()
    assert len(content) < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(PictureError, match=r"that take 840\.0 MB of memory; at most 500\.0 MB are used"):
            fit(content)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("sampling", "needed"), [(0, "504.0"), (2, None)], ids=["4:4:4", "4:2:0"])
def test_the_coefficients_of_a_progressive_jpeg_count(sampling: int, needed: str | None) -> None:
    """It is decoded at a smaller scale, but all of it is kept until its last scan."""
    picture = Image.new("RGB", (8_400, 10_000), "white")
    content = saved(picture, "JPEG", progressive=True, subsampling=sampling)
    if needed is None:
        assert fit(content).width == 1680
    else:
        with pytest.raises(PictureError, match=f"take {needed} MB of memory"):
            fit(content)


@pytest.mark.parametrize(("mode", "black", "needed"), [("L", 0, "576.0"), ("RGB", (0, 0, 0), "768.0")])
def test_the_copies_that_transparency_takes_count(
    mode: str, black: int | tuple[int, int, int], needed: str
) -> None:
    """A colour that is transparent is a few bytes in the file, and a copy of the picture in memory."""
    content = saved(Image.new(mode, (8_000, 8_000)), "PNG", transparency=black)
    with pytest.raises(PictureError, match=f"that take {needed} MB of memory"):
        fit(content)


def test_the_video_behind_a_motion_photo_is_no_part_of_the_picture() -> None:
    """In its bytes anything can be found, such as hundreds of beginnings of scans."""
    content = saved(quadrants(), "JPEG") + b"\xff\xda\0\2" * 1000
    assert fit(content).adjusted == ()


def test_a_png_without_its_end_has_no_use_of_its_own_address() -> None:
    """Pillow forgives that the end is missing; who fetches the picture next may not."""
    content = saved(quadrants(), "PNG")
    assert fit(content, has_address=True).content is None
    for missing in (12, 14):
        assert fit(content[:-missing], has_address=True).content is not None


def test_a_picture_without_any_brightness_is_refused() -> None:
    """Numbers that are none would be a black picture, paid for."""
    with pytest.raises(PictureError, match="has pixels without a brightness"):
        fit(saved(Image.new("F", (400, 400), float("nan")), "TIFF"))


def test_a_thumbnail_does_not_make_a_jpeg_progressive() -> None:
    """Its scan is in the EXIF data."""
    exif = Image.Exif()
    exif[0x927C] = b"\xff\xda"
    content = saved(Image.new("RGB", (8_400, 10_000), "white"), "JPEG", subsampling=0, exif=exif)
    assert content.count(b"\xff\xda") == 2
    assert fit(content).width == 1680


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_the_largest_picture_that_is_opened_takes_the_memory_that_was_foreseen(tmp_path: Path) -> None:
    """In a process of its own: its peak, less that of the libraries."""
    saved_as = tmp_path / "large.png"
    saved_as.write_bytes(saved(Image.new("RGB", (10_000, 12_000), "white"), "PNG", compress_level=1))
    program = (
        "import sys; from pathlib import Path; from wan_mcp.images.fitting import fit;"
        "fit(Path(sys.argv[1]).read_bytes());"
        "print(Path('/proc/self/status').read_text())"
    )
    run = subprocess.run([sys.executable, "-c", program, str(saved_as)], capture_output=True, check=True)
    peak = re.search(rb"VmHWM:\s+(\d+) kB", run.stdout)  # getrusage would count the parent's as well
    assert peak is not None
    assert int(peak[1]) * 1024 < decoding.MAX_MEMORY + 200_000_000


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/me/.local/pipx/venvs/wan-mcp", "pipx inject wan-mcp pillow-heif"),
        ("/home/me/.local/share/uv/tools/wan-mcp", "uv pip install --python /py pillow-heif"),
        ("/home/me/venv", "/py -m pip install pillow-heif"),
    ],
)
def test_a_heic_picture_without_its_decoder_names_the_exact_command(
    monkeypatch: pytest.MonkeyPatch, prefix: str, command: str
) -> None:
    """However wan-mcp was installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "executable", "/py")
    with pytest.raises(PictureError, match="is a HEIC picture") as refused:
        fit(makers.heic())
    assert f"Run {command} and restart" in refused.value.next_step


def test_an_avif_picture_where_pillow_cannot_read_those_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every build of Pillow has its decoder."""
    from PIL import AvifImagePlugin

    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(PictureError, match="is an AVIF picture, which this Pillow cannot"):
        fit(SMALL["AVIF"])


def test_only_the_plugin_of_the_format_is_imported() -> None:
    """A JPEG needs no decoder of any other format."""
    program = (
        "import sys, base64; from wan_mcp.images.decoding import opened;"
        "opened(base64.b64decode(sys.stdin.read()));"
        "sys.exit(bool({'PIL.PngImagePlugin', 'PIL.WebPImagePlugin', 'pillow_heif'} & sys.modules.keys()))"
    )
    coded = base64.b64encode(SMALL["JPEG"])
    assert subprocess.run([sys.executable, "-c", program], input=coded, check=False).returncode == 0


def understood(data: bytes) -> None:
    """A picture that fits, or a picture error: nothing else."""
    found: Prepared | PictureError
    try:
        found = fit(data)
    except PictureError as error:
        found = error
    match found:
        case Prepared():
            assert Image.open(io.BytesIO(found.content or b"")).size == (found.width, found.height)
        case PictureError():
            assert found.message.isprintable()
            assert found.next_step


SIGNATURES = [content[:32] for content in SMALL.values()]


@given(st.binary(max_size=600))
@example(b"")
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_picture_or_a_picture_error(data: bytes) -> None:
    """Nothing crashes, and nothing is silently taken."""
    understood(data)


@pytest.mark.slow
@given(st.sampled_from(SIGNATURES), st.integers(0, 32), st.binary(max_size=300))
@settings(max_examples=600, deadline=None)
def test_any_bytes_behind_a_real_beginning_are_a_picture_or_a_picture_error(
    head: bytes, kept: int, data: bytes
) -> None:
    """A decoder that is sure of its format meets what it does not expect."""
    understood(head[:kept] + data)


@pytest.mark.slow
@given(st.sampled_from(sorted(SMALL)), st.integers(0, 2**32), st.integers(1, 12))
@settings(max_examples=600, deadline=None)
def test_any_damage_to_a_real_file_leaves_a_picture_or_a_picture_error(
    kind: str, seed: int, hits: int
) -> None:
    """Some bytes at its beginning are changed, or its end is missing."""
    damage = random.Random(seed)
    content = bytearray(SMALL[kind][: damage.choice([100, 400, 2000, 100_000])])
    for _ in range(hits):
        content[damage.randrange(min(len(content), 600))] = damage.choice([0, 1, 127, 128, 255])
    understood(bytes(content))
