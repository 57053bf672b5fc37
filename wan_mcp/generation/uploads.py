"""Pictures that callers of a hosted server upload: their one-time addresses, and what arrives at them."""

import hashlib
import math
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from wan_mcp.errors import PictureUnavailable, StorageError
from wan_mcp.generation.hosted_api import ASK_LATER
from wan_mcp.images.names import readable, unquoted
from wan_mcp.ledger import OwnerLedger
from wan_mcp.settings import Settings

if TYPE_CHECKING:
    from wan_mcp.storage.storage import Storage  # loads what only a hosted server has

FOLDER = "uploads"
"""The folder of the objects."""
ADDRESS_SECONDS = 900.0
"""Seconds for which an address takes a picture."""
MAX_UPLOAD = 20 * 1024 * 1024
"""Bytes: 20 MB in either of its meanings."""
HOUR = 3600.0
_ID = re.compile(r"[0-9a-f]{16}")
_STAMP = 8
"""Bytes before the picture in its object: when it arrived, in Unix seconds, by the clock of the servers."""
NOT_THERE = (
    "image_urls: there is no picture for {}: it has not been uploaded, its time is over, or it is not yours."
)
UPLOAD_FIRST = (
    "If its upload address is still good, have the picture uploaded there and make the same request again; "
    "otherwise call prepare_upload for a new one."
)
CONFUSED = "image_urls: this is the address to upload to, not the picture's."


@dataclass(frozen=True)
class UploadAddress:
    """Where one picture can be sent."""

    id: str
    """What the picture is called afterwards."""
    url: str
    expires_at: float
    """Unix seconds."""


class Uploads:
    """The uploads of one owner.

    Args:
        storage: where they are.
        ledger: the owner's.
        settings: for how long they can be used.
        clock: the time, in Unix seconds.
        turn: bounds the uploads that the whole process reads at the same time.
    """

    def __init__(
        self,
        storage: "Storage",
        ledger: OwnerLedger,
        settings: Settings,
        clock: Callable[[], float],
        turn: anyio.Semaphore,
    ) -> None:
        self._storage = storage
        self._ledger = ledger
        self._usable = settings.upload_hours * HOUR
        self._clock = clock
        self._turn = anyio.Semaphore(1)
        self._turn_of_all = turn

    @asynccontextmanager
    async def opened(self, upload_id: str) -> AsyncIterator[bytes]:
        """The picture of an upload, in turn: each is in memory as a whole.

        Raises:
            PictureUnavailable: as ``read`` does.
        """
        async with self._turn, self._turn_of_all:
            yield await self.read(upload_id)

    def has_address(self, reference: str) -> bool:
        """Whether a reference is the address to upload to, which callers confuse with the picture's."""
        return unquoted(reference).startswith(f"{self._storage.links.address}/{FOLDER}/")

    async def prepare(self) -> UploadAddress:
        """Make an address for one picture of this owner. Nothing is stored for it.

        Raises:
            LedgerError: when the ledger cannot tell who the owner is.
        """
        upload_id = secrets.token_hex(8)
        owner = await self._ledger.digest()
        expires_at = float(math.floor(self._clock() + ADDRESS_SECONDS))
        url = self._storage.links.sign(
            "uploads", _key(owner, upload_id), expires_at, id=upload_id, by=_pseudonym(owner)
        )
        return UploadAddress(upload_id, url, expires_at)

    async def read(self, upload_id: str) -> bytes:
        """The picture of an upload, as it arrived.

        Raises:
            PictureUnavailable: when there is none for this owner, in the same words for all reasons; or when
                the storage cannot be read now.
        """
        if not _ID.fullmatch(upload_id):
            shown = f"upload:{readable(upload_id)[:40]}"
            raise PictureUnavailable(NOT_THERE.format(shown), next_step=UPLOAD_FIRST)
        key = _key(await self._ledger.digest(), upload_id)
        try:
            stored = await self._storage.objects.read(key)
        except StorageError as error:
            text = "image_urls: the upload cannot be read now, because the server's storage failed."
            raise PictureUnavailable(text, next_step=ASK_LATER) from error
        if stored is None or self._clock() >= int.from_bytes(stored[:_STAMP], "big") + self._usable:
            raise PictureUnavailable(NOT_THERE.format(f"upload:{upload_id}"), next_step=UPLOAD_FIRST)
        return stored[_STAMP:]


@dataclass(frozen=True)
class Arrival:
    """What the token of an upload address says."""

    key: str
    """The picture's object."""
    id: str
    by: str
    """Stands for its owner, so that all have their turns; it tells nobody who that is."""
    expires_at: float
    """Unix seconds."""


class Inbox:
    """Where the uploads of all owners arrive.

    Args:
        storage: where they go.
        settings: for how long they can be used.
        clock: the time, in Unix seconds.
    """

    def __init__(self, storage: "Storage", settings: Settings, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._usable = settings.upload_hours * HOUR
        self._clock = clock

    def arrival(self, token: str) -> Arrival:
        """What may arrive at the address with this token.

        Raises:
            LinkError: when it is no address of this server, or has expired.
        """
        claims = self._storage.links.read("uploads", token)
        return Arrival(claims["sub"], claims["id"], claims["by"], claims["exp"])

    def seconds_left(self, arrival: Arrival) -> int:
        """For how many seconds the address still takes a picture."""
        return max(math.ceil(arrival.expires_at - self._clock()), 0)

    async def is_used(self, arrival: Arrival) -> bool:
        """Whether a picture has arrived at the address.

        Raises:
            StorageError: when that cannot be told now.
        """
        return await self._storage.objects.facts(arrival.key) is not None

    async def put(self, arrival: Arrival, content: bytes) -> float | None:
        """Store a picture, unless one has arrived before.

        Returns:
            Until when it can be used, in Unix seconds; None where another one has arrived before.

        Raises:
            StorageError: when it cannot be stored now.
        """
        at = int(self._clock())
        is_first = await self._storage.objects.create(arrival.key, at.to_bytes(_STAMP, "big") + content)
        return at + self._usable if is_first else None


def _key(owner: str, upload_id: str) -> str:
    """The object of an upload: only who knows the owner's digest and the id can name it."""
    digest = hashlib.sha256(f"{owner}\nupload {upload_id}".encode()).hexdigest()
    return f"{FOLDER}/{digest[:40]}"


def _pseudonym(owner: str) -> str:
    return hashlib.sha256(f"{owner}\nuploads".encode()).hexdigest()[:16]
