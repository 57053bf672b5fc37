"""Turns the credentials of a request into its caller, in each of the two modes."""

import hashlib
import json
import logging
import secrets
from abc import abstractmethod

import anyio
from mcp.server.auth.provider import TokenVerifier

from wan_mcp.errors import LedgerError
from wan_mcp.generation.owners import Owner
from wan_mcp.generation.services import Services
from wan_mcp.server.http.access import Caller, Unavailable
from wan_mcp.server.http.keys import Keys
from wan_mcp.server.http.limits import OF_AN_OWNER, RateLimits
from wan_mcp.server.http.oauth import Tokens

logger = logging.getLogger(__name__)

RETRY_AFTER = 5.0
"""Seconds after which another process may serve what this one could not begin."""


class Callers(TokenVerifier):
    """Tells who calls: what both modes share. ``services`` is set when the server starts."""

    services: Services

    def __init__(self) -> None:
        self._limits = RateLimits(OF_AN_OWNER)
        self._checks: set[anyio.CancelScope] = set()
        """Those under way."""

    async def verify_token(self, token: str) -> Caller | None:
        """Who calls with this credential; None where it is not a valid one.

        Raises:
            Unavailable: when that cannot be told now.
            TooManyRequests: when the caller has made too many requests.
        """
        with anyio.CancelScope() as check:
            self._checks.add(check)
            try:
                return await self._caller(token)
            finally:
                self._checks.discard(check)
        raise Unavailable("The server is about to stop.", RETRY_AFTER)

    @abstractmethod
    async def _caller(self, token: str) -> Caller | None: ...

    def end_checks(self) -> None:
        """End the checks that are under way: the server stops, and who is asked may not answer in time."""
        for check in self._checks:
            check.cancel()

    def admitted(
        self, owner: Owner, digest: str, scopes: tuple[str, ...] = (), expires_at: int | None = None
    ) -> Caller:
        """The caller, if it has not made too many requests.

        Raises:
            TooManyRequests: when it has.
        """
        self._limits.take(digest)
        return Caller.of(owner, digest, scopes, expires_at)

    async def aclose(self) -> None:
        """Close what was opened."""

    async def _digest(self, identity: str) -> str:
        """The ledger's digest of an owner.

        Raises:
            LedgerError: when the ledger cannot be read.
        """
        runtime = self.services.runtime
        return await runtime.ledger.digest(runtime.settings.gateway, identity)


class KeyCallers(Callers):
    """Callers who bring an Evolink key of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()
        self._salt = secrets.token_bytes(32)

    async def _caller(self, token: str) -> Caller | None:
        key = await self.keys.accepts(token, self.services.runtime)
        if key is None:
            return None
        secret = key.get_secret_value()
        try:
            digest = await self._digest(secret)
        except LedgerError:  # it only stands for the key in logs and limits
            digest = hashlib.blake2b(secret.encode(), key=self._salt, digest_size=16).hexdigest()
        return self.admitted(Owner(key), digest)


class TokenCallers(Callers):
    """Callers who bring a token of the operator's issuer; the operator's key pays for them.

    Args:
        tokens: checks the tokens.
    """

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    async def _caller(self, token: str) -> Caller | None:
        claims = await self._tokens.claims(token)
        if claims is None:
            return None
        key = self.services.runtime.settings.require_key()
        try:
            # No key, which tells owners apart in the other mode, begins with a line break.
            digest = await self._digest("\n" + json.dumps([claims.issuer, claims.subject]))
        except LedgerError as error:
            logger.warning("the ledger cannot tell owners apart: %s %s", error.message, error.next_step)
            raise Unavailable("The server's ledger cannot be read now.", RETRY_AFTER) from error
        return self.admitted(Owner(key, digest), digest, claims.scopes, claims.expires_at)

    def end_checks(self) -> None:
        self._tokens.end_reading()  # first: it is shielded against the callers that leave
        super().end_checks()

    async def aclose(self) -> None:
        await self._tokens.aclose()
