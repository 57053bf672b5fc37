"""TIFF: one directory for each page, anywhere in the file."""

from wan_mcp.errors import PictureError
from wan_mcp.images.formats.exif import GPS, first_directory
from wan_mcp.images.formats.head import Facts, Head, damaged

_SUBFILE, _WIDTH, _HEIGHT, _EXTRA, _RAW = 254, 256, 257, 338, 50706


def facts(head: Head) -> Facts:
    """What the first page's directory says.

    Raises:
        PictureError: also for a camera's raw file, in which the first page is only a small preview.
    """
    directory = first_directory(head)
    tags = directory.tags
    if _RAW in tags or tags.get(_SUBFILE, 0) & 1 or head.take(8, 2) == b"CR":
        raise PictureError("is a camera's raw file", next_step="Export it as JPEG, and give that.")
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise damaged("it does not tell its size")
    return Facts(
        "tiff",
        width=tags[_WIDTH],
        height=tags[_HEIGHT],
        orientation=directory.orientation,
        transparent=tags.get(_EXTRA, 0) in (1, 2),
        animated=directory.next != 0,
        location=GPS in tags,
    )
