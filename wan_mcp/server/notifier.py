"""Notifications that a task has changed, to those clients of its owner that subscribed to it."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ServerEvent
from mcp.types import (
    INTERNAL_ERROR,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from wan_mcp.errors import SettingsError
from wan_mcp.generation.owners import Owner
from wan_mcp.generation.services import Whose

logger = logging.getLogger(__name__)

ALL = "wan://tasks"
ONE = "wan://tasks/{task_id}"
MAX_STREAMS = 20
"""Streams of changes that one owner may have open; a client needs one."""
MAX_SUBSCRIPTIONS = 1000
"""Subscriptions of clients of the older protocol that are kept at most."""


@dataclass(frozen=True)
class TaskUpdated(ResourceUpdated):
    """A task has changed, or the list of an owner's tasks has."""

    owner: Owner


class OwnersBus(InMemorySubscriptionBus):
    """Takes what happened to a task to those listeners that belong to its owner.

    Args:
        whose: tells whose call is being served.
    """

    def __init__(self, whose: Whose) -> None:
        super().__init__()
        self._whose = whose

    def listener(self) -> Owner | None:
        """Whose call is being served; None where there is no key, and so no task that can change."""
        try:
            return self._whose()
        except SettingsError:
            return None

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Listen for the owner whose call is being served; returns what ends it."""
        owner = self.listener()

        def hear(event: ServerEvent) -> None:
            if not isinstance(event, TaskUpdated) or event.owner == owner:
                listener(event)

        return super().subscribe(hear)


class OwnersStreams(ListenHandler):
    """Serves the streams of changes: so many of each owner, where the SDK bounds only the sum of all.

    Args:
        bus: tells whose stream it is, and what happens.
    """

    def __init__(self, bus: OwnersBus) -> None:
        super().__init__(bus)
        self._whose = bus.listener
        self._open: Counter[Owner | None] = Counter()

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        owner = self._whose()
        if self._open[owner] >= MAX_STREAMS:
            raise MCPError(INTERNAL_ERROR, f"{MAX_STREAMS} streams are open for you; end one first.")
        self._open[owner] += 1
        try:
            return await super().__call__(ctx, params)
        finally:
            self._open[owner] -= 1
            self._open += Counter()  # forgets who has none


class TaskNotifier:
    """Notifies subscribers of both protocol eras that a task has changed.

    Args:
        bus: takes it to those of the newer era.
        has_sessions: whether clients of the older era can still be notified after the answer to their call.
    """

    def __init__(self, bus: OwnersBus, *, has_sessions: bool = True) -> None:
        self._bus = bus
        self.listen = OwnersStreams(bus)
        self._has_sessions = has_sessions
        self._subscribed: dict[tuple[Owner | None, str, int], ServerSession] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Notify of changes until this block ends."""
        async with anyio.create_task_group() as group:
            self._group = group
            yield
            group.cancel_scope.cancel()

    def changed(self, owner: Owner, task_id: str) -> None:
        """Notify of a change, without delaying the caller."""
        assert self._group is not None, "tasks are read while the server runs"
        self._group.start_soon(self._notify, owner, ONE.format(task_id=task_id))
        self._group.start_soon(self._notify, owner, ALL)

    async def subscribe(
        self, context: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        if not self._has_sessions:
            return EmptyResult()
        if len(self._subscribed) >= MAX_SUBSCRIPTIONS:
            self._subscribed.pop(next(iter(self._subscribed)))
        self._subscribed[self._bus.listener(), str(params.uri), id(context.session)] = context.session
        return EmptyResult()

    async def unsubscribe(
        self, context: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        gone = (self._bus.listener(), str(params.uri))
        for subscription in [key for key in self._subscribed if key[:2] == gone]:
            del self._subscribed[subscription]
        return EmptyResult()

    async def _notify(self, owner: Owner, uri: str) -> None:
        await self._bus.publish(TaskUpdated(uri, owner))
        for subscription, session in list(self._subscribed.items()):
            if subscription[:2] == (owner, uri):
                await self._send(subscription, session)

    async def _send(self, subscription: tuple[Owner | None, str, int], session: ServerSession) -> None:
        try:
            with anyio.fail_after(5):
                await session.send_resource_updated(subscription[1])
        except Exception as error:  # a subscriber that does not answer is no longer notified
            logger.info("a subscriber is gone: %r", error)
            self._subscribed.pop(subscription, None)
