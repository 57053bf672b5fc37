"""The ledger in one SQLite file, which the server processes of several clients share."""

from pathlib import Path

import anyio.to_thread

from wan_mcp.ledger.lease import Lease
from wan_mcp.ledger.sql.ledger import SqlLedger
from wan_mcp.ledger.sqlite.database import FileDatabase

FILE_NAME = "ledger.sqlite3"
LOCKS = "locks"
"""The folder of the locks of the processes that work on its rows."""


class SqliteLedger(SqlLedger):
    """The ledger of all owners; see ``Ledger`` for what its methods do.

    Args:
        folder: where the file lives.
    """

    def __init__(self, folder: Path) -> None:
        self._lease = Lease(folder / LOCKS)
        self._file = FileDatabase(folder / FILE_NAME, self._lease)
        super().__init__(self._file)

    async def aclose(self) -> None:
        await self._file.aclose()
        await anyio.to_thread.run_sync(self._lease.close)
