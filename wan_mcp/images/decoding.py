"""Opening a picture: recognised by its first bytes, checked against the limits, decoded by Pillow."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from wan_mcp.errors import DecoderMissing, PictureError
from wan_mcp.images.colours import SCALABLE
from wan_mcp.images.limits import GIVE_SMALLER, MAX_PIXELS, by, check_possible, in_bytes
from wan_mcp.images.unsupported import SAVE_AGAIN, refuse

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Format = Literal["jpeg", "png", "bmp", "webp", "gif", "tiff", "avif", "heic"]


MAX_MEMORY = 500_000_000
"""Bytes that decoding one picture and converting it may take; two are decoded at the same time at most."""
_MAX_SCANS = 100
"""Progressive JPEG files have about ten scans; a file with thousands is made to keep a decoder busy."""
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""A marker that has a length, or the end of the picture."""
_MAX_READS = 1_000_000
"""Reads of one file: a file of empty chunks, segments or frames would keep Pillow busy for minutes."""
_MAX_TEXT = 32 * 1024 * 1024
"""Bytes of one text in a PNG: image generators write whole workflows there. Pillow's own limit is 1 MB."""
_MEMORY_OF_DECODER: dict[Format, int] = {"webp": 11, "avif": 6, "heic": 6, "tiff": 3}
"""Bytes a pixel that the decoder of a format takes for itself."""
_PLUGINS = {"webp": "WebP", "heic": "Heif"}
_SIGNATURES: tuple[tuple[Format, tuple[bytes, ...]], ...] = (
    ("jpeg", (b"\xff\xd8\xff",)),
    ("png", (b"\x89PNG\r\n\x1a\n",)),
    ("gif", (b"GIF87a", b"GIF89a")),
    ("tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
_BMP_HEADERS = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
"""Bytes of the header that follows "BM", which alone could begin a text."""
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


class _Bounded(io.BytesIO):
    """A file that can be read only so many times."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise PictureError(f"is damaged: it has more than {_MAX_READS:,} parts", next_step=SAVE_AGAIN)
        return super().read(size)


def format_of(content: bytes) -> Format | None:
    """The format of a picture, by its first bytes; None where it is not one of those that can be opened."""
    for name, signatures in _SIGNATURES:
        if content.startswith(signatures):
            return name
    if content.startswith(b"BM") and int.from_bytes(content[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content[4:8] != b"ftyp":
        return None
    brands = [content[8:12], *(content[at : at + 4] for at in range(16, min(content[3], 128), 4))]
    if brands[0] in (b"mif1", b"msf1"):  # only the compatible brands say which one it is
        return "avif" if _AVIF.intersection(brands) else "heic" if _HEIC.intersection(brands) else None
    return "avif" if brands[0] in _AVIF else "heic" if brands[0] in _HEIC else None


def opened(content: bytes, max_pixels: int = MAX_PIXELS) -> tuple[ImageFile, Format]:
    """Open a picture, without decoding it, and refuse what cannot be made to fit.

    Raises:
        PictureError: when it cannot be opened as a picture, or has a size that cannot be made to fit. The
            message continues after the name of the picture ("is a web page (HTML), not a picture ...").
    """
    if not content:
        raise PictureError("is empty (0 bytes)", next_step="Give a picture.")
    kind = format_of(content)
    if kind is None:
        raise refuse(content)
    image = _open(content, kind)
    if kind == "tiff":
        _refuse_raw(image, content)
    check_possible(*image.size, max_pixels)
    if kind == "png":
        _match_transparency(image, bits=content[24])
    if kind == "jpeg":
        _check_scans(image, content)
    return image, kind


def check_memory(image: ImageFile, kind: Format) -> None:
    """Raise a PictureError for a picture that would take too much memory to decode."""
    a_pixel = {"1": 1, "L": 1, "P": 1}.get(image.mode, 3 if image.mode.startswith("I;16") else 4)
    if image.has_transparency_data:  # a copy with alpha, and another one for scaling
        a_pixel += 4 if image.mode == "RGBA" else 8
    elif image.mode not in SCALABLE:
        a_pixel += 4
    a_pixel += _MEMORY_OF_DECODER.get(kind, 0)
    _check_bytes(image, image.width * image.height * a_pixel)


@contextmanager
def decoding_errors() -> Iterator[None]:
    """Turn whatever a decoder raises into a ``PictureError``: decoders fail with errors of any type."""
    try:
        yield
    except PictureError:
        raise
    except MemoryError:
        raise PictureError("needs more memory than there is", next_step=GIVE_SMALLER) from None
    except Exception as error:
        raise _undecodable(error) from None


def _undecodable(error: Exception) -> PictureError:
    """The error for a picture that the decoder gave up on; the decoder's own words may quote the file."""
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        text = "is cut off: it ends in the middle of the picture"
        return PictureError(text, next_step="Get the whole picture again.")
    text = f"cannot be decoded: it is damaged or of an unusual kind ({type(error).__name__})"
    return PictureError(text, next_step=SAVE_AGAIN)


def _open(content: bytes, kind: Format) -> ImageFile:
    """Import only the plugin that the format needs: ``Image.open`` would import and try others."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # they would go to stderr, about harmless damage
    name = _PLUGINS.get(kind, kind.capitalize())
    module = "pillow_heif" if kind == "heic" else f"PIL.{name}ImagePlugin"
    try:
        plugin: Any = import_module(module)
    except ImportError:
        raise DecoderMissing(
            "is a HEIC picture, the format of iPhones, and no decoder for it is installed",
            next_step=f"Run {install_command('pillow-heif')} and restart the server. Or: {SAVE_AGAIN}",
        ) from None
    if kind == "png":
        plugin.MAX_TEXT_CHUNK = _MAX_TEXT
    if kind == "avif" and not plugin.SUPPORTED:
        raise PictureError("is an AVIF picture, which this Pillow cannot read", next_step=SAVE_AGAIN)
    return cast("ImageFile", getattr(plugin, f"{name}ImageFile")(_Bounded(content)))


def install_command(package: str) -> str:
    """The exact command that installs a package beside this one, however this one was installed."""
    folders = Path(sys.prefix).parts
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if "pipx" in folders:
        return f"pipx inject wan-mcp {package}"
    if "uv" in folders:
        return f"uv pip install --python {python} {package}"
    return f"{python} -m pip install {package}"


def _match_transparency(image: ImageFile, bits: int) -> None:
    """Bring the transparent colour to eight bits: Pillow does so with the pixels only."""
    colour = image.info.get("transparency")
    numbers = colour if isinstance(colour, tuple) else (colour,)
    if bits in (2, 4, 16) and image.mode != "P" and isinstance(colour, int | tuple):
        eight = [value >> 8 if bits == 16 else value * 255 // (2**bits - 1) for value in numbers]
        image.info["transparency"] = tuple(eight) if isinstance(colour, tuple) else eight[0]


def _check_scans(image: Any, content: bytes) -> None:
    """Bound the scans, and their memory: until the last one, a decoder keeps two bytes a coefficient."""
    scans = _scans(content)
    if scans > _MAX_SCANS:
        raise PictureError(f"has more than {_MAX_SCANS} scans", next_step=SAVE_AGAIN)
    if scans > 1:
        samples = [across * down for _, across, down, _ in image.layer]
        _check_bytes(image, 2 * image.width * image.height * sum(samples) // max(samples))


def _scans(content: bytes) -> int:
    """How many scans the first picture in a JPEG file has: others, or a video, may follow it."""
    at, scans = 2, 0
    for _ in range(_MAX_READS):
        found = _MARKER.search(content, at)
        if found is None or found[0] == b"\xff\xd9":
            return scans
        scans += found[0] == b"\xff\xda"
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    return _MAX_SCANS + 1


def _check_bytes(image: ImageFile, needed: int) -> None:
    if needed > MAX_MEMORY:
        text = f"is {by(*image.size)} pixels that take {in_bytes(needed)} of memory"
        text = f"{text}; at most {in_bytes(MAX_MEMORY)} are used"
        raise PictureError(text, next_step=GIVE_SMALLER)


def _refuse_raw(image: ImageFile, content: bytes) -> None:
    """In a camera's raw file the first page is only a small preview."""
    subfile, dng = 254, 50706
    tags = getattr(image, "tag_v2", {})
    if dng in tags or tags.get(subfile, 0) & 1 or content[8:10] == b"CR":
        raise PictureError("is a camera's raw file", next_step=SAVE_AGAIN)
