"""The use cases, without MCP: request a video, follow its task, keep the result."""
