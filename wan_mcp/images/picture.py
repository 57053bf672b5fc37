"""What the rest of the program knows of a picture that is ready to be used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture that Evolink takes: either at its own public ``address`` or as ``content`` to upload."""

    identity: str
    """What makes two pictures the same: the digest of the bytes, or of the address where only looked at."""
    address: str | None = None
    content: bytes | None = None
    file_name: str = "picture"
    media_type: str = "application/octet-stream"
    width: int | None = None
    height: int | None = None
    format: str | None = None
    adjusted: tuple[str, ...] = ()
    """Each change that was made so that the picture fits, in words."""
    notes: tuple[str, ...] = ()
    """What the user should know although the picture is taken, such as an address that soon dies."""
