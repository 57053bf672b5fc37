"""GIF: a screen, and blocks that are drawn onto it."""

from collections.abc import Iterator

from wan_mcp.errors import PictureError
from wan_mcp.images.formats.head import Facts, Head, Short, damaged

_MAX_PIECES = 400_000
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_GRAPHICS = 0xF9


def facts(head: Head) -> Facts:
    """The size of the screen, and what is known before the first frame; with the whole file, the second."""
    transparent = animated = False
    frames = 0
    try:
        for kind, start in _blocks(head):
            frames += kind == _FRAME
            if frames == (2 if head.complete else 1):
                break
            label = head.big(start + 1, 1)
            if kind == _EXTENSION and label == _GRAPHICS and not frames:
                transparent = bool(head.big(start + 3, 1) & 1)
            animated = animated or head.data.startswith((b"NETSCAPE2.0", b"ANIMEXTS1.0"), start + 3)
    except Short:
        if not frames:  # many files lack their end
            raise
    animated = animated or frames > 1
    return Facts("gif", head.little(6, 2), head.little(8, 2), transparent=transparent, animated=animated)


def count_frames(content: bytes) -> int | None:
    """How many frames there are; None where counting takes too long or the file breaks off."""
    try:
        return sum(kind == _FRAME for kind, _ in _blocks(Head(content, complete=True)))
    except (Short, PictureError):
        return None


def _blocks(head: Head) -> Iterator[tuple[int, int]]:
    """What each extension or frame is, and where it begins; their data is a row of small pieces."""
    at = 13 + _palette(head.big(10, 1))
    in_pieces = False
    for _ in range(_MAX_PIECES):
        value = head.big(at, 1)
        if in_pieces:
            at += 1 + value
            in_pieces = value > 0
        elif value in (_EXTENSION, _FRAME):
            yield value, at
            at += 2 if value == _EXTENSION else 11 + _palette(head.big(at + 9, 1))
            in_pieces = True
        elif value == _END:
            return
        else:
            raise damaged("a block does not begin where it should")
    raise damaged(f"it has more than {_MAX_PIECES} blocks")


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
