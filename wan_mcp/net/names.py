"""Looking up the names of hosts that somebody else chose."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

LOOK_UPS = 50
"""Names that are looked up at the same time at most, where many callers choose them."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Looks up a host name and port: every IP address, in the order in which to try them."""


async def look_up(host: str, port: int) -> list[str]:
    """Look up a name for the one user of this machine."""
    return _addresses(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class LookUps:
    """Looks up the names that many callers choose, in threads that serve nothing else.

    The few threads of ``anyio.getaddrinfo`` are needed for the connections to the API, and a name server
    of somebody else may take its time. A look-up counts for its caller until it ends, even if that has left.
    """

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(LOOK_UPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        work = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return _addresses(await anyio.to_thread.run_sync(work, limiter=self._threads))


def _addresses(found: Sequence[tuple[Any, ...]]) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
