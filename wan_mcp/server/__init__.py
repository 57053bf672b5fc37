"""The MCP side: tools, the words that a model reads, strict arguments."""

from wan_mcp.server.app import create_server

__all__ = ["create_server"]
