"""Tokens of the operator's issuer (JWT): who calls, without asking the issuer for each call."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wan_mcp.errors import SettingsError
from wan_mcp.server.http.issuer import ALGORITHMS, Issuer, Key
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

LONGEST_TOKEN = 16 * 1024
LONGEST_SUBJECT = 1024
LEEWAY = 5.0
"""Seconds by which the issuer's clock may be ahead of this one."""

_SIGNED = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SIGNATURES = jwt.PyJWS(algorithms=sorted(ALGORITHMS))
_Time = Annotated[float, Field(ge=0, le=253_402_300_799)]
"""Seconds since 1970, up to the year 9999."""


@dataclass(frozen=True)
class Claims:
    """Who calls, as a token of the issuer says."""

    issuer: str
    subject: str
    scopes: tuple[str, ...]
    expires_at: int
    """Seconds since 1970."""


class Tokens:
    """Checks the tokens of one issuer for one server.

    Args:
        settings: name the issuer and the audience.
        transport: replaces the network, for tests.
        clock: seconds since 1970.

    Raises:
        SettingsError: when the issuer or the audience is not set.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not settings.oauth_issuer or not settings.oauth_audience:
            raise SettingsError("WAN_MCP_OAUTH_ISSUER and WAN_MCP_OAUTH_AUDIENCE must be set.")
        self._address = settings.oauth_issuer
        self._audience = settings.oauth_audience
        self._clock = clock
        self._issuer = Issuer(settings.oauth_issuer, transport=transport)

    def end_reading(self) -> None:
        """End a reading of the issuer's keys that is under way."""
        self._issuer.end_reading()

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        await self._issuer.aclose()

    async def claims(self, token: str) -> Claims | None:
        """Who calls with this token; None where it is not a valid token of the issuer for this server.

        Raises:
            Unavailable: when the issuer's keys cannot be read now and the token may be valid.
        """
        try:
            parts = _parts(token)
            # Before the signature: what is wrong in any case needs no key of the issuer.
            claims = self._claims_of(parts.payload)
            known = _signed(parts, await self._issuer.keys())
            if not known and not _signed(parts, await self._issuer.newer_keys()):
                raise _Refused("no key of the issuer made its signature")
        except _Refused as error:
            logger.info("A token was refused: %s", error)
            return None
        return claims

    def _claims_of(self, payload: dict[str, Any]) -> Claims:
        try:
            found = _Payload.model_validate(payload)
        except ValidationError as error:
            names = {str(problem["loc"][0]) for problem in error.errors()}
            raise _Refused(f"missing or unusable: {', '.join(sorted(names))}") from None
        now = self._clock()
        if found.iss != self._address:
            raise _Refused("another issuer")
        if self._audience not in ([found.aud] if isinstance(found.aud, str) else found.aud):
            raise _Refused("for another audience")
        if found.exp <= now:
            raise _Refused("expired")
        if max(found.nbf or 0, found.iat or 0) > now + LEEWAY:
            raise _Refused("not valid yet")
        scopes = found.scope if found.scope is not None else found.scp or ()
        scopes = scopes.split() if isinstance(scopes, str) else scopes
        return Claims(found.iss, found.sub, tuple(scopes), int(found.exp))


class _Refused(Exception):
    """Raised when a token is not valid. The text goes to the log: it has nothing of the token."""


class _Header(BaseModel):
    """Addresses of keys and certificates, and keys in the token itself, are not looked at."""

    model_config = ConfigDict(strict=True, extra="ignore")

    alg: str
    kid: str | None = None


class _Payload(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    iss: str
    sub: Annotated[str, Field(min_length=1, max_length=LONGEST_SUBJECT)]
    aud: str | list[str]
    exp: _Time
    nbf: _Time | None = None
    iat: _Time | None = None
    scope: str | None = None
    scp: str | list[str] | None = None


@dataclass(frozen=True, repr=False)
class _Parts:
    """A token, taken apart; nothing of it is proven yet."""

    header: _Header
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def _parts(token: str) -> _Parts:
    if len(token) > LONGEST_TOKEN:
        raise _Refused("too long")
    if not _SIGNED.fullmatch(token):
        raise _Refused("not a signed token")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
        if "crit" in parts["header"]:
            raise _Refused("it asks for an extension of the standard")
        header = _Header.model_validate(parts["header"])
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _Refused("it cannot be read") from None
    if header.alg not in ALGORITHMS:
        raise _Refused("an algorithm that is not accepted")
    return _Parts(header, parts["payload"], token.rpartition(".")[0].encode(), parts["signature"])


def _signed(parts: _Parts, keys: tuple[Key, ...]) -> bool:
    """Whether the one key that fits made the signature; False where a newer key may have made it.

    Raises:
        _Refused: when the key that the token names did not make it.
    """
    kid, alg = parts.header.kid, parts.header.alg
    fitting = [key for key in keys if alg in key.algorithms and kid in (None, key.kid)]
    if len(fitting) != 1:
        return False
    # A key's algorithms are those of its own type and curve, whatever the token says.
    if _SIGNATURES.get_algorithm_by_name(alg).verify(parts.signed, fitting[0].public, parts.signature):
        return True
    if kid is not None:
        raise _Refused("the signature is wrong")
    return False
