"""WebP: a RIFF file of chunks."""

from collections.abc import Iterator

from wan_mcp.images.formats.exif import GPS, read_exif
from wan_mcp.images.formats.head import Facts, Head, damaged

_MAX_CHUNKS = 10_000
_ANIMATED, _XMP, _EXIF, _ALPHA = 0x02, 0x04, 0x08, 0x10
_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"})


def facts(head: Head) -> Facts:
    """Size and kind from the first chunk; EXIF, which comes last, only where it is announced."""
    name = head.take(12, 4)
    if name == b"VP8 ":
        if head.take(23, 3) != b"\x9d\x01\x2a":
            raise damaged("it does not begin with a key frame")
        return Facts("webp", width=head.little(26, 2) & 0x3FFF, height=head.little(28, 2) & 0x3FFF)
    if name == b"VP8L":
        return _lossless(head)
    if name == b"VP8X":
        return _extended(head)
    raise damaged("it begins with an unknown chunk")


def _lossless(head: Head) -> Facts:
    if head.big(20, 1) != 0x2F:
        raise damaged("it has no lossless header")
    bits = head.little(21, 4)
    width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return Facts("webp", width, height, transparent=bool(bits >> 28 & 1))


def _extended(head: Head) -> Facts:
    flags = head.big(20, 1)
    orientation, location = 1, False
    if flags & _EXIF:
        for name, start, end in _chunks(head):
            if name == b"EXIF":
                tags = read_exif(head.take(start, end - start))
                orientation, location = tags.orientation, GPS in tags.tags
                break
    return Facts(
        "webp",
        width=head.little(24, 3) + 1,
        height=head.little(27, 3) + 1,
        orientation=orientation,
        transparent=bool(flags & _ALPHA),
        animated=bool(flags & _ANIMATED),
        location=location,
    )


def _chunks(head: Head) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk up to the end that the file announces."""
    at, last = 12, 8 + head.little(4, 4)
    for _ in range(_MAX_CHUNKS):
        if at + 8 > last:
            return
        length = head.little(at + 4, 4)
        yield head.take(at, 4), at + 8, at + 8 + length
        at += 8 + length + length % 2
    raise damaged(f"it has more than {_MAX_CHUNKS} chunks")


def without_metadata(content: bytes) -> bytes:
    """The same still picture, undecoded, without EXIF, XMP, unknown chunks and what follows its end."""
    head = Head(content, complete=True)
    parts: list[bytes] = []
    for name, start, end in _chunks(head):
        body = head.take(start, end - start)
        if name == b"VP8X":
            body = bytes([body[0] & ~(_XMP | _EXIF)]) + body[1:]
        if name in _KEPT:
            parts.append(name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2))
    inner = b"WEBP" + b"".join(parts)
    return b"RIFF" + len(inner).to_bytes(4, "little") + inner


def colour_profile(content: bytes) -> bytes | None:
    """The ICC profile, where there is one."""
    head = Head(content, complete=True)
    for name, start, end in _chunks(head):
        if name == b"ICCP":
            return head.take(start, end - start)
    return None
