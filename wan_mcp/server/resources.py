"""Tasks as resources, and news of them for those who subscribed."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
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

from wan_mcp.errors import NotFound, WanError
from wan_mcp.generation.service import Studio
from wan_mcp.server import listing, text
from wan_mcp.server.results import TaskView

logger = logging.getLogger(__name__)

ALL = "wan://tasks"
ONE = "wan://tasks/{task_id}"
LISTED = 50
SUBSCRIPTIONS = 1000
"""Subscriptions of clients of the older protocol that are remembered at most."""


class Announcer:
    """Tells subscribers of both protocol eras that a task is not as it was."""

    def __init__(self, bus: InMemorySubscriptionBus) -> None:
        self._bus = bus
        self._subscribed: dict[tuple[str, int], ServerSession] = {}
        self.studio: Studio | None = None
        """The studio of the running server; a resource without parameters is given no context."""

    @asynccontextmanager
    async def serving(self, studio: Studio) -> AsyncIterator[None]:
        """Announce what changes in a studio, for as long as it is open."""
        async with anyio.create_task_group() as group:
            self.studio = studio
            studio.changed = partial(self._changed, group)
            yield
            group.cancel_scope.cancel()

    def _changed(self, group: TaskGroup, task_id: str) -> None:
        """Announce a change, without keeping whoever saw it."""
        group.start_soon(self._announce, ONE.format(task_id=task_id))
        group.start_soon(self._announce, ALL)

    async def subscribe(
        self, context: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        if len(self._subscribed) >= SUBSCRIPTIONS:
            self._subscribed.pop(next(iter(self._subscribed)))
        self._subscribed[str(params.uri), id(context.session)] = context.session
        return EmptyResult()

    async def unsubscribe(
        self, context: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        for subscription in [key for key in self._subscribed if key[0] == str(params.uri)]:
            del self._subscribed[subscription]
        return EmptyResult()

    async def _announce(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))
        for subscription, session in list(self._subscribed.items()):
            if subscription[0] == uri:
                await self._send(subscription, session)

    async def _send(self, subscription: tuple[str, int], session: ServerSession) -> None:
        try:
            with anyio.fail_after(5):
                await session.send_resource_updated(subscription[0])
        except Exception as error:  # whoever does not listen any more is no longer told
            logger.info("a subscriber is gone: %r", error)
            self._subscribed.pop(subscription, None)


def add_resources(server: MCPServer[Studio], announcer: Announcer) -> None:
    """Offer the tasks as resources, complete their ids, and take subscriptions."""

    @server.resource(
        ALL,
        name="tasks",
        title="Tasks",
        description="The newest tasks of this key.",
        mime_type="application/json",
    )
    async def tasks() -> str:
        assert announcer.studio is not None, "resources are read while the server runs"
        try:
            entries = await announcer.studio.tasks(None, LISTED)
        except WanError as error:
            raise ResourceError(text.of_error(error)) from error
        lines = [listing.LineView.of(entry).model_dump(exclude_none=True) for entry in entries]
        return json.dumps({"tasks": lines}, ensure_ascii=False)

    @server.resource(
        ONE, name="task", title="A task", description="A task as it is now.", mime_type="application/json"
    )
    async def task(task_id: str, context: Context[Studio]) -> str:
        try:
            report = await context.request_context.lifespan_context.look(task_id)
        except NotFound as error:
            raise ResourceNotFoundError(text.of_error(error)) from error
        except WanError as error:
            raise ResourceError(text.of_error(error)) from error
        return TaskView.of(report).model_dump_json(exclude_none=True)

    # For these the high-level server has no door: the older protocol's way to subscribe, and a
    # completion that may look into the lifespan.
    low = server._lowlevel_server
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, announcer.subscribe)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, announcer.unsubscribe)
    low.add_request_handler("completion/complete", CompleteRequestParams, complete)


async def complete(
    context: ServerRequestContext[Studio, Any], params: CompleteRequestParams
) -> CompleteResult:
    """Ids of this key's tasks that begin with what was typed."""
    if not isinstance(params.ref, ResourceTemplateReference) or params.argument.name != "task_id":
        return CompleteResult(completion=Completion(values=[]))
    try:
        entries = await context.lifespan_context.tasks(None, LISTED)
    except WanError:  # no key, no ledger: nothing to offer
        entries = []
    ids = [entry.task.id for entry in entries if entry.task]
    return CompleteResult(
        completion=Completion(values=[found for found in ids if found.startswith(params.argument.value)])
    )
