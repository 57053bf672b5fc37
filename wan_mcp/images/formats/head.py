"""The first bytes of a file, and what they told."""

from dataclasses import dataclass
from typing import Literal

from wan_mcp.errors import PictureError

Format = Literal["jpeg", "png", "bmp", "webp", "gif", "tiff", "avif", "heic"]

SAVE_AGAIN = "Open it, save it again as JPEG or PNG, and give that."


@dataclass(frozen=True)
class Facts:
    """What a picture file says of itself."""

    format: Format
    width: int
    """As stored, before any turning."""
    height: int
    orientation: int = 1
    """EXIF: 1 is upright, 2 to 8 ask to be mirrored or turned; where the decoder turns by itself, 1."""
    transparent: bool = False
    """Whether there is an alpha channel or a transparent colour, used or not."""
    animated: bool = False
    """Whether there are more frames or pages than one."""
    cmyk: bool = False
    deep: bool = False
    """Whether a channel has more than eight bits."""
    location: bool = False
    """Whether the metadata says where the picture was taken."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as a person sees them."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


class Short(Exception):
    """Raised when bytes are asked for that are not there yet."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class Head:
    """Bytes from the beginning of a file, read by position."""

    def __init__(self, data: bytes, *, complete: bool = False) -> None:
        self.data = data
        self.complete = complete

    def take(self, start: int, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises:
            Short: when the head ends before.
        """
        if start + count > len(self.data):
            raise Short(start + count)
        return self.data[start : start + count]

    def big(self, start: int, count: int) -> int:
        """An unsigned number, most significant byte first."""
        return int.from_bytes(self.take(start, count), "big")

    def little(self, start: int, count: int) -> int:
        """An unsigned number, least significant byte first."""
        return int.from_bytes(self.take(start, count), "little")


def damaged(what: str) -> PictureError:
    """The error for a file that contradicts its own format."""
    return PictureError(f"is damaged: {what}", next_step=SAVE_AGAIN)
