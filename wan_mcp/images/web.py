"""A picture on the web: its facts from its first bytes, all of it only when it must be changed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

import httpx2

from wan_mcp.errors import PictureError
from wan_mcp.images.facts import Facts, NeedMore, facts, facts_of
from wan_mcp.images.fitting import LINKED, fits
from wan_mcp.images.limits import MAX_BYTES, MAX_READ, check_possible, in_bytes
from wan_mcp.net.fetch import PublicFetcher

_HEADERS = {"accept": "image/*,*/*;q=0.5", "accept-encoding": "identity"}
_CHUNK = 32_768
_SIGNED = frozenset(
    {
        *("signature", "sig", "token", "access_token", "expires", "expiry", "policy", "key-pair-id"),
        *("x-amz-signature", "x-amz-expires", "x-goog-signature", "x-goog-expires", "se", "hdnts", "hdnea"),
        *("x-oss-signature", "q-signature", "x-cos-security-token", "auth_key", "jwt", "oe", "hm"),
    }
)


@dataclass(frozen=True)
class Seen:
    """A picture on the web, as far as it had to be read."""

    facts: Facts
    content: bytes | None
    """All of it, when it has to be changed; None when it fits where it is."""


async def inspect(fetcher: PublicFetcher, address: str) -> Seen:
    """Read as much of a picture as it takes to know whether it fits, or all of it if it does not.

    Raises:
        PictureError: when it cannot be had, is no picture, or cannot be made to fit.
        AddressRefused, FetchFailed: as ``PublicFetcher.stream``.
    """
    async with fetcher.stream(address, headers=_HEADERS) as response:
        _check_status(response.status_code)
        length = _length(response)
        body = _Body(response, length)
        found = await body.facts()
        check_possible(*found.upright_size)
        if fits(found, LINKED) and await body.is_at_most(MAX_BYTES):
            return Seen(found, None)
        return Seen(found, await body.all())


def looks_signed(query: bytes) -> bool:
    """Whether an address has a query of the kind that gives access for a while only."""
    names = {name.lower() for name, _ in parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True)}
    return not _SIGNED.isdisjoint(names)


class _Body:
    """A body that is read as far as it is asked for."""

    def __init__(self, response: httpx2.Response, length: int | None) -> None:
        if length is not None and length > MAX_READ:
            raise _too_long(in_bytes(length))
        self._chunks: AsyncIterator[bytes] = response.aiter_bytes(_CHUNK)
        self._read = bytearray()
        self._length = length
        self._ended = False

    async def facts(self) -> Facts:
        found = facts(b"")
        while isinstance(found, NeedMore):
            await self._read_to(found.size)
            if self._ended:
                return facts_of(bytes(self._read))
            found = facts(bytes(self._read))
        return found

    async def is_at_most(self, size: int) -> bool:
        """Believe a length that the server told; without one, read on until it is known."""
        if self._length is not None:
            return self._length <= size
        await self._read_to(size + 1)
        return len(self._read) <= size

    async def all(self) -> bytes:
        await self._read_to(MAX_READ + 1)
        return bytes(self._read)

    async def _read_to(self, size: int) -> None:
        while len(self._read) < size and not self._ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._ended = True
            else:
                self._read += chunk
        if len(self._read) > MAX_READ:
            raise _too_long(f"more than {in_bytes(MAX_READ)}")


def _length(response: httpx2.Response) -> int | None:
    """What Content-Length says of the picture, where it speaks of the picture and not of a packed form."""
    text = response.headers.get("content-length", "")
    packed = response.headers.get("content-encoding", "identity").lower() != "identity"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 and not packed else None


def _too_long(size: str) -> PictureError:
    text = f"has {size}; Evolink takes {in_bytes(MAX_BYTES)}, more than {in_bytes(MAX_READ)} is not shrunk"
    return PictureError(text, next_step="Give a smaller version of the picture.")


def _check_status(status: int) -> None:
    if status in (200, 203):
        return
    try:
        phrase = f" ({HTTPStatus(status).phrase.lower()})"
    except ValueError:
        phrase = ""
    next_step = "Check the address, or give the picture as a file."
    if status in (401, 403, 407, 451):
        next_step = "Give an address that opens without a login, or give the picture as a file."
    elif status == 429 or status >= 500:
        next_step = "Try again later, or give the picture as a file."
    raise PictureError(f"answers {status}{phrase}, so Evolink could not fetch it either", next_step=next_step)
