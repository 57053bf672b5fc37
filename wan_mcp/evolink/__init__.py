"""A client library for the Evolink video API; usable by itself."""

from wan_mcp.evolink.client import PAUSE_BEFORE_SEARCH, REPEAT_SAFELY, Evolink
from wan_mcp.evolink.connection import Connections
from wan_mcp.evolink.requests import MODEL, PROMPT_MAX, VideoRequest
from wan_mcp.evolink.responses import Credits, Listing, Task, TaskError, Upload
from wan_mcp.evolink.values import Status

__all__ = [
    "MODEL",
    "PAUSE_BEFORE_SEARCH",
    "PROMPT_MAX",
    "REPEAT_SAFELY",
    "Connections",
    "Credits",
    "Evolink",
    "Listing",
    "Status",
    "Task",
    "TaskError",
    "Upload",
    "VideoRequest",
]
