"""A picture on the web: read whole, within bounds."""

import httpx2

from wan_mcp.errors import PictureError
from wan_mcp.images.limits import MAX_READ, in_bytes, too_long
from wan_mcp.net.fetch import PublicFetcher

_HEADERS = {"accept": "image/*,*/*;q=0.5", "accept-encoding": "identity"}


async def read(fetcher: PublicFetcher, address: str, otherwise: str) -> bytes:
    """Read a picture to its end.

    Args:
        fetcher: opens the address.
        address: where the picture is.
        otherwise: how to give it where the address does not work ("as a file").

    Raises:
        PictureError: when its host does not deliver it, or it is too long.
        AddressRefused, FetchFailed: as ``PublicFetcher.stream``.
    """
    content = bytearray()
    async with fetcher.stream(address, headers=_HEADERS) as response:
        _check_status(response.status_code, otherwise)
        length = _length(response)
        if length is not None and length > MAX_READ:
            raise too_long(in_bytes(length))
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_READ:
                raise too_long(f"more than {in_bytes(MAX_READ)}")
    return bytes(content)


def _length(response: httpx2.Response) -> int | None:
    """The length that the host announces; None where it announces none, or that of a compressed form."""
    text = response.headers.get("content-length", "")
    packed = response.headers.get("content-encoding", "identity").lower() != "identity"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 and not packed else None


def _check_status(status: int, otherwise: str) -> None:
    if status in (200, 203):
        return
    advice = "Check the address"
    if status in (401, 403, 407, 451):
        advice = "Give an address that opens without a login"
    elif status == 429 or status >= 500:
        advice = "Try again later"
    phrase = httpx2.codes.get_reason_phrase(status).lower()
    text = f"answers {status}{phrase and f' ({phrase})'}, so Evolink could not fetch it either"
    raise PictureError(text, next_step=f"{advice}, or give the picture {otherwise}.")
