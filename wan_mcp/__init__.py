"""wan-mcp: a picture and a sentence become a video, for an agent in a conversation."""

__version__ = "0.1.0"
