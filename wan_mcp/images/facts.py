"""What a picture is, from its first bytes: told by content, not by name or header."""

from dataclasses import dataclass

from wan_mcp.errors import PictureError
from wan_mcp.images.formats import bmp, gif, heif, jpeg, png, tiff, webp
from wan_mcp.images.formats.head import Facts, Format, Head, Short, damaged
from wan_mcp.images.limits import MAX_READ
from wan_mcp.images.unsupported import refuse

__all__ = ["Facts", "Format", "NeedMore", "cut_off", "facts", "facts_of"]

_ENOUGH_TO_TELL = 32
_ENOUGH_TEXT = 512
_READERS = {
    "jpeg": jpeg.facts,
    "png": png.facts,
    "bmp": bmp.facts,
    "webp": webp.facts,
    "gif": gif.facts,
    "tiff": tiff.facts,
    "avif": heif.facts,
    "heic": heif.facts,
}


@dataclass(frozen=True)
class NeedMore:
    """The bytes do not reach far enough yet."""

    size: int
    """How many are needed from the beginning, at least."""


def facts(head: bytes) -> Facts | NeedMore:
    """Read the facts of a picture from its beginning.

    Raises:
        PictureError: when it is no picture that can be taken, or contradicts itself. The message
            goes on after the name of the picture ("is a web page (HTML), not a picture ...").
    """
    if len(head) < _ENOUGH_TO_TELL:
        return NeedMore(_ENOUGH_TO_TELL)
    try:
        return _read(Head(head))
    except Short as short:
        if short.needed > MAX_READ:
            raise damaged(f"its size stands beyond the first {MAX_READ // 10**6} MB") from None
        return NeedMore(short.needed)


def facts_of(content: bytes) -> Facts:
    """Read the facts of a whole picture, also those that stand at its end.

    Raises:
        PictureError: as ``facts``, and when the picture is empty or cut off.
    """
    if not content:
        raise PictureError("is empty (0 bytes)", next_step="Give a picture.")
    try:
        return _read(Head(content, complete=True))
    except Short:
        raise cut_off(len(content)) from None


def cut_off(length: int) -> PictureError:
    """The error for a picture that ends too early."""
    return PictureError(
        f"is cut off: it ends after {length} bytes, in the middle of the picture",
        next_step="Get the picture again, whole.",
    )


def _read(head: Head) -> Facts:
    kind = _format(head)
    if kind is None:
        if not head.complete and len(head.data) < _ENOUGH_TEXT:
            raise Short(_ENOUGH_TEXT)
        raise refuse(head.data)
    found = _READERS[kind](head)
    if not (found.width and found.height):
        raise damaged("it has no pixels")
    return found


def _format(head: Head) -> Format | None:
    data = head.data
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(png.SIGNATURE):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if data.startswith(b"BM") and head.take(14, 4) in _BMP_HEADERS:
        return "bmp"
    return heif.brand(head) if data[4:8] == b"ftyp" else None


_BMP_HEADERS = frozenset(length.to_bytes(4, "little") for length in (12, 16, 40, 52, 56, 64, 108, 124))
