"""Making a picture fit: decode, turn, scale, lay on white, encode. Runs in a thread, imports Pillow late."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wan_mcp.errors import PictureError
from wan_mcp.images.colours import DEEP, to_srgb
from wan_mcp.images.decode import decode, left_to_turn, undecodable
from wan_mcp.images.facts import Facts, cut_off
from wan_mcp.images.formats import gif, png
from wan_mcp.images.formats.exif import GPS, read_exif
from wan_mcp.images.formats.head import Short
from wan_mcp.images.limits import MAX_BYTES, by, check_possible, fitted_size, in_bytes
from wan_mcp.images.scaling import scaled, upright

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

NAMES = {
    **{"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "bmp": "BMP"},
    **{"gif": "GIF", "tiff": "TIFF", "avif": "AVIF", "heic": "HEIC"},
}
_QUALITIES = (92, 85, 75, 60, 40)
_LOSSLESS = ("png", "gif", "bmp", "webp", "tiff")


@dataclass(frozen=True)
class Prepared:
    """A picture that fits, and what was done to it."""

    content: bytes
    format: str
    width: int
    height: int
    adjusted: tuple[str, ...]


def prepare(content: bytes, facts: Facts) -> Prepared:
    """Make a picture fit.

    Raises:
        PictureError: when it cannot be decoded, or nothing that keeps its shape would fit.
    """
    check_possible(*facts.upright_size)
    try:
        return _prepare(content, facts)
    except PictureError:
        raise
    except Short:
        raise cut_off(len(content)) from None
    except MemoryError:
        raise PictureError("needs more memory than there is", next_step="Give a smaller one.") from None
    except Exception as error:  # decoders fail in every way there is
        raise undecodable(error) from None


def _prepare(content: bytes, facts: Facts) -> Prepared:
    # Pillow gives up on long or broken texts, which some generators of PNG pictures write
    bare = png.without_metadata(content) if facts.format == "png" else content
    image = decode(bare, facts, at_least=fitted_size(facts.width, facts.height))
    frames, removed = _first_frame(content, image, facts), _metadata(content, image, facts)
    orientation, deep = left_to_turn(image, facts), facts.deep or image.mode in DEEP
    full_size = facts.upright_size if facts.format == "jpeg" else _turned(image.size, orientation)
    picture, colours = to_srgb(image)
    drawing = facts.format in _LOSSLESS and _is_drawing(picture)
    picture, shaped = _shaped(picture, full_size, orientation)
    encoded, kind = _encode(picture, drawing)
    told = max(orientation, facts.orientation)
    words = [
        frames,
        f"turned upright (EXIF orientation {told})" if told > 1 else None,
        *shaped,
        colours,
        "more than 8 bits a channel reduced to 8" if deep else None,
        f"converted from {NAMES[facts.format]} to {NAMES[kind]}" if kind != facts.format else None,
        _compressed(len(content), len(encoded)),
        removed,
    ]
    return Prepared(encoded, kind, *picture.size, tuple(filter(None, words)))


def _compressed(before: int, after: int) -> str | None:
    return f"compressed from {in_bytes(before)} to {in_bytes(after)}" if before > MAX_BYTES else None


def _shaped(
    picture: Image.Image, full_size: tuple[int, int], orientation: int
) -> tuple[Image.Image, list[str | None]]:
    """Scaled, without transparency and upright; ``full_size`` is the size as a person sees it."""
    size = fitted_size(*full_size)
    picture, white = _on_white(scaled(picture, _turned(size, orientation)))
    if orientation != 1:
        picture = upright(picture, orientation)
    scaling = f"scaled from {by(*full_size)} to {by(*size)}" if size != full_size else None
    return picture, [scaling, white]


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _first_frame(content: bytes, image: ImageFile, facts: Facts) -> str | None:
    if not facts.animated:
        return None
    if facts.format == "tiff":
        return "first of several pages"
    if facts.format in ("gif", "png"):  # Pillow would walk through every frame, or has been given one
        frames = gif.count_frames(content) if facts.format == "gif" else png.count_frames(content)
    else:
        frames = getattr(image, "n_frames", None)
    return f"first frame of an animation of {frames}" if frames else "first frame of an animation"


def _is_drawing(picture: Image.Image) -> bool:
    """Few colours in flat areas: lossless files of these are small, and lossy ones show it."""
    from PIL import ImageChops
    from PIL.Image import Resampling

    sample = picture.resize((256, 256), Resampling.NEAREST).convert("RGB")
    if sample.getcolors(4096) is None:
        return False
    steps = ImageChops.difference(sample, ImageChops.offset(sample, 1, 0)).convert("L").histogram()
    return steps[0] > 0.5 * sum(steps)


def _on_white(picture: Image.Image) -> tuple[Image.Image, str | None]:
    from PIL import Image

    if picture.mode != "RGBA":
        return picture, None
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return picture.convert("RGB"), "unused alpha channel removed"
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture, mask=alpha)
    return canvas, "transparency laid on white"


def _encode(picture: Image.Image, drawing: bool) -> tuple[bytes, str]:
    """PNG for drawings that stay small enough, JPEG for all else."""
    picture.info = {}  # comments and profiles would be written again
    if drawing:
        encoded = _saved(picture, "PNG")
        if len(encoded) <= MAX_BYTES:
            return encoded, "png"
    for quality in _QUALITIES:
        encoded = _saved(picture, "JPEG", quality=quality)
        if len(encoded) <= MAX_BYTES:
            break
    return encoded, "jpeg"


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _metadata(content: bytes, image: ImageFile, facts: Facts) -> str | None:
    block = image.info.get("exif")
    exif = read_exif(block if isinstance(block, bytes) else b"")
    if facts.location or GPS in exif.tags:
        return "metadata removed, the location among it"
    told = not exif.only_turns or {"xmp", "comment", "photoshop"} & image.info.keys()
    if told or (facts.format == "png" and png.has_metadata(content)):
        return "metadata removed"
    return None
