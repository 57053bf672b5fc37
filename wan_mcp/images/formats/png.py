"""PNG: a chain of chunks."""

import zlib
from collections.abc import Iterator
from itertools import takewhile

from wan_mcp.images.formats.exif import GPS, read_exif
from wan_mcp.images.formats.head import Facts, Head, damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS = 100_000
_KEPT = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD hIST pHYs".split())
_FRAMES = frozenset({b"acTL", b"fcTL", b"fdAT"})


def facts(head: Head) -> Facts:
    """Size and kind from the chunks before the picture; with the whole file also what comes after it."""
    if head.take(12, 4) != b"IHDR":
        raise damaged("it does not begin with its header")
    kind = head.big(25, 1)
    transparent, animated, orientation, location = kind in (4, 6), False, 1, False
    for name, start, end in _chunks(head):
        if name == b"tRNS":
            transparent = True
        elif name == b"acTL":
            animated = head.big(start, 4) > 1
        elif name == b"eXIf":
            tags = read_exif(head.take(start, end - start))
            orientation, location = tags.orientation, GPS in tags.tags
        elif name == b"IEND" or (name == b"IDAT" and not head.complete):
            break
    return Facts(
        "png",
        width=head.big(16, 4),
        height=head.big(20, 4),
        orientation=orientation,
        transparent=transparent,
        animated=animated,
        deep=head.big(24, 1) > 8,
        location=location,
    )


def _chunks(head: Head) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        length, name = head.big(at, 4), head.take(at + 4, 4)
        yield name, at + 8, at + 8 + length
        at += 12 + length
    raise damaged(f"it has more than {_MAX_CHUNKS} chunks")


def count_frames(content: bytes) -> int | None:
    """How many frames an animation says to have."""
    head = Head(content, complete=True)
    return next((head.big(start, 4) for name, start, _ in _chunks(head) if name == b"acTL"), None)


def has_metadata(content: bytes) -> bool:
    """Whether anything is told that is no picture."""
    chunks = _chunks(Head(content, complete=True))
    names = (name for name, _, _ in takewhile(lambda found: found[0] != b"IEND", chunks))
    return any(name not in _KEPT | _FRAMES for name in names)


def without_metadata(content: bytes) -> bytes:
    """The same still picture, undecoded, without texts, times, EXIF, more frames and what follows its end."""
    head = Head(content, complete=True)
    parts = [SIGNATURE]
    for name, start, end in _chunks(head):
        if name in _KEPT:
            parts.append(head.take(start - 8, end + 12 - start))
        if name == b"IEND":
            break
    return b"".join(parts)


def colour_profile(content: bytes) -> bytes | None:
    """The ICC profile, where there is one."""
    head = Head(content, complete=True)
    for name, start, end in _chunks(head):
        if name == b"iCCP":
            packed = head.take(start, end - start).partition(b"\0")[2][1:]
            try:
                return zlib.decompressobj().decompress(packed, 4_000_000)
            except zlib.error:
                return None
        if name == b"IDAT":
            return None
    return None
