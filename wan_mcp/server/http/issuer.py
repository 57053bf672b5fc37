"""The issuer of the callers' tokens, and its public keys."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from pydantic import BaseModel, ConfigDict, ValidationError

from wan_mcp import __version__
from wan_mcp.net.addresses import is_this_machine, shown, split
from wan_mcp.net.trust import CHECK_THEM, UNUSABLE, Trust
from wan_mcp.server.http.access import Unavailable

if TYPE_CHECKING:  # older versions of the library have the name for type checks only
    from jwt.algorithms import AllowedPublicKeys

logger = logging.getLogger(__name__)

MAX_SECONDS = 10.0
"""Seconds for finding and reading the keys, in all."""
MAX_ANSWER = 1024 * 1024
MAX_KEYS = 100
FRESH = 3600.0
"""Seconds after which the keys are read again; one that was removed is refused from then on."""
KEPT = 24 * 3600.0
"""Seconds for which keys are used while the issuer cannot be read."""
SEARCH_PAUSE = 60.0
"""Seconds between two readings because of keys that are not known."""
RETRY_PAUSE = 5.0
"""Seconds after a failed reading before the next."""
REFRESH_PAUSE = 60.0
"""The same while older keys are used: the caller for whom the keys are read waits for that."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
"""By a key's type and curve, what it may sign with. A secret key (``oct``) is never accepted."""
ALGORITHMS = frozenset(name for names in _ALGORITHMS.values() for name in names)
_SHORTEST_RSA = 2048


@dataclass(frozen=True)
class Key:
    """A public key of the issuer."""

    kid: str | None
    algorithms: tuple[str, ...]
    """What it may sign with."""
    public: "AllowedPublicKeys"


