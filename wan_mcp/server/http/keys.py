"""Callers who bring an Evolink key of their own: it is checked before any work is done for it."""

import hashlib
import logging
import secrets
from weakref import WeakValueDictionary

import anyio
from pydantic import SecretStr

from wan_mcp.errors import EvolinkError, OutOfCredits, SettingsError, Unauthorized
from wan_mcp.evolink import Evolink
from wan_mcp.generation.runtime import Runtime
from wan_mcp.server.http.access import Unavailable
from wan_mcp.settings import usable_key

logger = logging.getLogger(__name__)

GOOD_FOR = 600.0
"""Seconds after which a key that worked is checked again."""
BAD_FOR = 60.0
"""Seconds after which a key that was refused is checked again."""
LONGEST = 512
"""Characters of a key at most."""
SECONDS = 10.0
"""How long a caller waits for a check, the wait for its turn included."""
AT_ONCE = 20
"""Checks under way at the same time, at most; as many more of keys that worked before."""
MAX_KNOWN = 10_000
"""Keys that worked, and keys that were refused, that are remembered at most."""
RETRY_AFTER = 5.0
"""Seconds after which to try again, where Evolink does not say."""


class Keys:
    """Tells whether Evolink accepts a key, by reading its credits, which is free. Keeps digests only."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._good: dict[bytes, float] = {}
        """Keys that worked, and until when that counts, by the event loop's clock: the oldest come first."""
        self._bad: dict[bytes, float] = {}
        """The same for keys that were refused. Apart, since anybody can invent keys that push others out."""
        self._checking: WeakValueDictionary[bytes, anyio.Lock] = WeakValueDictionary()
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self._slots_of_the_good = anyio.CapacityLimiter(AT_ONCE)

    @property
    def known(self) -> int:
        """How many checks are remembered."""
        return len(self._good) + len(self._bad)

    async def accepts(self, given: str, runtime: Runtime) -> SecretStr | None:
        """The key, if Evolink accepts it.

        Raises:
            Unavailable: when Evolink does not answer.
        """
        if len(given) > LONGEST or (key := _key(given)) is None:
            return None
        digest = hashlib.blake2b(given.encode(), key=self._salt, digest_size=16).digest()
        with anyio.move_on_after(SECONDS):
            async with self._checking.setdefault(digest, anyio.Lock()):
                now = anyio.current_time()
                if self._good.get(digest, 0.0) > now:
                    return key
                if self._bad.get(digest, 0.0) > now:
                    return None
                is_good = await self._check(key, digest, runtime)
                self._remember(digest, is_good)
                return key if is_good else None
        raise _unavailable("it did not answer in time", None)

    async def _check(self, key: SecretStr, digest: bytes, runtime: Runtime) -> bool:
        evolink = Evolink(key, runtime.connections, base_url=runtime.settings.base_url)
        try:
            async with self._slots_of_the_good if digest in self._good else self._slots:
                await evolink.credits()
        except (Unauthorized, SettingsError):
            return False
        except OutOfCredits:
            return True
        except EvolinkError as error:
            raise _unavailable(error.message, error.retry_after) from error
        return True

    def _remember(self, digest: bytes, is_good: bool) -> None:
        self._good.pop(digest, None)
        self._bad.pop(digest, None)
        known, seconds = (self._good, GOOD_FOR) if is_good else (self._bad, BAD_FOR)
        if len(known) >= MAX_KNOWN:
            del known[next(iter(known))]
        known[digest] = anyio.current_time() + seconds


def _unavailable(reason: str, retry_after: float | None) -> Unavailable:
    logger.warning("a key could not be checked: %s", reason)
    return Unavailable(
        "The key could not be checked, since Evolink did not answer.", retry_after or RETRY_AFTER
    )


def _key(given: str) -> SecretStr | None:
    try:
        key = usable_key(given)
    except ValueError:
        return None
    return None if key is None else SecretStr(key)
