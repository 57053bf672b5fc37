"""A hosted server's storage: its objects, and the links to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from wan_mcp.ledger import SignedLink
from wan_mcp.settings import Settings
from wan_mcp.storage.folder import DEFAULT
from wan_mcp.storage.links import Links, kept_secret
from wan_mcp.storage.objects import ObjectStore


@dataclass(frozen=True)
class Storage:
    """What all owners share."""

    objects: ObjectStore
    links: Links
    serves_videos: bool = False
    """Whether this server serves videos although a bucket could."""

    @classmethod
    def open(cls, settings: Settings, address: str, clock: Callable[[], float]) -> Self:
        """The storage that the settings name; nothing is connected to yet.

        Args:
            settings: as loaded.
            address: the server's, as callers know it.
            clock: the time, in Unix seconds.

        Raises:
            SettingsError: when there can be no such storage, or the secret cannot be kept.
        """
        secret = settings.secret or kept_secret(settings.data_dir)
        return cls(objects_of(settings), Links(secret, address, clock), settings.serve_videos)

    def video_origin(self) -> str:
        """From where videos are served, such as ``https://bucket.example.com``."""
        bucket = None if self.serves_videos else self.objects.origin()
        return bucket or self.links.address

    async def video_link(
        self, key: str, name: str, media_type: str, expires_at: float, now: float
    ) -> SignedLink:
        """A link at which a video can be played and downloaded: at the bucket, or else at this server.

        Args:
            key: its object.
            name: what its file is to be called.
            media_type: what it is.
            expires_at: when the link is to expire, in Unix seconds.
            now: Unix seconds.

        Raises:
            StorageError: when the bucket's links cannot be signed now.
        """
        url = None if self.serves_videos else await self.objects.link(key, expires_at - now)
        if url is None:
            url = self.links.sign("videos", key, expires_at, name=name, type=media_type)
        return SignedLink(url, expires_at)


def objects_of(settings: Settings) -> ObjectStore:
    """The folder or the bucket that the settings name.

    Raises:
        SettingsError: when there can be no such storage.
    """
    return ObjectStore(settings.storage_url or (settings.data_dir / DEFAULT).as_uri())
