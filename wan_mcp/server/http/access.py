"""Who calls: the owner of a request, as its credentials prove it."""

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from pydantic import PrivateAttr

from wan_mcp.errors import SettingsError
from wan_mcp.generation.owners import Owner


class Unavailable(Exception):
    """Raised when credentials cannot be checked now; the HTTP status is 503.

    Args:
        reason: why, for the caller; without anything secret.
        retry_after: seconds after which to try again.
    """

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class TooManyRequests(Exception):
    """Raised when a caller has made too many requests; the HTTP status is 429.

    Args:
        retry_after: seconds after which the next one is allowed.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too many requests; the next one is allowed in {retry_after:.1f} s.")
        self.retry_after = retry_after


class Caller(AccessToken):
    """A caller whose credentials were accepted. It does not hold them, so that no log can show them."""

    _owner: Owner = PrivateAttr()

    @classmethod
    def of(
        cls, owner: Owner, digest: str, scopes: tuple[str, ...] = (), expires_at: int | None = None
    ) -> "Caller":
        """A caller.

        Args:
            owner: whose tasks the caller may see.
            digest: what stands for the owner in logs.
            scopes: what the token allows.
            expires_at: when the token expires, in Unix seconds.
        """
        caller = cls(token="", client_id=digest, subject=digest, scopes=list(scopes), expires_at=expires_at)
        caller._owner = owner
        return caller

    @property
    def owner(self) -> Owner:
        return self._owner


def current_owner() -> Owner:
    """The owner whose request is being served.

    Raises:
        SettingsError: when no request is.
    """
    caller = get_access_token()
    if not isinstance(caller, Caller):
        raise SettingsError("The caller is not known.", next_step="Call with a key or a token.")
    return caller.owner
