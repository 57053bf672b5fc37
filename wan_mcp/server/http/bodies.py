"""Turns: how much of the server's memory the bodies of one owner's requests, and of all, may take."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import anyio
from starlette.types import Message, Receive

LARGE = 1024 * 1024
"""Bytes from which a body is large: only a picture in the request is."""
LARGE_OF_AN_OWNER = 3
"""Requests of one owner with large bodies that are served at once; others wait, unread."""
LARGE_OF_ALL = 12
"""The same for all owners together. Each takes about four times its size."""
MAX_VALUES = 10_000
"""Lists, objects and members of lists and objects in a body at most."""


class Turns:
    """Turns, of which no owner takes all.

    Args:
        of_an_owner: how many one owner may have at once.
        of_all: the same for all owners together.
    """

    def __init__(self, of_an_owner: int, of_all: int) -> None:
        self._of_an_owner = of_an_owner
        self._of_all = anyio.CapacityLimiter(of_all)
        self._of_owners: WeakValueDictionary[str, anyio.CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def held(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it until this block ends."""
        limiter = self._of_owners.setdefault(owner, anyio.CapacityLimiter(self._of_an_owner))
        async with _held(limiter), _held(self._of_all):
            yield


class LargeBodies:
    """Lets requests with large bodies be read in turn, so that no owner takes all turns."""

    def __init__(self) -> None:
        self._turns = Turns(LARGE_OF_AN_OWNER, LARGE_OF_ALL)

    @asynccontextmanager
    async def received(self, owner: str, receive: Receive) -> AsyncIterator[Receive]:
        """Read a request's body with what this yields: it waits for a turn once the body is large.

        The turn, like what was read, may be kept until this block ends. A length that is announced does not
        count: some proxies announce none for small requests either.
        """
        size = 0
        async with AsyncExitStack() as turns:

            async def in_turn() -> Message:
                nonlocal size
                message = await receive()
                before, size = size, size + len(message.get("body", b""))
                if before < LARGE <= size:
                    await turns.enter_async_context(self._turns.held(owner))
                return message

            yield in_turn


def values_in(part: bytes) -> int:
    """How many values a part of a JSON text may have; much faster than to read it."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


@asynccontextmanager
async def _held(limiter: anyio.CapacityLimiter) -> AsyncIterator[None]:
    turn = object()  # the SDK reads a body in a task of its own, which does not end the turn
    await limiter.acquire_on_behalf_of(turn)
    try:
        yield
    finally:
        limiter.release_on_behalf_of(turn)
