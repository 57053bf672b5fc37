"""How long a call may take, by the client that makes it."""

from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import Context

from wan_mcp.settings import Settings


@dataclass(frozen=True)
class Patience:
    """Seconds that a wait takes by default, and at most."""

    default: float
    most: float


UNKNOWN = Patience(45, 50)
"""Many clients end a call after 60 seconds."""

KNOWN: dict[str, Patience] = {
    # Over stdio a call may be silent for 30 minutes, but goes to the background after 120 seconds.
    "claude-code": Patience(100, 110),
    # A call ends after 300 seconds (tool_timeout_sec), whatever is reported in between.
    "codex-mcp-client": Patience(120, 240),
    # A call ends after 10 minutes.
    "gemini-cli-mcp-client": Patience(120, 300),
    # No limit.
    "visual studio code": Patience(120, 300),
}
"""By the name that a client gives itself, in lower case, without what follows a slash or a bracket."""


def patience(context: Context[Any], settings: Settings) -> Patience:
    """What suits the calling client; the settings override it."""
    fitting = KNOWN.get(_name(context), UNKNOWN)
    most = settings.max_wait_seconds if settings.max_wait_seconds is not None else fitting.most
    default = settings.wait_seconds if settings.wait_seconds is not None else min(fitting.default, most)
    return Patience(default, most)


def _name(context: Context[Any]) -> str:
    parameters = context.request_context.session.client_params
    name = parameters.client_info.name if parameters is not None else ""
    return name.lower().partition("/")[0].partition("(")[0].strip()
