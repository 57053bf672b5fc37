"""Tasks as resources: to read, to find by their ids, and to subscribe to."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ResourceTemplateReference,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)

from wan_mcp.errors import NoPoster, NotFound, WanError
from wan_mcp.evolink.values import is_task_id
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.services import Services
from wan_mcp.server.arguments import MAX_TASK_ID
from wan_mcp.server.notifier import ALL, ONE, TaskNotifier
from wan_mcp.server.results import TaskView
from wan_mcp.server.text import error_text

logger = logging.getLogger(__name__)

POSTER = "wan://tasks/{task_id}/poster"
LISTED = 50


class TaskResources:
    """The tasks as resources, and the completion of their ids."""

    def __init__(self) -> None:
        self._services: Services | None = None

    @asynccontextmanager
    async def serving(self, services: Services) -> AsyncIterator[Services]:
        """Answer from ``services`` until this block ends: a resource without parameters gets no context."""
        self._services = services
        yield services
        self._services = None

    async def all(self) -> str:
        assert self._services is not None, "resources are read while the server runs"
        with _resource_errors(self._services):
            service = self._services.current()
            entries = await service.tasks(None, LISTED)
        lines = [TaskLine.of(entry, service.now()).model_dump(exclude_none=True) for entry in entries]
        return json.dumps({"tasks": lines}, ensure_ascii=False)

    async def one(self, task_id: str, context: Context[Services]) -> str:
        _check(task_id)
        services = context.request_context.lifespan_context
        with _resource_errors(services):
            service = services.current()
            snapshot = await service.get_task(task_id)
        return TaskView.of(snapshot, service.deployment).model_dump_json(exclude_none=True)

    async def poster(self, task_id: str, context: Context[Services]) -> bytes:
        _check(task_id)
        services = context.request_context.lifespan_context
        with _resource_errors(services):
            return await services.current().poster(task_id)

    async def complete(
        self, context: ServerRequestContext[Services, Any], params: CompleteRequestParams
    ) -> CompleteResult:
        """The ids of this key's tasks that begin with what was typed."""
        if not isinstance(params.ref, ResourceTemplateReference) or params.argument.name != "task_id":
            return CompleteResult(completion=Completion(values=[]))
        try:
            entries = await context.lifespan_context.current().tasks(None, LISTED)
        except WanError:  # no key, no ledger: nothing to offer
            entries = []
        ids = [entry.task.id for entry in entries if entry.task]
        typed = params.argument.value
        return CompleteResult(
            completion=Completion(values=[found for found in ids if found.startswith(typed)])
        )


@contextmanager
def _resource_errors(services: Services) -> Iterator[None]:
    """Turn every error into one of the protocol, as the client may read it."""
    try:
        yield
    except (NotFound, NoPoster) as error:
        raise ResourceNotFoundError(error_text(error, services.runtime.deployment)) from error
    except WanError as error:
        raise ResourceError(error_text(error, services.runtime.deployment)) from error


def _check(task_id: str) -> None:
    """Refuse what cannot be an id: it may be as long as a request, or be read as another path."""
    if len(task_id) > MAX_TASK_ID or not is_task_id(task_id):
        raise ResourceNotFoundError("That is not the id of an Evolink task. Nothing was read.")


def add_resources(
    server: MCPServer[Services], tasks: TaskResources, notifier: TaskNotifier, deployment: Deployment
) -> None:
    """Offer the tasks as resources, complete their ids, and accept subscriptions."""
    json_type = "application/json"
    newest = f"The newest tasks of this {'key' if deployment.local else 'caller'}."
    offer_all = server.resource(ALL, name="tasks", title="Tasks", description=newest, mime_type=json_type)
    offer_all(tasks.all)
    offer_one = server.resource(
        ONE, name="task", title="A task", description="A task as it is now.", mime_type=json_type
    )
    offer_one(tasks.one)
    offer_poster = server.resource(
        POSTER,
        name="poster",
        title="A task's picture",
        description="A small JPEG of the picture that was sent.",
        mime_type="image/jpeg",
    )
    offer_poster(tasks.poster)
    # The high-level server has no API for these: a bound on the streams of one owner, the older protocol's
    # subscriptions, and a completion that needs the lifespan context.
    low = server._lowlevel_server
    low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, notifier.listen)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, notifier.subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, notifier.unsubscribe)
    low.add_request_handler("completion/complete", CompleteRequestParams, tasks.complete)
