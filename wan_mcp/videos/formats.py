"""What a downloaded file is, by its content; what its host calls it does not count."""

import re
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from wan_mcp.videos import mp4

HEAD = 1024
"""Bytes from which a file is recognised."""
_VIDEOS = {
    re.compile(rb"\x1aE\xdf\xa3(?s:.){,60}webm"): "webm",
    re.compile(rb"\x1aE\xdf\xa3"): "mkv",
    re.compile(rb"(?s)RIFF....AVI "): "avi",
    re.compile(rb"FLV\x01"): "flv",
    re.compile(rb"OggS"): "ogv",
    re.compile(rb"\x00\x00\x01[\xba\xb3]"): "mpg",
    re.compile(rb"(?s)G.{187}G"): "ts",
    re.compile(rb"0&\xb2u\x8ef\xcf\x11"): "wmv",
}
ENDINGS = ("mp4", "m4v", "mov", *_VIDEOS.values())
_PICTURES = {
    re.compile(rb"\xff\xd8\xff"): "JPEG",
    re.compile(rb"\x89PNG\r\n\x1a\n"): "PNG",
    re.compile(rb"GIF8[79]a"): "GIF",
    re.compile(rb"(?s)RIFF....WEBP"): "WebP",
    re.compile(rb"(?s)....ftyp(avif|avis|hei[cxms]|mif1|msf1)"): "HEIF",
    re.compile(rb"II\*\x00|MM\x00\*"): "TIFF",
    re.compile(rb"(?s)BM.{4}\x00{4}"): "BMP",
    re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"): "JPEG XL",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UNUSUAL = "The file is {}, not MP4: some players cannot open it."
_UNKNOWN = "The format of the file was not recognised: the file is kept unchanged, but may not play."


@dataclass(frozen=True)
class Video:
    """A file that may be kept."""

    ending: str
    remark: str | None = None
    """What is unusual about it, in a sentence."""
    movie: mp4.Movie = field(default_factory=mp4.Movie)


def ending(head: bytes) -> str | None:
    """The ending for a video that begins like this; None where it is not recognised."""
    if head[4:8] in mp4.TOP:
        return "mp4"
    return next((ending for form, ending in _VIDEOS.items() if form.match(head)), None)


def other_than_video(head: bytes) -> str | None:
    """What begins like this, where it is surely not a video; else None."""
    if not head:
        return "nothing"
    if picture := next((name for form, name in _PICTURES.items() if form.match(head)), None):
        return f"a {picture} picture"
    if head.startswith(_UTF_16):
        return "text"
    if ending(head) or _BINARY.search(head):
        return None
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return {b"<": "an HTML or XML page", b"{": "JSON", b"[": "JSON"}.get(beginning, "text")


def examine(file: BinaryIO) -> Video | None:
    """What a file is; None where it is recognisably cut."""
    file.seek(0)
    head = file.read(HEAD)
    kind = ending(head)
    if kind == "mp4":
        movie = mp4.read(file)
        if not movie.is_whole:
            return None
        is_mov = movie.brand in (None, b"qt  ")
        return Video("mov", _UNUSUAL.format("MOV"), movie) if is_mov else Video("mp4", None, movie)
    if kind is None:
        return Video("mp4", _UNKNOWN)
    size = file.seek(0, 2)
    announced = _riff_size(head) if kind == "avi" else _segment_end(head)
    return None if announced > size else Video(kind, _UNUSUAL.format(kind.upper()))


def _riff_size(head: bytes) -> int:
    size: int = struct.unpack_from("<I", head, 4)[0]
    return 0 if size >= 0xFFFFFF00 else size + 8  # a recorder that did not know the size


def _segment_end(head: bytes) -> int:
    """Where the segment of a WebM or MKV file ends; 0 where it does not say."""
    at = head.find(b"\x18S\x80g") + 4
    length = 9 - head[at].bit_length() if 4 <= at < len(head) else 9
    if length == 9 or not head.startswith(b"\x1aE\xdf\xa3"):
        return 0
    unknown = (1 << 7 * length) - 1
    size = int.from_bytes(head[at : at + length], "big") & unknown
    return 0 if size == unknown else at + length + size
