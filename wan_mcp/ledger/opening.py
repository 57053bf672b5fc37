"""Which ledger the settings name: a file of this machine, or a database of several."""

from wan_mcp.errors import SettingsError
from wan_mcp.ledger.base import Ledger
from wan_mcp.settings import Settings


def opened(settings: Settings, *, is_hosted: bool = False, has_jobs: bool = False) -> Ledger:
    """The ledger; nothing is opened before it is needed, and nothing loaded that it does not need.

    Args:
        settings: as loaded.
        is_hosted: whether this is a server for many callers, with links that the secret signs.
        has_jobs: whether jobs of the database follow the tasks.

    Raises:
        SettingsError: when the settings name a database that cannot be used.
    """
    for problem in settings.problems:
        if problem.startswith("WAN_MCP_DATABASE_URL"):  # another ledger must not stand in
            raise SettingsError(problem)
    if settings.database_url is None:
        from wan_mcp.ledger.sqlite.store import SqliteLedger

        return SqliteLedger(settings.data_dir)
    from wan_mcp.ledger.postgres.store import PostgresLedger

    return PostgresLedger(
        settings.database_url,
        secret=settings.secret if is_hosted else None,
        follows_at=settings.gateway if has_jobs else None,
    )
