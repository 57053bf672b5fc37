"""The lines of stdin. The SDK drops a request that it cannot read; here, such a request gets an answer."""

import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest
from pydantic_core import ValidationError, from_json

from wan_mcp.server.text import NOT_SENT

logger = logging.getLogger(__name__)

MAX_DIGITS = 20
"""Digits of a number at most, in a message that the SDK cannot read: enough for an id."""
NO_JSON = f"The message is not JSON. {NOT_SENT}"
NO_REQUEST = f"The message is not a valid JSON-RPC request. {NOT_SENT}"
HALF_CHARACTER = (
    f"A text in the message contains half of a character, such as an emoji that was cut in two. {NOT_SENT} "
    "Remove it, and call again."
)
UNREADABLE = f"The message has a number with too many digits, or is nested too deeply. {NOT_SENT}"


class Lines(anyio.AsyncFile[str]):
    """The lines of stdin that the SDK can read; the others are answered here, through the SDK's stream."""

    def __init__(self) -> None:
        # A second descriptor, which is never closed: at the end a thread may still be reading from it.
        stdin = os.dup(sys.stdin.fileno())
        super().__init__(os.fdopen(stdin, encoding="utf-8", errors="replace", closefd=False))
        self.answers: Any = None
        """Where messages to the client go; set before the first line is read."""

    async def __aiter__(self) -> AsyncIterator[str]:
        # A server that ends does not wait for the client's next line.
        while line := await anyio.to_thread.run_sync(self.wrapped.readline, abandon_on_cancel=True):
            problem = refusal(line)
            if problem is None:
                yield line
                continue
            logger.info("a line of stdin is refused: %s", problem.error.message)
            with suppress(anyio.BrokenResourceError):
                await self.answers.send(SessionMessage(problem))


def refusal(line: str) -> JSONRPCError | None:
    """The answer to a line that the SDK cannot read; None where it can, or where no answer is expected."""
    if not line.strip():
        return None
    try:
        message = from_json(line)
    except ValueError:
        return _unreadable(line)
    return _invalid(message)


def _unreadable(line: str) -> JSONRPCError | None:
    """The answer to a line that the SDK's parser refuses; Python's own parser can often still read its id."""
    try:
        message = json.loads(
            line, parse_int=lambda digits: int(digits) if len(digits) <= MAX_DIGITS else None
        )
    except (ValueError, RecursionError):
        return _error(None, PARSE_ERROR, NO_JSON)
    if isinstance(message, dict) and ("id" not in message or "method" not in message):
        return None  # a notification, or the answer to a request of ours
    try:
        json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return _error(_id(message), INVALID_REQUEST, HALF_CHARACTER)
    return _error(_id(message), INVALID_REQUEST, UNREADABLE)


def _invalid(message: Any) -> JSONRPCError | None:
    if isinstance(message, dict):
        if "method" in message and "id" not in message:
            return None
        if "method" not in message and ("result" in message or "error" in message):
            return None
    try:
        JSONRPCRequest.model_validate(message)
    except ValidationError:
        return _error(_id(message), INVALID_REQUEST, NO_REQUEST)
    return None


def _id(message: Any) -> int | str | None:
    """The id of a message; None where there is none that an answer can repeat."""
    found = message.get("id") if isinstance(message, dict) else None
    if isinstance(found, str):
        return found if found.encode(errors="ignore").decode() == found else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _error(request_id: int | str | None, code: int, text: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=text))
