"""Repeating calls that surely had no effect, or that cost nothing."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from wan_mcp.errors import EvolinkError

logger = logging.getLogger(__name__)

ATTEMPTS = 3
MAX_PAUSE = 30.0
"""The longest ``Retry-After`` that is obeyed, in seconds, as in the vendor's own clients."""
MAX_RETRYING = 40.0
"""Seconds after which a request that keeps failing is not tried again."""

T = TypeVar("T")


async def persist(call: Callable[[], Awaitable[T]], retried: tuple[type[EvolinkError], ...]) -> T:
    """Make a call, and repeat it after errors of the ``retried`` kinds, within bounds of number and time."""
    start = anyio.current_time()
    for attempt in range(1, ATTEMPTS):
        try:
            return await call()
        except retried as error:
            pause = _pause(error, attempt)
            if pause > MAX_PAUSE or anyio.current_time() - start + pause > MAX_RETRYING:
                raise
            logger.info("attempt %d failed (%s); again in %.1f s", attempt, error, pause)
        await anyio.sleep(pause)
    return await call()


def _pause(error: EvolinkError, attempt: int) -> float:
    """Seconds until the next attempt: what the API asked for, else a growing pause with jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0.5, 1.0) * 2.0 ** (attempt - 1)
