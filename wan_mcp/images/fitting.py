"""Making any picture fit what Evolink takes. Runs in a thread, imports Pillow late."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wan_mcp.images.colours import DEEP, scalable, to_srgb
from wan_mcp.images.decoding import Format, check_memory, decoding_errors, opened
from wan_mcp.images.limits import MAX_BYTES, MAX_PIXELS, by, fitted_size, in_bytes

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

LINKED = ("jpeg", "png", "webp", "bmp")
"""Formats that Evolink takes at an address."""
UPLOADED = ("jpeg", "png", "webp")
"""Those of them that its file service takes."""
_LOSSLESS = ("png", "gif", "bmp", "webp", "tiff")
_ENDS = {"png": b"IEND\xaeB`\x82", "jpeg": b"\xff\xd9"}
_NAMES = {"webp": "WebP"}
_QUALITIES = (92, 85, 75, 60, 40)
_ORIENTATION, _GPS, _PHOTOMETRIC = 274, 34853, 262
"""Tags of EXIF and TIFF."""


@dataclass(frozen=True)
class Prepared:
    """A picture that fits, and what was done to it."""

    content: bytes | None
    """None where the picture fits unchanged and is passed on by its own address."""
    format: str
    width: int
    height: int
    adjusted: tuple[str, ...] = ()


def fit(content: bytes, *, has_address: bool = False, max_pixels: int = MAX_PIXELS) -> Prepared:
    """Make a picture fit: decode it, change it where that is necessary, and encode only its pixels anew.

    Args:
        content: the whole file.
        has_address: whether the picture can be passed on by its own address, if it fits unchanged.
        max_pixels: the most that are decoded.

    Raises:
        PictureError: when it is not a picture, is damaged, or cannot be made to fit. The message continues
            after the name of the picture.
    """
    with decoding_errors():
        return _fit(content, has_address, max_pixels)


def _fit(content: bytes, has_address: bool, max_pixels: int) -> Prepared:
    image, kind = opened(content, max_pixels)
    full, target = image.size, fitted_size(*image.size)
    deep, told, orientation = decode(image, kind, target)
    frames = _frames(image, kind)
    unchanged = target == full and orientation == 1 and not frames and not deep
    whole = unchanged and image.mode != "CMYK" and not image.has_transparency_data
    ended = _ENDS.get(kind, b"") in content  # Pillow accepts a file that lacks only its end
    if has_address and whole and ended and kind in LINKED and len(content) <= MAX_BYTES:
        return Prepared(None, kind, *full)

    picture, removed = scalable(image), _metadata(image, kind)
    drawing = kind in _LOSSLESS and _is_drawing(picture)
    picture, white, colours = visible(scaled(picture, target), image, deep, orientation)
    same = kind if whole and colours is None and kind in UPLOADED else None
    encoded, written = _encoded(picture, drawing, same)
    sizes = (full[::-1], target[::-1]) if orientation >= 5 else (full, target)
    compressed = f"compressed from {in_bytes(len(content))} to {in_bytes(len(encoded))}"
    words = [
        frames,
        f"turned upright (EXIF orientation {told})" if told != 1 else None,
        f"scaled from {by(*sizes[0])} to {by(*sizes[1])}" if target != full else None,
        white,
        colours,
        "more than 8 bits a channel reduced to 8" if deep else None,
        f"converted from {_NAMES.get(kind, kind.upper())} to {written.upper()}" if written != kind else None,
        compressed if len(content) > MAX_BYTES else None,
        removed,
    ]
    return Prepared(encoded, written, *picture.size, tuple(filter(None, words)))


def decode(image: ImageFile, kind: Format, size: tuple[int, int]) -> tuple[bool, int, int]:
    """Decode a picture that is to be scaled to a size.

    Returns:
        Whether a channel has more than eight bits, the EXIF orientation, and the one to be undone.
    """
    deep = _is_deep(image)
    image.draft(image.mode, size)  # a JPEG is decoded at the smallest of its own scales that is large enough
    check_memory(image, kind)
    exif = image.getexif()
    told: int = exif[_ORIENTATION] if exif.get(_ORIENTATION) in range(2, 9) else 1
    image.load()
    return deep, told, 1 if kind in ("tiff", "heic") else told  # these two decoders turn the picture


def visible(
    picture: Image.Image, image: ImageFile, deep: bool, orientation: int
) -> tuple[Image.Image, str | None, str | None]:
    """What the picture shows and nothing else: sRGB, on white, upright; and two remarks on the changes."""
    from PIL import ImageOps

    picture, colours = to_srgb(picture, image.info.get("icc_profile"))
    if deep and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        picture = ImageOps.invert(picture)  # white is zero, which Pillow respects only for eight bits
    picture, white = _on_white(picture)
    picture.info = {}  # comments and profiles would be written again
    picture.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(picture), white, colours


def _is_deep(image: ImageFile) -> bool:
    """Whether a channel has more than eight bits; Pillow's modes say so only for greys."""
    stored = str(image.tile[0].args) if image.tile else ""  # such as RGB;16B, or a tuple that has it
    deep = image.mode.startswith(DEEP) or (";16" in stored and "BGR;16" not in stored)
    return deep or image.info.get("bit_depth", 8) > 8


