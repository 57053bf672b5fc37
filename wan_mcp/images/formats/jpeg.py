"""JPEG: a chain of segments before the picture."""

import re
from collections.abc import Iterator

from wan_mcp.images.formats.exif import GPS, read_exif
from wan_mcp.images.formats.head import Facts, Head, damaged

_MAX_SEGMENTS = 4000
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _COMMENT = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""In the coded picture only: a stuffed zero and the restart markers belong to it."""


def facts(head: Head) -> Facts:
    """Size, colours and EXIF, from the segments before the first scan."""
    orientation, location = 1, False
    for marker, start, end in _segments(head, 2):
        if marker == _APP1:
            body = head.take(start, end - start)
            if body.startswith(b"Exif\0\0"):
                tags = read_exif(body)
                orientation, location = tags.orientation, location or GPS in tags.tags
            location = location or b"GPSL" in body
        elif marker in _FRAMES:
            return Facts(
                "jpeg",
                width=head.big(start + 3, 2),
                height=head.big(start + 1, 2),
                orientation=orientation,
                cmyk=head.big(start + 5, 1) == 4,
                deep=head.big(start, 1) > 8,
                location=location,
            )
        elif marker in (_SOS, _EOI):
            break
    raise damaged("its picture begins before its size is told")


def _segments(head: Head, at: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment."""
    for _ in range(_MAX_SEGMENTS):
        lead, marker = head.take(at, 2)
        if lead != 0xFF:
            raise damaged("a segment does not begin where it should")
        if marker == 0xFF or marker in _ALONE:  # fill bytes, and markers without content
            at += 1 if marker == 0xFF else 2
            continue
        length = 2 if marker == _EOI else head.big(at + 2, 2)
        if length < 2:
            raise damaged("a segment has no length")
        yield marker, at + 4, at + 2 + length
        at += 2 + length
    raise damaged(f"it has more than {_MAX_SEGMENTS} segments before its picture")


def without_metadata(content: bytes) -> bytes:
    """The same picture, undecoded, without EXIF, XMP, comments, thumbnails and what follows its end."""
    head = Head(content, complete=True)
    parts = [content[:2]]
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, start, end = next(_segments(head, at))
        if marker == _EOI:
            parts.append(b"\xff\xd9")
            return b"".join(parts)
        if marker == _SOS:
            end = _end_of_scan(content, end)
        if _is_needed(marker, content[start : start + 12]):
            parts.append(content[start - 4 : end])
        at = end
    raise damaged(f"it has more than {_MAX_SEGMENTS} segments")


def _end_of_scan(content: bytes, at: int) -> int:
    found = _MARKER.search(content, at)
    if found is None:
        raise damaged("it is cut off in the middle of the picture")
    return found.start()


def _is_needed(marker: int, body: bytes) -> bool:
    if marker == _APP0:
        return body.startswith(b"JFIF\0")
    if marker == _APP2:
        return body.startswith(b"ICC_PROFILE\0")
    return marker == _APP14 or not (_APP1 <= marker <= 0xEF or marker == _COMMENT)


def colour_profile(content: bytes) -> bytes | None:
    """The ICC profile, put together from its pieces, where there is one."""
    pieces: list[bytes] = []
    head = Head(content, complete=True)
    for marker, start, end in _segments(head, 2):
        if marker == _APP2 and content.startswith(b"ICC_PROFILE\0", start):
            pieces.append(content[start + 12 : end])
        elif marker in (_SOS, _EOI):
            break
    pieces.sort(key=lambda piece: piece[:1])  # each begins with its number and how many there are
    return b"".join(piece[2:] for piece in pieces) or None
