"""TIFF directories, as EXIF blocks and TIFF files have them."""

from dataclasses import dataclass

from wan_mcp.errors import PictureError
from wan_mcp.images.formats.head import Head, Short, damaged

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
"""Bytes of a value by type: the whole numbers, and pointers to directories."""
_MAX_ENTRIES = 1000

ORIENTATION, GPS = 274, 34853


@dataclass(frozen=True)
class Directory:
    """The tags of the first directory (the first value of each, where it is a whole number)."""

    tags: dict[int, int]
    next: int
    """Where the next directory is; 0 after the last."""
    count: int
    """How many tags there are, of all kinds."""

    @property
    def orientation(self) -> int:
        """1 to 8; 1 when it is absent or nonsense."""
        value = self.tags.get(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1

    @property
    def only_turns(self) -> bool:
        """Whether nothing is told but which way is up."""
        return self.count == (ORIENTATION in self.tags)


def first_directory(head: Head) -> Directory:
    """Read the first directory of a TIFF structure.

    Raises:
        Short: when the directory lies beyond the head.
        PictureError: when there is none.
    """
    order = {b"II": "little", b"MM": "big"}.get(head.take(0, 2))
    if order is None:
        raise damaged("it has no byte order")
    number = head.little if order == "little" else head.big
    wide = number(2, 2) == 43
    at = number(8, 8) if wide else number(4, 4)
    counter, entry, word = (8, 20, 8) if wide else (2, 12, 4)
    count = number(at, counter)
    if count > _MAX_ENTRIES:
        raise damaged(f"it has {count} tags")
    tags: dict[int, int] = {}
    for start in range(at + counter, at + counter + count * entry, entry):
        size = _SIZES.get(number(start + 2, 2))
        if size is not None and size <= word:
            tags.setdefault(number(start, 2), number(start + entry - word, size))
    return Directory(tags, number(at + counter + count * entry, word), count)


def read_exif(block: bytes) -> Directory:
    """The first directory of an EXIF block; an empty one when the block cannot be read."""
    block = block.removeprefix(b"Exif\0\0")
    try:
        return first_directory(Head(block + bytes(8), complete=True))
    except (Short, PictureError):
        return Directory({}, 0, 0)
