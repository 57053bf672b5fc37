"""A client library for the Evolink video API; usable by itself."""

from wan_mcp.evolink.client import Accepted, Evolink
from wan_mcp.evolink.connection import Connections
from wan_mcp.evolink.requests import MODEL, PROMPT_MAX, VideoRequest
from wan_mcp.evolink.responses import Credits, Listing, Task, TaskError, Upload
from wan_mcp.evolink.values import Status

__all__ = [
    "MODEL",
    "PROMPT_MAX",
    "Accepted",
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
