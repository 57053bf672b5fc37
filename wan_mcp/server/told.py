"""What a client may read of an error: on a hosted server, nothing of its machine and its settings.

What Evolink refused was reworded before, in ``generation.hosted_api``.
"""

import logging

from wan_mcp.errors import (
    DecoderMissing,
    DiskError,
    InternalError,
    LedgerError,
    NoPoster,
    SettingsError,
    StorageError,
    TakenOver,
    WanError,
)
from wan_mcp.generation.hosted_api import ASK_LATER, OPERATOR
from wan_mcp.generation.owners import Deployment
from wan_mcp.images.unsupported import SAVE_AGAIN

logger = logging.getLogger(__name__)

MEANWHILE = f"{ASK_LATER} Meanwhile, get_task gives Evolink's link, while that works."
_SAID: tuple[tuple[type[WanError], str, str], ...] = (
    (LedgerError, "The server's ledger cannot be used now.", ASK_LATER),
    (DiskError, "The server's disk cannot be used now.", ASK_LATER),
    (StorageError, "The server's storage cannot be used now.", MEANWHILE),
    (SettingsError, "The server is not set up for this call.", ASK_LATER),
    (InternalError, "The server itself failed.", f"Try once more; if it fails again, {OPERATOR}."),
    (NoPoster, "No poster of this task's picture is kept for you.", ""),
)
"""What is said of the errors whose own words name files, folders, commands or the log."""


def told(error: WanError, deployment: Deployment) -> tuple[str, str]:
    """The message and the next step of an error, as a client may read them. The log has the whole text."""
    if deployment.local:
        return error.message, error.next_step
    if not isinstance(error, TakenOver):
        for kind, message, next_step in _SAID:
            if isinstance(error, kind):
                if not isinstance(error, StorageError):  # the storage logs its failures, each of them once
                    logger.warning("not told to the caller: %s %s", error.message, error.next_step)
                return message, next_step
    if isinstance(error, DecoderMissing):
        return error.message, SAVE_AGAIN
    message, next_step, cause = error.message, error.next_step, error.__cause__
    if isinstance(cause, WanError):  # this error quotes it
        quoted, advice = told(cause, deployment)
        message = message.replace(cause.message, quoted)
        next_step = advice if next_step == cause.next_step else next_step
    return message, next_step
