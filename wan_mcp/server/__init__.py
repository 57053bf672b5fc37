"""The MCP side: tools, what a model reads, resources and prompts."""
