"""The server over Streamable HTTP, for many callers."""
