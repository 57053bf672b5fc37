"""The use cases: request a video, follow its task, keep the result. Free of MCP."""
