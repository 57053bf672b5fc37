"""Logging to stderr, without the lines of libraries that would show keys or signed addresses."""

import logging

TALKATIVE = ("httpx2", "httpcore2", "mcp", "PIL", "sse_starlette")
"""Libraries that log whole addresses, headers or messages below WARNING."""


def configure(level: str, handler: logging.Handler | None = None) -> None:
    """Log from ``level`` on, by default to stderr: stdout belongs to the protocol."""
    handlers = None if handler is None else [handler]
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=text, handlers=handlers, force=True)
    quieten()


def quieten() -> None:
    """Keep the libraries' lines below WARNING out of every log."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
