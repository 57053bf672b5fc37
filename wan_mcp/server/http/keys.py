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
"""How long one check may take, the wait for its turn included."""
AT_ONCE = 20
"""Checks under way at the same time, at most."""
MAX_KNOWN = 10_000
"""Keys whose checks are remembered, at most."""
RETRY_AFTER = 5.0
"""Seconds after which to try again, where Evolink does not say."""


class Keys:
    """Tells whether Evolink accepts a key, by reading its credits, which is free. Keeps digests only."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[float, bool]] = {}
        """Until when a check counts, by the event loop's clock, and what it showed."""
        self._checking: WeakValueDictionary[bytes, anyio.Lock] = WeakValueDictionary()
        self._slots = anyio.CapacityLimiter(AT_ONCE)

    @property
    def known(self) -> int:
        """How many checks are remembered."""
        return len(self._known)

    async def accepts(self, given: str, runtime: Runtime) -> SecretStr | None:
        """The key, if Evolink accepts it.

        Raises:
            Unavailable: when Evolink does not answer.
        """
        if len(given) > LONGEST or (key := _key(given)) is None:
            return None
        digest = hashlib.blake2b(given.encode(), key=self._salt, digest_size=16).digest()
        async with self._checking.setdefault(digest, anyio.Lock()):
            until, is_good = self._known.get(digest, (0.0, False))
            if until <= anyio.current_time():
                is_good = await self._check(key, runtime)
                self._remember(digest, is_good)
        return key if is_good else None

    async def _check(self, key: SecretStr, runtime: Runtime) -> bool:
        settings = runtime.settings
        reason, retry_after = "it did not answer in time", RETRY_AFTER
        try:
            with anyio.move_on_after(SECONDS):
                async with self._slots:
                    evolink = Evolink(key, runtime.connections, base_url=settings.base_url)
                    await evolink.credits()
                    return True
        except (Unauthorized, SettingsError):
            return False
        except OutOfCredits:
            return True
        except EvolinkError as error:
            reason, retry_after = error.message, error.retry_after or RETRY_AFTER
        logger.warning("a key could not be checked: %s", reason)
        raise Unavailable("The key could not be checked, since Evolink did not answer.", retry_after)

    def _remember(self, digest: bytes, is_good: bool) -> None:
        now = anyio.current_time()
        if len(self._known) >= MAX_KNOWN:
            self._known = {known: state for known, state in self._known.items() if state[0] > now}
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known.pop(digest, None)
        self._known[digest] = now + (GOOD_FOR if is_good else BAD_FOR), is_good


def _key(given: str) -> SecretStr | None:
    try:
        key = usable_key(given)
    except ValueError:
        return None
    return None if key is None else SecretStr(key)
