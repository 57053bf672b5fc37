"""Where a picture comes from: a web address, or a file on this machine."""

import hashlib
import mimetypes
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio

from wan_mcp.errors import PictureError
from wan_mcp.images.picture import Picture

MAX_BYTES = 10 * 1024 * 1024
"""The largest picture that Evolink takes."""


async def open_picture(reference: str) -> Picture:
    """Take a web address as it is, read a ``file:`` URI or an absolute or ``~`` path.

    Raises:
        PictureError: when it is none of these, or cannot be read.
    """
    if reference.lower().startswith(("http://", "https://")):
        return Picture(identity=digest(reference.encode()), address=reference)
    path = local_path(reference)
    content = await _read(path)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Picture(identity=digest(content), content=content, file_name=path.name, media_type=media_type)


def digest(content: bytes) -> str:
    """The SHA-256 of the bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def local_path(reference: str) -> Path:
    """The path that a ``file:`` URI, an absolute path or a ``~`` path names."""
    if reference.lower().startswith("file:"):
        parts = urlsplit(reference)
        if parts.netloc not in ("", "localhost"):
            raise PictureError(
                "image_urls: a file: address must not name a host.", next_step="Write file:///path."
            )
        return Path(url2pathname(parts.path))
    path = Path(reference).expanduser()
    if not path.is_absolute():
        raise PictureError(
            "image_urls: this is neither a web address nor an absolute path.",
            next_step="Give an https:// address, a file: URI, or a path that begins with / or ~.",
        )
    return path


async def _read(path: Path) -> bytes:
    file = anyio.Path(path)
    try:
        if not await file.is_file():
            raise PictureError(f"There is no file {path}.", next_step="Check the path of the picture.")
        if (await file.stat()).st_size > MAX_BYTES:
            raise PictureError(f"The file {path} is over 10 MB.", next_step="Give a smaller picture.")
        return await file.read_bytes()
    except OSError as error:
        raise PictureError(
            f"The file {path} cannot be read ({error.strerror}).", next_step="Check its permissions."
        ) from error
