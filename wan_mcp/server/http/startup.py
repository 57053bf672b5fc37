"""When a hosted server must not start: where a stranger could spend the operator's money, or read a key."""

from importlib.util import find_spec
from urllib.parse import urlsplit

from wan_mcp.errors import INSTALL_HTTP, LedgerError, SettingsError
from wan_mcp.ledger.opening import opened
from wan_mcp.net.addresses import is_this_machine
from wan_mcp.settings import KEY_NOT_SET, Settings

_OAUTH = {
    "oauth_issuer": "WAN_MCP_OAUTH_ISSUER, the issuer of the tokens",
    "oauth_audience": "WAN_MCP_OAUTH_AUDIENCE, for whom they are",
    "oauth_scope": "WAN_MCP_OAUTH_SCOPE, what they must allow",
    "api_key": "EVOLINK_API_KEY, which pays for all callers",
    "total_daily_credits": "WAN_MCP_TOTAL_DAILY_CREDITS, what all callers together may spend in a day",
}


def require_packages() -> None:
    """Make sure that the packages are installed that only a hosted server needs.

    Raises:
        SettingsError: when one is not.
    """
    if find_spec("obstore") is None:
        raise SettingsError(
            "wan-mcp http needs a package that is not installed: obstore.",
            next_step=INSTALL_HTTP,
        )


def check(settings: Settings, host: str) -> None:
    """Make sure that a server with these settings may serve at this address of the machine.

    Raises:
        SettingsError: when it may not, with each reason.
    """
    problems = _problems_with_keys(settings) if settings.auth == "key" else _problems_with_oauth(settings)
    if not is_this_machine(host):
        problems += _problems_beyond_loopback(settings, host)
    if settings.database_url is not None:
        problems += _problems_with_replicas(settings)
    if problems:
        raise SettingsError("The server does not start. " + " ".join(problems))


async def try_ledger(settings: Settings) -> None:
    """Make sure that the database can be used, and that no other server with it has another secret.

    Raises:
        SettingsError: when it cannot, or one has.
    """
    ledger = opened(settings, is_hosted=True, has_jobs=settings.auth == "oauth" and settings.autosave)
    try:
        await ledger.open()
    except LedgerError as error:
        raise SettingsError(f"The server does not start. {error.message} {error.next_step}") from error
    finally:
        await ledger.aclose()


def _problems_with_replicas(settings: Settings) -> list[str]:
    problems = []
    if settings.secret is None:
        problems.append("WAN_MCP_DATABASE_URL also needs WAN_MCP_SECRET, the same for all servers with it.")
    if settings.storage_url is None:
        problems.append(
            "WAN_MCP_DATABASE_URL also needs WAN_MCP_STORAGE_URL, a place that all servers with it share."
        )
    return problems


def _problems_with_keys(settings: Settings) -> list[str]:
    # A key that setup keeps, or what is wrong with it, does not matter: no key of this machine is used.
    problems = [problem for problem in settings.problems if not problem.startswith(KEY_NOT_SET)]
    if settings.api_key is None or settings.key_is_kept:
        return problems
    return [
        *problems,
        "EVOLINK_API_KEY is set, but with WAN_MCP_AUTH=key each caller sends a key, and yours must not be "
        "spent by a stranger: unset it, or use WAN_MCP_AUTH=oauth.",
    ]


def _problems_with_oauth(settings: Settings) -> list[str]:
    named = {problem.split()[0] for problem in settings.problems}  # these are set, but cannot be used
    missing = [
        text
        for name, text in _OAUTH.items()
        if getattr(settings, name) is None and text.partition(",")[0] not in named
    ]
    return [
        *settings.problems,
        *([f"WAN_MCP_AUTH=oauth also needs {'; '.join(missing)}."] if missing else []),
    ]


def _problems_beyond_loopback(settings: Settings, host: str) -> list[str]:
    problems = []
    if settings.public_url is None or urlsplit(settings.public_url).scheme != "https":
        problems.append(
            f"At {host}, other machines can reach the server, and keys must be sent encrypted: set "
            "WAN_MCP_PUBLIC_URL to the https:// address of the proxy in front of it, or serve at 127.0.0.1."
        )
    if settings.allow_private_network:
        problems.append(
            "WAN_MCP_ALLOW_PRIVATE_NETWORK=1 would let callers read this network: unset it, or serve at "
            "127.0.0.1."
        )
    return problems