def _frames(image: ImageFile, kind: Format) -> str | None:
    """What the user reads about a picture that is one of several."""
    if not getattr(image, "is_animated", False):
        return None
    if kind in ("tiff", "heic"):
        return "first of several pages" if kind == "tiff" else "main one of several pictures"
    count = None if kind == "gif" else getattr(image, "n_frames", None)  # a GIF is read to its end to count
    return f"first frame of an animation of {count}" if count else "first frame of an animation"


def _metadata(image: ImageFile, kind: Format) -> str | None:
    """What the user reads where the file has more than the picture and its orientation."""
    exif = image.getexif()
    xmp = image.info.get("xmp", b"") or str(image.info.get("XML:com.adobe.xmp", "")).encode()
    if _GPS in exif or b"GPSL" in xmp:
        return "metadata removed, including the location"
    tags = {} if kind == "tiff" else {tag for tag in exif if tag != _ORIENTATION}
    texts = getattr(image, "text", None) if kind == "png" else None
    told = tags or xmp or texts or {"comment", "photoshop"} & image.info.keys()
    return "metadata removed" if told else None


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL.Image import Resampling

    # The numbers of mode F have no fixed range, so a filter that overshoots would exceed the white point.
    resample = Resampling.HAMMING if image.mode == "F" else Resampling.LANCZOS
    return image if image.size == size else image.resize(size, resample, reducing_gap=2.0)


def _is_drawing(picture: Image.Image) -> bool:
    """Few colours in flat areas: lossless files of these are small, and lossy ones show artefacts."""
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


def _encoded(picture: Image.Image, drawing: bool, same: Format | None) -> tuple[bytes, str]:
    """The file, and its format: unchanged where the picture was not changed, PNG for drawings, else JPEG."""
    kind = same or ("png" if drawing else "jpeg")
    options: dict[str, Any] = {"quality": "keep" if same == "jpeg" else _QUALITIES[0]}
    if kind != "jpeg":
        options = {"lossless": drawing, "quality": 92} if kind == "webp" else {}
    try:  # "keep" uses the tables of the file itself, so the pixels hardly change
        encoded = saved(picture, kind, **options)
    except ValueError:  # some tables can be read but not written
        encoded = saved(picture, kind, quality=_QUALITIES[0])
    for quality in _QUALITIES:
        if len(encoded) <= MAX_BYTES:
            break
        kind, encoded = "jpeg", saved(picture, "jpeg", quality=quality)
    return encoded, kind


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind.upper(), **options)
    return file.getvalue()
