"""A client library for the Evolink video API; usable by itself."""

from wan_mcp.evolink.answers import Credits, Listing, Status, Task, TaskError, Upload
from wan_mcp.evolink.client import Evolink
from wan_mcp.evolink.models import MODEL, PROMPT_MAX, VideoRequest

__all__ = [
    "MODEL",
    "PROMPT_MAX",
    "Credits",
    "Evolink",
    "Listing",
    "Status",
    "Task",
    "TaskError",
    "Upload",
    "VideoRequest",
]
