"""What a client may read of an error: on a hosted server, nothing of its machine and its settings."""

import logging
import re

from wan_mcp.errors import (
    DiskError,
    InternalError,
    LedgerError,
    NoPoster,
    SettingsError,
    TakenOver,
    Unauthorized,
    WanError,
)
from wan_mcp.evolink.http_errors import CHECK_KEY, KEYS
from wan_mcp.generation.owners import Deployment

logger = logging.getLogger(__name__)

OPERATOR = "tell whoever runs this server"
ASK_LATER = f"Try again in a minute; if it stays so, {OPERATOR}."
CHECK_SENT_KEY = (
    f"Check the Evolink key that the client sends in Authorization or X-API-Key; keys are at {KEYS}."
)
_SAID: tuple[tuple[type[WanError], str, str], ...] = (
    (LedgerError, "The server's ledger cannot be used now.", ASK_LATER),
    (DiskError, "The server's disk cannot be used now.", ASK_LATER),
    (SettingsError, "The server is not set up for this call.", ASK_LATER),
    (InternalError, "The server itself failed.", f"Try once more; if it fails again, {OPERATOR}."),
    (NoPoster, "No poster of this task's picture is kept for you.", ""),
)
"""What is said of the errors whose own words name files, folders, commands or the log."""
_OF_THE_OPERATOR = re.compile(r"EVOLINK_|WAN_MCP_|HTTPS?_PROXY|\bRun \S|wan-mcp|this machine")
"""Advice that only the person who runs the server can follow."""


def told(error: WanError, deployment: Deployment) -> tuple[str, str]:
    """The message and the next step of an error, as a client may read them. The log has the whole text."""
    if deployment.local:
        return error.message, error.next_step
    if not isinstance(error, TakenOver):
        for kind, message, next_step in _SAID:
            if isinstance(error, kind):
                logger.warning("not told to the caller: %s %s", error.message, error.next_step)
                return message, next_step
    if isinstance(error, Unauthorized):
        return _of_the_key(error, deployment)
    message, next_step, cause = error.message, error.next_step, error.__cause__
    if isinstance(cause, WanError):  # this error quotes it
        quoted, advice = told(cause, deployment)
        message = message.replace(cause.message, quoted)
        next_step = advice if next_step == cause.next_step else next_step
    return message, ASK_LATER if _OF_THE_OPERATOR.search(next_step) else next_step


def _of_the_key(error: Unauthorized, deployment: Deployment) -> tuple[str, str]:
    if deployment.operator_pays:
        return "Evolink refused the server's own key.", f"{OPERATOR.capitalize()}."
    return error.message, CHECK_SENT_KEY if error.next_step == CHECK_KEY else error.next_step
