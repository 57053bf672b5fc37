"""Signed addresses of this server: whoever has one may do one thing, until it expires."""

import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import jwt
from pydantic import SecretStr

from wan_mcp.errors import MAKE_DATA_FOLDER_WRITABLE, SettingsError, reason_of
from wan_mcp.settings import key_file

FILE_NAME = "secret"
SIZE = 32
"""Bytes of a secret at least."""
_ALGORITHM = "HS256"

Purpose = Literal["videos", "uploads"]
"""The first part of an address's path: a token for one purpose is worth nothing for another."""


class LinkError(Exception):
    """Raised when a signed address cannot be used; ``expired`` tells whether it was a good one once."""

    def __init__(self, *, expired: bool) -> None:
        super().__init__("expired" if expired else "not a signed address of this server")
        self.expired = expired


class Links:
    """Makes and reads signed addresses.

    Args:
        secret: what they are signed with.
        address: the server's, as callers know it, without a slash at its end.
        clock: the time, in Unix seconds.
    """

    def __init__(self, secret: SecretStr, address: str, clock: Callable[[], float]) -> None:
        self._secret = secret
        self.address = address
        self._clock = clock

    def sign(self, purpose: Purpose, key: str, expires_at: float, **claims: Any) -> str:
        """An address for an object.

        Args:
            purpose: what it is for.
            key: the object.
            expires_at: Unix seconds.
            claims: what else the address is to tell; whoever has it can read this.
        """
        payload = {"aud": purpose, "sub": key, "exp": int(expires_at), **claims}
        token = jwt.encode(payload, self._key(purpose), _ALGORITHM)
        return f"{self.address}/{purpose}/{quote(token, safe='')}"

    def read(self, purpose: Purpose, token: str) -> dict[str, Any]:
        """What an address was made for: ``sub`` is the object's key.

        Raises:
            LinkError: when it was not made by this server, was changed, or has expired.
        """
        try:
            # The clock is the server's own: the library would read the machine's.
            claims = jwt.decode(
                token,
                self._key(purpose),
                [_ALGORITHM],
                audience=purpose,
                options={"require": ["aud", "sub", "exp"], "verify_exp": False},
            )
        except (jwt.InvalidTokenError, RecursionError):  # the latter: JSON that is nested very deeply
            raise LinkError(expired=False) from None
        if claims["exp"] <= self._clock():
            raise LinkError(expired=True)
        return claims

    def _key(self, purpose: Purpose) -> bytes:
        return hmac.digest(self._secret.get_secret_value().encode(), purpose.encode(), "sha256")


def kept_secret(folder: Path) -> SecretStr:
    """The secret of a single process: made at its first start, and kept in a file for its user alone.

    Args:
        folder: the data folder.

    Raises:
        SettingsError: when it can neither be read nor made.
    """
    path = folder / FILE_NAME
    try:
        with suppress(FileNotFoundError):
            kept = path.read_text("ascii").strip()
            if len(kept) >= SIZE:
                return SecretStr(kept)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = secrets.token_urlsafe(SIZE)
        key_file.replace(path, made.encode(), mode=0o600)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not a text"
        raise SettingsError(
            f"The secret for links cannot be kept in {path}: {reason}.",
            next_step=f"{MAKE_DATA_FOLDER_WRITABLE} Or set WAN_MCP_SECRET.",
        ) from error
    return SecretStr(made)
