"""A client library for the Evolink video API; usable by itself."""

from wan_mcp.evolink.client import Accepted, Evolink
from wan_mcp.evolink.connection import Connections
from wan_mcp.evolink.requests import (
    IMAGE_MODEL,
    MODELS,
    PROMPT_MAX,
    TEXT_MODEL,
    ImageToVideoRequest,
    TextToVideoRequest,
    VideoRequest,
)
from wan_mcp.evolink.responses import Credits, Listing, Task, TaskError, Upload
from wan_mcp.evolink.values import Status

__all__ = [
    "IMAGE_MODEL",
    "MODELS",
    "PROMPT_MAX",
    "TEXT_MODEL",
    "Accepted",
    "Connections",
    "Credits",
    "Evolink",
    "ImageToVideoRequest",
    "Listing",
    "Status",
    "Task",
    "TaskError",
    "TextToVideoRequest",
    "Upload",
    "VideoRequest",
]
