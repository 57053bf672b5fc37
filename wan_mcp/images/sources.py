"""What a reference to a picture is: a web address, a path here, a task, an upload, or the picture itself."""

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes

from wan_mcp.errors import PictureError
from wan_mcp.evolink.values import is_task_id
from wan_mcp.images.limits import MAX_PIXELS, MAX_PIXELS_HOSTED
from wan_mcp.images.names import spellings, unquoted

Kind = Literal["web", "file", "data", "task", "upload"]
"""``task``: the last frame of that task's video; ``upload``: what was uploaded to a hosted server."""

MAX_DATA = 14_000_000
"""Characters of a ``data:`` URI: a picture of 10 MB in base64, and a little more."""
PASTED = "A picture pasted into the chat has no path here. Ask the user for the file's path or a link."


@dataclass(frozen=True)
class SourceRules:
    """What a caller may give, and the words in which other references are refused."""

    files: bool
    """Whether files of this machine are read; if not, pictures are uploaded."""
    sources: str
    """What to give."""
    pasted: str
    """What to do about a picture that was pasted into the chat."""
    otherwise: str
    """How to give a picture whose address does not work."""
    faster: str
    """How to give a picture that takes too long."""
    max_pixels: int
    """The most pixels that are decoded."""


ON_THE_USERS_MACHINE = SourceRules(
    files=True,
    sources=(
        "Give an https:// address, an absolute path such as /home/me/cat.jpg or ~/cat.jpg, "
        "a file: URI, a data: URI, or the id of a completed task."
    ),
    pasted=PASTED,
    otherwise="as a file",
    faster="the path of a copy on this machine",
    max_pixels=MAX_PIXELS,
)
HOSTED = SourceRules(
    files=False,
    sources=(
        "To give a file, call prepare_upload. Or give an https:// address, a data: URI, or the id of a "
        "completed task."
    ),
    pasted=(
        "A picture pasted into the chat does not reach this server. Call prepare_upload, so that it can be "
        "uploaded, or ask the user for a link to it."
    ),
    otherwise="through prepare_upload",
    faster="upload it with prepare_upload",
    max_pixels=MAX_PIXELS_HOSTED,
)

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")
_DRIVE = re.compile(r"[a-zA-Z]:")
_UPLOAD = "upload:"
_KINDS: dict[str, Kind] = {
    "http:": "web",
    "https:": "web",
    "file:": "file",
    "data:": "data",
    _UPLOAD: "upload",
}
_OTHERS = ("ftp:", "ftps:", "s3:", "gs:", "az:", "smb:", "sftp:", "ssh:")
"""Schemes of files on other machines; other schemes are names that chat programs give to attachments."""
_BASE64 = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""The beginnings of JPEG, PNG, GIF and WebP pictures in base64; the first one looks like a path."""
_SOURCES = ON_THE_USERS_MACHINE.sources


def kind(reference: str, accepted: SourceRules = ON_THE_USERS_MACHINE) -> Kind:
    """Which of the sources a reference names; a Windows drive is not taken for a scheme.

    Raises:
        PictureError: for any other scheme, and for a file where none is accepted: in the same words whether
            it exists or not, because it is not looked for.
    """
    bare = unquoted(reference)
    if is_task_id(bare):
        return "task"
    if bare.startswith(_BASE64) and len(bare) > 40 and "." not in bare:
        raise PictureError("is base64 without data: in front of it", next_step=accepted.pasted)
    scheme = _SCHEME.match(bare)
    try:  # a path may have bytes that are not text
        bare.encode("utf-8", "strict" if scheme else "surrogateescape")
    except UnicodeEncodeError:
        raise PictureError("has invalid characters", next_step=accepted.sources) from None
    name = "file:" if scheme is None else scheme[0].lower()
    if name == "file:" and not accepted.files:
        raise _no_files(bare, accepted)
    if name not in _KINDS:
        text = f"is not an address that can be read from here ({name[:20]})"
        raise PictureError(text, next_step=accepted.sources if name in _OTHERS else accepted.pasted)
    if name == _UPLOAD and accepted.files:
        text = "names an upload, and this server takes none, because it runs on the user's machine"
        raise PictureError(text, next_step=accepted.sources)
    return _KINDS[name]


def upload_id(reference: str) -> str | None:
    """The id of the upload that a reference names; None where it names something else."""
    bare = unquoted(reference)
    if bare[: len(_UPLOAD)].lower() != _UPLOAD:
        return None
    return unquoted(bare[len(_UPLOAD) :].removeprefix("//"))


def _no_files(bare: str, accepted: SourceRules) -> PictureError:
    if any(mark in bare for mark in "/\\~$:"):
        text = "is a path, and this server does not run on your machine, so it reads no files"
        return PictureError(text, next_step=accepted.sources)
    return PictureError("is a name without an address", next_step=accepted.pasted)


def local_paths(reference: str, *, windows: bool = os.name == "nt") -> list[Path]:
    """The paths that a ``file:`` URI, an absolute path or a ``~`` path may mean; the first as it was given.

    Raises:
        PictureError: when it is only a name, relative, on another machine, or of another operating system.
    """
    bare = unquoted(reference)
    text = _from_uri(bare[5:]) if bare.lower().startswith("file:") else reference
    if "\0" in text:
        raise PictureError("is not a path: it has a NUL character in it", next_step=_SOURCES)
    if text.startswith(("\\\\", "//")):
        raise PictureError("is a path to another machine", next_step="Copy the picture to this machine.")
    if _DRIVE.match(text) and not windows:
        raise PictureError(
            "is a Windows path, and this server does not run on Windows",
            next_step="Give the path on this machine, or an https:// address.",
        )
    paths = [_expanded(Path(spelling)) for spelling in spellings(text, windows=windows)]
    if any(path.is_absolute() for path in paths):
        return paths
    if bare and not any(separator in bare for separator in "/\\"):
        raise PictureError("is a name without a path", next_step=PASTED)
    raise PictureError("is neither a web address nor an absolute path", next_step=_SOURCES)


def _expanded(path: Path) -> Path:
    """Expand ``~`` alone: expanding ``~name`` would reveal which accounts exist."""
    try:
        return path.expanduser() if path.parts[:1] == ("~",) else path
    except RuntimeError:  # an account without a home
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


def data_content(reference: str, accepted: SourceRules = ON_THE_USERS_MACHINE) -> bytes:
    """The bytes that a ``data:`` URI holds.

    Raises:
        PictureError: when it is too long or malformed.
    """
    if len(reference) > MAX_DATA:
        text = f"has {len(reference)} characters; at most {MAX_DATA} are allowed"
        raise PictureError(text, next_step=accepted.pasted)
    header, comma, body = unquoted(reference).partition(",")
    if not comma:
        raise PictureError("has no comma before its data", next_step="Write data:image/png;base64,...")
    content = unquote_to_bytes(body)
    is_base64 = header.lower().rstrip().endswith(";base64")
    return _from_base64(content, accepted) if is_base64 else content


def _from_base64(text: bytes, accepted: SourceRules) -> bytes:
    packed = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error:
        raise PictureError(
            "is not valid base64, so it is cut off or made up", next_step=accepted.pasted
        ) from None
