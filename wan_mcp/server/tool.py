"""A tool with strict arguments, whose errors tell the model what to do."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, PrivateAttr

from wan_mcp.errors import Charged, InternalError, WanError
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.services import Services
from wan_mcp.server.text import error_text
from wan_mcp.validation import parse, plain_schema

logger = logging.getLogger(__name__)

Handler = Callable[[Any, Any, Context[Any]], Awaitable[CallToolResult]]
"""``async (service, arguments, context) -> result``."""


@dataclass(frozen=True)
class Definition:
    """One tool, as ``tools`` defines it."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    answer: type[BaseModel] | None
    """The model of its structured content; None where it has none."""
    annotations: ToolAnnotations
    handler: Handler
    meta: dict[str, Any] | None = None
    """The tool's ``_meta``: for hosts, not for models."""
    hidden: frozenset[str] = frozenset()
    """Names in the model of its structured content that no answer of this server has."""


class StrictTool(Tool):
    """Replaces what the SDK does between a call and its handler.

    The SDK drops unknown arguments, turns ``"1"`` into 1, and shows the model pydantic's text with the
    values in it. None of that is acceptable for a call that costs money.
    """

    _arguments: type[BaseModel] = PrivateAttr()

    @classmethod
    def build(cls, definition: Definition) -> "StrictTool":
        schema = _without(plain_schema(definition.answer), definition.hidden) if definition.answer else None
        tool = cls(
            fn=definition.handler,
            name=definition.name,
            title=definition.title,
            description=definition.description,
            parameters=plain_schema(definition.arguments) | {"additionalProperties": False},
            fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=schema),
            is_async=True,
            context_kwarg=None,
            annotations=definition.annotations,
            meta=definition.meta,
        )
        tool._arguments = definition.arguments
        return tool

    async def run(
        self, arguments_given: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult:
        """Check the arguments, call the handler, and turn every error into a text for the model."""
        services: Services = context.request_context.lifespan_context
        deployment = services.runtime.deployment
        try:
            parsed = parse(self.name, self._arguments, self.parameters, arguments_given)
            result: CallToolResult = await self.fn(services.current(), parsed, context)
            return result
        except WanError as error:
            logger.info("%s: %s", self.name, error)
            return failure(error, deployment)
        except MCPError:
            raise
        except Exception:
            logger.exception("%s failed unexpectedly", self.name)
            reads = self.annotations is not None and self.annotations.read_only_hint
            advice = "Try once more; if it fails again, report it with the log."
            charged: Charged = "no" if reads else "unknown"
            return failure(InternalError(next_step=advice, charged=charged), deployment)


def failure(error: WanError, deployment: Deployment) -> CallToolResult:
    """An error result; no structured content, since some clients show the model only that."""
    return CallToolResult(
        content=[TextContent(type="text", text=error_text(error, deployment))], is_error=True
    )


def _without(schema: Any, hidden: frozenset[str]) -> Any:
    """A schema without the properties of these names, wherever they are."""
    if isinstance(schema, dict):
        return {key: _without(value, hidden) for key, value in schema.items() if key not in hidden}
    return schema
