"""Making a picture fit: decode, turn, scale, lay on white, encode. Runs in a thread, imports Pillow late."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wan_mcp.errors import PictureError
from wan_mcp.images.colours import to_srgb
from wan_mcp.images.decode import decode, left_to_turn, undecodable
from wan_mcp.images.facts import Facts
from wan_mcp.images.formats import gif
from wan_mcp.images.formats.exif import GPS, read_exif
from wan_mcp.images.limits import MAX_BYTES, by, fitted_size, in_bytes
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
    fitted_size(*facts.upright_size)
    try:
        return _prepare(content, facts)
    except PictureError:
        raise
    except MemoryError:
        raise PictureError("needs more memory than there is", next_step="Give a smaller one.") from None
    except Exception as error:  # decoders fail in every way there is
        raise undecodable(error) from None


def _prepare(content: bytes, facts: Facts) -> Prepared:
    image = decode(content, facts, at_least=fitted_size(facts.width, facts.height))
    orientation = left_to_turn(image, facts)
    full_size = facts.upright_size if facts.format == "jpeg" else _turned(image.size, orientation)
    size = fitted_size(*full_size)
    adjusted, removed = [_first_frame(content, image, facts)], _metadata(image, facts)
    picture, colours = to_srgb(image)
    drawing = facts.format in _LOSSLESS and _is_drawing(picture)
    picture, white = _on_white(scaled(picture, _turned(size, orientation)))
    if orientation != 1:
        picture = upright(picture, orientation)
    if turned := max(orientation, facts.orientation) - 1:
        adjusted.append(f"turned upright (EXIF orientation {turned + 1})")
    if size != full_size:
        adjusted.append(f"scaled from {by(*full_size)} to {by(*size)}")
    adjusted += [white, colours, "16 bits a channel reduced to 8" if facts.deep else None]
    encoded, kind = _encode(picture, drawing)
    if kind != facts.format:
        adjusted.append(f"converted from {NAMES[facts.format]} to {NAMES[kind]}")
    if len(content) > MAX_BYTES:
        adjusted.append(f"compressed from {in_bytes(len(content))} to {in_bytes(len(encoded))}")
    adjusted.append(removed)
    return Prepared(encoded, kind, *size, tuple(filter(None, adjusted)))


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _first_frame(content: bytes, image: ImageFile, facts: Facts) -> str | None:
    if facts.format == "tiff":
        return "first of several pages" if facts.animated else None
    frames = gif.count_frames(content) if facts.format == "gif" else None
    if facts.animated and facts.format != "gif":
        frames = getattr(image, "n_frames", None)
    if frames is None:
        return "first frame of an animation" if facts.animated else None
    return f"first frame of an animation of {frames}" if frames > 1 else None


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


def _metadata(image: ImageFile, facts: Facts) -> str | None:
    block = image.info.get("exif")
    exif = read_exif(block if isinstance(block, bytes) else b"")
    if facts.location or GPS in exif.tags:
        return "metadata removed, the location among it"
    texts = getattr(image, "text", None) or {"xmp", "comment", "photoshop"} & image.info.keys()
    return None if exif.only_turns and not texts else "metadata removed"
