"""When a call that surely had no effect, or costs nothing, is made again."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from wan_mcp.errors import EvolinkError

logger = logging.getLogger(__name__)

ATTEMPTS = 3
MAX_PAUSE = 30.0
"""The longest ``Retry-After`` that is waited out, in seconds; the vendor's own clients do the same."""
MAX_RETRYING = 40.0
"""Seconds after which a request that keeps failing is not tried again."""

T = TypeVar("T")


async def persist(call: Callable[[], Awaitable[T]], retried: tuple[type[EvolinkError], ...]) -> T:
    """Call, and again after an error of a ``retried`` kind, within bounds of number and time."""
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
    """Seconds until the next attempt: what the API asked for, else growing and with jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0.5, 1.0) * 2.0 ** (attempt - 1)
