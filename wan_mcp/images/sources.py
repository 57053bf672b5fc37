"""What a reference to a picture is: a web address, a path on this machine, or the picture itself."""

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes

from wan_mcp.errors import PictureError

Kind = Literal["web", "file", "data"]

MAX_DATA = 14_000_000
"""Characters of a ``data:`` URI: 10 MB of picture in base64, and some."""

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_DRIVE = re.compile(r"[a-zA-Z]:")
_KINDS: dict[str, Kind] = {"http:": "web", "https:": "web", "file:": "file", "data:": "data"}
_SOURCES = (
    "Give an https:// address, an absolute path such as /home/me/cat.jpg or ~/cat.jpg, "
    "a file: URI, or a data: URI."
)


def kind(reference: str) -> Kind:
    """Which of the sources a reference names; a Windows drive is not taken for a scheme.

    Raises:
        PictureError: for any other scheme.
    """
    scheme = _SCHEME.match(reference)
    if scheme is None:
        return "file"
    found = _KINDS.get(scheme[0].lower())
    if found is None:
        text = f"is a {scheme[0][:20].lower()} address, which is not to be had from here"
        raise PictureError(text, next_step=_SOURCES)
    return found


def local_path(reference: str, *, windows: bool = os.name == "nt") -> Path:
    """The path that a ``file:`` URI, an absolute path or a ``~`` path names.

    Raises:
        PictureError: when it is relative, on another machine, or of another operating system.
    """
    text = _from_uri(reference[5:]) if reference.lower().startswith("file:") else reference
    if "\0" in text:
        raise PictureError("is not a path: it has a NUL character in it", next_step=_SOURCES)
    if text.startswith(("\\\\", "//")):
        raise PictureError("names another machine's files", next_step="Copy the picture to this machine.")
    if _DRIVE.match(text) and not windows:
        raise PictureError(
            "is a Windows path, and this server does not run on Windows",
            next_step="Give the path as this machine has it, or an https:// address.",
        )
    path = _expanded(Path(text))
    if not path.is_absolute():
        raise PictureError("is neither a web address nor an absolute path", next_step=_SOURCES)
    return path


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~name of somebody unknown
        return path


def _from_uri(rest: str) -> str:
    """The path of a ``file:`` URI. ``#`` and ``?`` stay: they are more often part of the name."""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") and not _DRIVE.fullmatch(host):
            raise PictureError(
                "is a file: URI that names a host", next_step="Write file:/// and then the absolute path."
            )
        rest = host.lower().removeprefix("localhost") + slash + path
    path = os.fsdecode(unquote_to_bytes(rest))
    return path[1:] if _DRIVE.match(path, 1) else path


def data_content(reference: str) -> bytes:
    """The bytes that a ``data:`` URI holds.

    Raises:
        PictureError: when it is too long, or not what it says to be.
    """
    if len(reference) > MAX_DATA:
        raise PictureError(
            f"has {len(reference)} characters; at most {MAX_DATA} are taken",
            next_step="Give the path or the address of the picture instead.",
        )
    header, comma, body = reference.partition(",")
    if not comma:
        raise PictureError("has no comma before its data", next_step="Write data:image/png;base64,...")
    content = unquote_to_bytes(body)
    return _from_base64(content) if header.lower().rstrip().endswith(";base64") else content


def _from_base64(text: bytes) -> bytes:
    packed = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error:
        raise PictureError(
            "is not valid base64, so it is cut off or garbled",
            next_step="Give the path or the address of the picture instead.",
        ) from None
