"""How long a call may take, by the time-out of the client that makes it."""

from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import Context

from wan_mcp.settings import Settings


@dataclass(frozen=True)
class WaitLimits:
    """Seconds that one wait takes by default, and at most."""

    default: float
    longest: float


UNKNOWN = WaitLimits(45, 50)
"""Many clients end a call after 60 seconds."""

KNOWN: dict[str, WaitLimits] = {
    # Over stdio a call may be silent for 30 minutes, but goes to the background after 120 seconds.
    "claude-code": WaitLimits(100, 110),
    # A call ends after 300 seconds (tool_timeout_sec), whatever is reported in between.
    "codex-mcp-client": WaitLimits(120, 240),
    # A call ends after 10 minutes.
    "gemini-cli-mcp-client": WaitLimits(120, 300),
    # No limit.
    "visual studio code": WaitLimits(120, 300),
}
"""By the name that a client gives for itself, in lower case, without what follows a slash or a bracket."""


def wait_limits(context: Context[Any], settings: Settings) -> WaitLimits:
    """The limits that suit the calling client; the settings override them."""
    limits = KNOWN.get(_name(context), UNKNOWN)
    longest = settings.max_wait_seconds if settings.max_wait_seconds is not None else limits.longest
    default = settings.wait_seconds if settings.wait_seconds is not None else min(limits.default, longest)
    return WaitLimits(default, longest)


def patience(context: Context[Any], settings: Settings) -> float:
    """Seconds within which any other call is answered, even if its work goes on."""
    limits = KNOWN.get(_name(context), UNKNOWN)
    return min(limits.default, settings.max_wait_seconds or limits.default)


def _name(context: Context[Any]) -> str:
    parameters = context.request_context.session.client_params
    name = parameters.client_info.name if parameters is not None else ""
    return name.lower().partition("/")[0].partition("(")[0].strip()