class Issuer:
    """The keys of one issuer, read when needed and kept.

    Args:
        address: exactly as in its tokens and its metadata.
        transport: replaces the network, for tests.
    """

    def __init__(self, address: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._address = address
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None
        self._keys: tuple[Key, ...] = ()
        self._one_reads = anyio.Lock()
        self._reading: anyio.CancelScope | None = None
        self._expire_at = -math.inf
        self._refresh_at = -math.inf
        self._search_at = -math.inf
        self._retry_at = -math.inf

    def end_reading(self) -> None:
        """End a reading that is under way, as if the issuer had not answered."""
        if self._reading is not None:
            self._reading.cancel()

    async def aclose(self) -> None:
        """Close the connections, and end a reading that is under way."""
        self.end_reading()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def keys(self) -> tuple[Key, ...]:
        """The issuer's keys; where it cannot be read, those of up to a day before.

        Raises:
            Unavailable: when none are known, and they cannot be read now.
        """
        if anyio.current_time() >= self._expire_at:
            async with self._one_reads:
                if anyio.current_time() >= self._expire_at:
                    await self._read()
        elif anyio.current_time() >= self._refresh_at and not self._one_reads.locked():
            async with self._one_reads:
                try:
                    await self._read()
                except Unavailable:
                    self._refresh_at = anyio.current_time() + REFRESH_PAUSE
                    logger.warning("Tokens are checked with the keys that were read before.")
        return self._keys

    async def newer_keys(self) -> tuple[Key, ...]:
        """The issuer's keys, read again because a key is not known, though at most once a minute.

        Raises:
            Unavailable: when they cannot be read now.
        """
        async with self._one_reads:
            if anyio.current_time() >= self._search_at:
                await self._read()
                self._search_at = anyio.current_time() + SEARCH_PAUSE
        return self._keys

    async def _read(self) -> None:
        """Read the keys. The caller holds the lock, so that all who need them wait for one reading."""
        if (wait := self._retry_at - anyio.current_time()) > 0:
            raise _unavailable(wait)
        try:
            # Shielded: the others wait for the keys also when the caller for whom they are read leaves.
            with anyio.move_on_after(MAX_SECONDS, shield=True) as self._reading:
                self._keys = await self._found()
            if self._reading.cancelled_caught:
                raise _Unreadable("it did not answer in full in time")
        except _Unreadable as error:
            logger.warning("The keys of the issuer %s cannot be read: %s", shown(self._address), error)
            self._retry_at = anyio.current_time() + RETRY_PAUSE
            raise _unavailable(RETRY_PAUSE) from error
        self._expire_at = anyio.current_time() + KEPT
        self._refresh_at = anyio.current_time() + FRESH
        if not self._keys:
            logger.warning("The issuer %s has no key that tokens can be checked with.", shown(self._address))

    async def _found(self) -> tuple[Key, ...]:
        place = _checked((await self._metadata()).jwks_uri)
        try:
            return _keys_of(await self._get(place))
        except ValidationError:
            raise _Unreadable(f"{shown(place)} is not a set of keys") from None

    async def _metadata(self) -> "_Metadata":
        """What the issuer says of itself, where RFC 8414 or else OpenID Connect looks for it."""
        parts = urlsplit(self._address)
        path = parts.path.rstrip("/")
        reasons = []
        for place in (
            f"/.well-known/oauth-authorization-server{path}",
            f"{path}/.well-known/openid-configuration",
        ):
            url = f"{parts.scheme}://{parts.netloc}{place}"
            try:
                metadata = _Metadata.model_validate_json(await self._get(url))
            except ValidationError:
                reasons.append(f"{shown(url)} is not an issuer's metadata")
            except _Unreadable as error:
                reasons.append(str(error))
            else:
                if metadata.issuer == self._address:
                    return metadata
                reasons.append(
                    f"{shown(url)} names the issuer {shown(metadata.issuer)}; "
                    "WAN_MCP_OAUTH_ISSUER must be exactly as there"
                )
        raise _Unreadable("; ".join(reasons))

    async def _get(self, url: str) -> bytes:
        content = bytearray()
        try:
            async with (await self._connected()).stream("GET", url) as response:
                if response.status_code != 200:
                    raise _Unreadable(f"{shown(url)} answered HTTP {response.status_code}")
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > MAX_ANSWER:
                        raise _Unreadable(f"{shown(url)} answered more than {MAX_ANSWER} bytes")
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise _Unreadable(f"{shown(url)} gave no answer ({type(error).__name__})") from error
        return bytes(content)

    async def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            try:
                self._client = httpx2.AsyncClient(
                    transport=self._transport,
                    verify=True if self._transport is not None else await Trust().context(),
                    # No proxy for this machine, even where the environment names one.
                    mounts={f"all://{here}": None for here in ("localhost", "127.0.0.1", "[::1]")},
                    headers={
                        "User-Agent": f"wan-mcp/{__version__}",
                        "Accept": "application/json",
                        # The length of a compressed answer is not known before it is unpacked.
                        "Accept-Encoding": "identity",
                    },
                    timeout=MAX_SECONDS,
                    follow_redirects=False,
                )
            except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
                raise _Unreadable(f"{UNUSABLE} {CHECK_THEM}") from error
        return self._client


class _Unreadable(Exception):
    """Raised when the keys cannot be read; the text is for the operator's log."""


class _Metadata(BaseModel):
    issuer: str
    jwks_uri: str


class _KeySet(BaseModel):
    keys: list[Any]


class _PublicPart(BaseModel):
    """The fields of a key that are used: none of a private key, and no addresses of certificates."""

    model_config = ConfigDict(strict=True, extra="ignore")

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


def _unavailable(seconds: float) -> Unavailable:
    return Unavailable("The keys of the tokens' issuer cannot be read now.", seconds)


def _checked(address: str) -> str:
    try:
        parts = split(address)
    except ValueError as error:
        raise _Unreadable(f"its jwks_uri {error}") from None
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname or "")):
        return address
    raise _Unreadable("its jwks_uri is not https")


def _keys_of(document: bytes) -> tuple[Key, ...]:
    return tuple(_usable(_KeySet.model_validate_json(document).keys[:MAX_KEYS]))


def _usable(keys: list[Any]) -> Iterator[Key]:
    """The keys that tokens can be checked with; others, such as those for encryption, are skipped."""
    for key in keys:
        try:
            part = _PublicPart.model_validate(key)
            algorithms = _ALGORITHMS.get((part.kty, part.crv), ())
            if part.alg is not None:
                algorithms = (part.alg,) if part.alg in algorithms else ()
            for_signatures = part.use in (None, "sig") and (part.key_ops is None or "verify" in part.key_ops)
            if not algorithms or not for_signatures:
                continue
            public = PyJWK(part.model_dump(exclude_none=True), algorithms[0]).key
            if part.kty == "RSA" and public.key_size < _SHORTEST_RSA:
                continue
        except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
            logger.info("A key of the issuer cannot be used.")
        else:
            yield Key(part.kid, algorithms, public)
