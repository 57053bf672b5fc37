"""The tasks extension (SEP-2663) on ``wait_for_task``: a client that declares it waits without its model.

There is no store. The extension's task is Evolink's task, so a restarted server, or another one, can answer
for it too. ``generate_video`` stays an ordinary call: its task id has to reach the model.
"""

import math
from collections.abc import Sequence
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ClientCapabilities,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from wan_mcp.errors import NotFound, SettingsError, WanError
from wan_mcp.evolink import Task
from wan_mcp.evolink.values import iso
from wan_mcp.generation.last_reads import AFTER_FAILURE
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.reading import PATIENCE
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.generation.status import LINK_LIFE, PASSING, TaskSnapshot
from wan_mcp.server.arguments import TaskArguments, WaitArguments
from wan_mcp.server.results import task_result
from wan_mcp.server.text import error_text, last_read, progress_text
from wan_mcp.server.tool import failure
from wan_mcp.validation import parse, plain_schema

MIN_POLL_INTERVAL = 1.0
"""Seconds between two ``tasks/get`` of a client, at least."""

Context = ServerRequestContext[Services, Any]


class TaskParams(RequestParams):
    """The parameters of each method. No task asks for input, so ``inputResponses`` are not read."""

    task_id: str


class TaskExtension(Extension):
    """Answers ``wait_for_task`` with a task, and serves the methods by which a client follows it."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self._schema = plain_schema(WaitArguments)

    def methods(self) -> Sequence[MethodBinding]:
        versions = frozenset(MODERN_PROTOCOL_VERSIONS)
        handlers = {"tasks/get": self._get, "tasks/update": self._accept, "tasks/cancel": self._accept}
        return [MethodBinding(name, TaskParams, handler, versions) for name, handler in handlers.items()]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """Answer with a task while it is running; in all other cases, let the tool answer."""
        if params.name != "wait_for_task" or not self._is_declared(ctx):
            return await call_next(ctx)
        try:
            arguments = parse(params.name, WaitArguments, self._schema, params.arguments or {})
            if arguments.timeout_seconds == 0:
                return await call_next(ctx)
            patience = min(arguments.timeout_seconds or PATIENCE, PATIENCE)
            snapshot = await ctx.lifespan_context.current().current(arguments.task_id, patience)
        except WanError:  # the tool says what is wrong
            return await call_next(ctx)
        deployment = ctx.lifespan_context.runtime.deployment
        if _result(snapshot, deployment) is not None:
            return await call_next(ctx)
        return {"resultType": "task", **_state(snapshot, deployment)}

    def _is_declared(self, ctx: Context) -> bool:
        """Whether this request declares the extension; a client of the older protocol cannot."""
        wanted = ClientCapabilities(extensions={self.identifier: {}})
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        return is_modern and ctx.session.check_client_capability(wanted)

    async def _get(self, ctx: Context, params: TaskParams) -> HandlerResult:
        """The state of a task; once it is over, with the answer of ``wait_for_task``."""
        service = self._service(ctx, params)
        snapshot = await self._current(service, params.task_id)
        if snapshot.saved is None:
            snapshot = await service.saved_automatically(snapshot)
        return _state(snapshot, service.deployment, _result(snapshot, service.deployment))

    async def _accept(self, ctx: Context, params: TaskParams) -> HandlerResult:
        """Do nothing, for a task that exists: no task asks for input, and none can be cancelled."""
        await self._current(self._service(ctx, params), params.task_id)
        return {}

    async def _current(self, service: VideoService, task_id: str) -> TaskSnapshot:
        try:
            return await service.current(task_id)
        except NotFound as error:
            raise MCPError(INVALID_PARAMS, error_text(error, service.deployment)) from error
        except WanError as error:  # nothing is known about the task, so it may be running
            pending = Task(id=task_id, status="pending")
            return TaskSnapshot(pending, now=service.now(), read_error=error, next_read=AFTER_FAILURE)

    def _service(self, ctx: Context, params: TaskParams) -> VideoService:
        """The caller's service.

        Raises:
            MCPError: when the caller may not ask, or the id is malformed.
        """
        require_client_extension(ctx, self.identifier)
        headers = getattr(ctx.request, "headers", None)  # stdio has none
        if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != params.task_id:
            raise MCPError(HEADER_MISMATCH, f"The {MCP_NAME_HEADER} header differs from taskId.")
        try:
            TaskArguments(task_id=params.task_id)
            return ctx.lifespan_context.current()
        except ValidationError as error:
            raise MCPError(INVALID_PARAMS, "taskId is not an Evolink task id.") from error
        except SettingsError as error:
            deployment = ctx.lifespan_context.runtime.deployment
            raise MCPError(INTERNAL_ERROR, error_text(error, deployment)) from error


def _result(snapshot: TaskSnapshot, deployment: Deployment) -> CallToolResult | None:
    """The answer of ``wait_for_task``; None while the task may be running."""
    if snapshot.task.is_over or snapshot.is_forgotten:
        return task_result(snapshot, deployment)
    error = snapshot.read_error
    return None if error is None or isinstance(error, PASSING) else failure(error, deployment)


def _state(
    snapshot: TaskSnapshot, deployment: Deployment, result: CallToolResult | None = None
) -> dict[str, Any]:
    """A task in the extension's form: completed with ``result``, or working."""
    now = iso(snapshot.now)
    known_at, asked_at = (
        (snapshot.entry.known_at, snapshot.entry.asked_at) if snapshot.entry else (None, None)
    )
    state = {
        "taskId": snapshot.task.id,
        "status": "working" if result is None else "completed",
        "statusMessage": ". ".join(
            filter(None, [progress_text(snapshot), " ".join(last_read(snapshot, deployment))])
        ),
        "createdAt": iso(snapshot.task.created) or iso(asked_at) or now,
        "lastUpdatedAt": iso(known_at) or now,
        "ttlMs": round(LINK_LIFE * 1000),
    }
    if result is not None:
        return state | {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return state | {"pollIntervalMs": math.ceil(max(snapshot.next_read or 0.0, MIN_POLL_INTERVAL) * 1000)}
