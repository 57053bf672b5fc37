"""Tasks as resources, and notifications to the clients that subscribed to them."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated
from mcp.types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmptyResult,
    ResourceTemplateReference,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from wan_mcp.errors import NoPoster, NotFound, WanError
from wan_mcp.generation.listing import TaskLine
from wan_mcp.generation.service import Services
from wan_mcp.server.results import TaskView
from wan_mcp.server.text import error_text

logger = logging.getLogger(__name__)

ALL = "wan://tasks"
ONE = "wan://tasks/{task_id}"
POSTER = "wan://tasks/{task_id}/poster"
LISTED = 50
MAX_SUBSCRIPTIONS = 1000
"""Subscriptions of clients of the older protocol that are kept at most."""


class TaskNotifier:
    """Notifies subscribers of both protocol eras that a task has changed."""

    def __init__(self, bus: InMemorySubscriptionBus) -> None:
        self._bus = bus
        self._subscribed: dict[tuple[str, int], ServerSession] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Notify of changes until this block ends."""
        async with anyio.create_task_group() as group:
            self._group = group
            yield
            group.cancel_scope.cancel()

    def changed(self, task_id: str) -> None:
        """Notify of a change, without delaying the caller."""
        assert self._group is not None, "tasks are read while the server runs"
        self._group.start_soon(self._notify, ONE.format(task_id=task_id))
        self._group.start_soon(self._notify, ALL)

    async def subscribe(
        self, context: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        if len(self._subscribed) >= MAX_SUBSCRIPTIONS:
            self._subscribed.pop(next(iter(self._subscribed)))
        self._subscribed[str(params.uri), id(context.session)] = context.session
        return EmptyResult()

    async def unsubscribe(
        self, context: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        for subscription in [key for key in self._subscribed if key[0] == str(params.uri)]:
            del self._subscribed[subscription]
        return EmptyResult()

    async def _notify(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))
        for subscription, session in list(self._subscribed.items()):
            if subscription[0] == uri:
                await self._send(subscription, session)

    async def _send(self, subscription: tuple[str, int], session: ServerSession) -> None:
        try:
            with anyio.fail_after(5):
                await session.send_resource_updated(subscription[0])
        except Exception as error:  # a subscriber that does not answer is no longer notified
            logger.info("a subscriber is gone: %r", error)
            self._subscribed.pop(subscription, None)


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
        try:
            service = self._services.own()
            entries = await service.tasks(None, LISTED)
        except WanError as error:
            raise ResourceError(error_text(error)) from error
        lines = [TaskLine.of(entry, service.now()).model_dump(exclude_none=True) for entry in entries]
        return json.dumps({"tasks": lines}, ensure_ascii=False)

    async def one(self, task_id: str, context: Context[Services]) -> str:
        try:
            service = context.request_context.lifespan_context.own()
            snapshot = await service.get_task(task_id)
        except NotFound as error:
            raise ResourceNotFoundError(error_text(error)) from error
        except WanError as error:
            raise ResourceError(error_text(error)) from error
        return TaskView.of(snapshot, service.saves_to).model_dump_json(exclude_none=True)

    async def poster(self, task_id: str, context: Context[Services]) -> bytes:
        try:
            return await context.request_context.lifespan_context.own().poster(task_id)
        except NoPoster as error:
            raise ResourceNotFoundError(error_text(error)) from error
        except WanError as error:
            raise ResourceError(error_text(error)) from error

    async def complete(
        self, context: ServerRequestContext[Services, Any], params: CompleteRequestParams
    ) -> CompleteResult:
        """The ids of this key's tasks that begin with what was typed."""
        if not isinstance(params.ref, ResourceTemplateReference) or params.argument.name != "task_id":
            return CompleteResult(completion=Completion(values=[]))
        try:
            entries = await context.lifespan_context.own().tasks(None, LISTED)
        except WanError:  # no key, no ledger: nothing to offer
            entries = []
        ids = [entry.task.id for entry in entries if entry.task]
        typed = params.argument.value
        return CompleteResult(
            completion=Completion(values=[found for found in ids if found.startswith(typed)])
        )


def add_resources(server: MCPServer[Services], tasks: TaskResources, notifier: TaskNotifier) -> None:
    """Offer the tasks as resources, complete their ids, and accept subscriptions."""
    json_type = "application/json"
    offer_all = server.resource(
        ALL, name="tasks", title="Tasks", description="The newest tasks of this key.", mime_type=json_type
    )
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
    # The high-level server has no API for these: the older protocol's subscriptions, and a completion
    # that needs the lifespan context.
    low = server._lowlevel_server
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, notifier.subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, notifier.unsubscribe)
    low.add_request_handler("completion/complete", CompleteRequestParams, tasks.complete)
