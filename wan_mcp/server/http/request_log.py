"""The log of a hosted server on stderr: one JSON object a line, and one line a request.

A request's line has nothing in it that a caller chose, except for the names of methods and tools that exist.
"""

import json
import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types.methods import SPEC_CLIENT_METHODS, SPEC_CLIENT_NOTIFICATION_METHODS
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp import logs
from wan_mcp.server.http.gate import PROBES, path_of

logger = logging.getLogger("wan_mcp.requests")

MAX_MESSAGE = 4_000
"""Characters of a message, and of a traceback, that are logged at most."""
HTTP_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
TASK_METHODS = frozenset(("tasks/get", "tasks/update", "tasks/cancel"))
METHODS = SPEC_CLIENT_METHODS | SPEC_CLIENT_NOTIFICATION_METHODS | TASK_METHODS
CLIENT_GONE = 499
"""The status of a request whose caller was gone before it had the whole answer."""
_KEY = "wan_mcp.record"
_TRACES = TraceContextTextMapPropagator()


@dataclass
class Record:
    """What the line of one request says, as far as it is known."""

    method: str | None = None
    """Of JSON-RPC."""
    tool: str | None = None
    trace_id: str = ""


def record_of(scope: Scope) -> Record:
    """The record of the request that is served."""
    record: Record = scope.setdefault("state", {}).setdefault(_KEY, Record())
    return record


class RequestLog:
    """ASGI middleware that logs each HTTP request when its answer ends, except for probes that succeed.

    Args:
        app: what it wraps; this should be everything else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status: int | None = None
        ended = gone = False

        async def received() -> Message:
            nonlocal gone
            message = await receive()
            if message["type"] == "http.disconnect" and not ended:
                gone = True
            return message

        async def sent(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        span = _caller_span(Headers(scope=scope)) or trace.get_current_span()
        known = span.get_span_context()
        trace_id = trace.format_trace_id(known.trace_id) if known.is_valid else secrets.token_hex(16)
        record = scope.setdefault("state", {})[_KEY] = Record(trace_id=trace_id)
        token = context.attach(trace.set_span_in_context(span))  # spans of this request have its trace id
        try:
            await self._app(scope, received, sent)
        finally:
            context.detach(token)
            if not ended:
                status = 500
            if gone:
                status = CLIENT_GONE
            _write(scope, record, status, time.perf_counter() - began)


class NoteCall:
    """Middleware of the MCP server that notes in the request's record which method and tool are called.

    Args:
        tools: the names of the server's tools. No other name is logged: a caller can choose any text.
    """

    def __init__(self, tools: Iterable[str]) -> None:
        self._tools = frozenset(tools)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if isinstance(ctx.request, Request):
            record = record_of(ctx.request.scope)
            record.method = ctx.method if ctx.method in METHODS else None
            name = ctx.params.get("name") if ctx.params and ctx.method == "tools/call" else None
            record.tool = name if isinstance(name, str) and name in self._tools else None
            span = trace.get_current_span()
            if span.is_recording():  # that of the SDK, which knows the caller's trace from _meta, too
                record.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        return await call_next(ctx)


def _caller_span(headers: Headers) -> trace.Span | None:
    """The caller's span, if the request names one.

    The header tracestate is not used: where it is invalid, OpenTelemetry logs its text.
    """
    given = headers.getlist("traceparent")
    if len(given) != 1:
        return None
    span = trace.get_current_span(_TRACES.extract({"traceparent": given[0]}))
    return span if span.get_span_context().is_valid else None


def _write(scope: Scope, record: Record, status: int | None, seconds: float) -> None:
    if path_of(scope) in PROBES and status is not None and status < 400:
        return
    user = scope.get("user")
    http_method = scope["method"] if scope["method"] in HTTP_METHODS else None
    fields = {
        "method": record.method or http_method,
        "tool": record.tool,
        "owner": user.username if isinstance(user, AuthenticatedUser) else None,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "trace_id": record.trace_id,
    }
    logger.info("request", extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats each record as one line of ASCII, so that no text can begin another line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback is one of its fields."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong call of a library: logging itself would print all its arguments
            message = str(record.msg)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message[:MAX_MESSAGE],
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-MAX_MESSAGE:]
        return json.dumps(line | getattr(record, "fields", {}))


def configure(level: str, stream: TextIO | None = None) -> None:
    """Log in JSON, by default to stderr: the requests, and whatever else from ``level`` on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logs.configure(level, handler)
    logging.captureWarnings(True)
    logger.setLevel(logging.INFO)
