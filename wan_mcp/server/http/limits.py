"""How many requests a caller may make."""

import ipaddress

import anyio

from wan_mcp.server.http.access import TooManyRequests

MINUTE = 60.0
OF_AN_OWNER = 120
"""Requests of one owner in a minute."""
OF_AN_ADDRESS = 600
"""Requests from one address in a minute; an office may share it."""
MAX_KNOWN = 10_000
"""Callers that are remembered at most."""


class RateLimits:
    """Limits each caller's requests: a token bucket that is refilled evenly, once a minute.

    Args:
        per_minute: how many requests fill the bucket.
    """

    def __init__(self, per_minute: int) -> None:
        self._each = MINUTE / per_minute
        self._free_at: dict[str, float] = {}
        """When a caller's bucket is full again: at most a minute from now."""

    def take(self, caller: str) -> None:
        """Count a request.

        Raises:
            TooManyRequests: when it is one too many; it does not count.
        """
        now = anyio.current_time()
        free_at = max(self._free_at.get(caller, now), now) + self._each
        if free_at - now > MINUTE + 1e-6:
            raise TooManyRequests(free_at - now - MINUTE)
        if caller not in self._free_at and len(self._free_at) >= MAX_KNOWN:
            self._forget(now)
        self._free_at[caller] = free_at

    def _forget(self, now: float) -> None:
        """Forget all callers whose bucket is full; if there are none, the one whose bucket is fullest."""
        self._free_at = {caller: at for caller, at in self._free_at.items() if at > now}
        if len(self._free_at) >= MAX_KNOWN:
            del self._free_at[min(self._free_at, key=self._free_at.__getitem__)]


def network_of(address: str) -> str:
    """What is counted for an address: for IPv6 its /64 network, which one customer has as a whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a header of the proxy gives it, of any length
        return address[:100]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)
