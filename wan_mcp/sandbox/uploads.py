"""Uploaded files, in memory, for 72 hours."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

from wan_mcp.sandbox.dates import iso

KEPT_SECONDS = 72 * 3600


@dataclass(frozen=True)
class Upload:
    id: str
    name: str
    mime_type: str
    content: bytes
    time: float

    @property
    def expires(self) -> float:
        return self.time + KEPT_SECONDS

    def body(self, base: str) -> dict[str, object]:
        url = f"{base}/files/{self.id}/{quote(self.name)}"
        return {
            "file_id": self.id,
            "file_name": self.name,
            "file_size": len(self.content),
            "mime_type": self.mime_type,
            "file_url": url,
            "download_url": f"{url}?download=1",
            "upload_time": iso(self.time),
            "expires_at": iso(self.expires),
        }


class Uploads:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._files: dict[str, Upload] = {}

    def add(self, name: str | None, content: bytes) -> Upload:
        """Keep a picture. Raises `ValueError` when the content is not in an accepted format."""
        mime_type = _mime_type(content)
        if mime_type is None:
            raise ValueError("The file must be a jpeg, png, gif or webp picture.")
        identity = secrets.token_hex(12)
        name = PurePosixPath(name or "").name or f"{identity}.{mime_type.removeprefix('image/')}"
        upload = self._files[identity] = Upload(identity, name, mime_type, content, self._clock())
        return upload

    def find(self, identity: str) -> Upload | None:
        upload = self._files.get(identity)
        return upload if upload and self._clock() < upload.expires else None

    def at(self, url: str) -> Upload | None:
        """The upload that the URL leads to, whatever its host."""
        match urlsplit(url).path.split("/"):
            case ["", "files", identity, _]:
                return self.find(identity)
        return None


def _mime_type(content: bytes) -> str | None:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None
