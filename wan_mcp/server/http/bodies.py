"""How much of the server's memory the bodies of one owner's requests, and of all, may take."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio
from starlette.datastructures import Headers

LARGE = 1024 * 1024
"""Bytes from which a body is large: only a picture in the request is."""
LARGE_OF_AN_OWNER = 3
"""Requests of one owner with large bodies that are served at once; others wait, unread."""
LARGE_OF_ALL = 12
"""The same for all owners together. Each takes about four times its size."""
MAX_VALUES = 10_000
"""Lists, objects and members of lists and objects in a body at most."""


class LargeBodies:
    """Lets requests with large bodies be read in turn, so that no owner takes all turns."""

    def __init__(self) -> None:
        self._of_all = anyio.CapacityLimiter(LARGE_OF_ALL)
        self._of_owners: WeakValueDictionary[str, anyio.CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, owner: str, headers: Headers) -> AsyncIterator[None]:
        """Wait until a request's body may be read; it may be kept until this block ends."""
        if not _is_large(headers):
            yield
            return
        of_the_owner = self._of_owners.setdefault(owner, anyio.CapacityLimiter(LARGE_OF_AN_OWNER))
        # The same task may hold several turns, so each is held for a token of its own.
        turn = object()
        async with _held(of_the_owner, turn), _held(self._of_all, turn):
            yield


def values_in(part: bytes) -> int:
    """How many values a part of a JSON text may have; much faster than to read it."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


def _is_large(headers: Headers) -> bool:
    length = headers.get("content-length", "")
    return not length.isdecimal() or int(length) >= LARGE  # without a length, it may become large


@asynccontextmanager
async def _held(limiter: anyio.CapacityLimiter, turn: object) -> AsyncIterator[None]:
    await limiter.acquire_on_behalf_of(turn)
    try:
        yield
    finally:
        limiter.release_on_behalf_of(turn)
