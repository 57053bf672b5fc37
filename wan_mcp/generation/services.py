"""The services of all owners that a program serves: each is made when its owner first calls."""

import logging
from collections.abc import Callable
from functools import partial

import anyio
from pydantic import SecretStr

from wan_mcp.errors import LedgerError
from wan_mcp.generation.following import TAKE_UP_EVERY
from wan_mcp.generation.owners import Owner
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import LINK_LIFE

logger = logging.getLogger(__name__)

RESUME_EVERY = 5.0
"""Seconds between two searches for requests whose processes died."""
IDLE = 600.0
"""Seconds without a call after which an owner whose work is done is forgotten."""
MAX_OWNERS = 10_000
"""Owners that are remembered at most, apart from those who have work under way."""

Whose = Callable[[], Owner]
"""Tells whose call is being served. Raises ``SettingsError`` where there is no key."""


class Services:
    """The services of the owners that a program serves.

    Args:
        runtime: what they share.
        whose: tells whose call it is; by default it is the one owner whose key the settings hold.
        end_streams: ends what tells clients of changes.
    """

    def __init__(
        self,
        runtime: Runtime,
        whose: Whose | None = None,
        end_streams: Callable[[], None] = lambda: None,
    ) -> None:
        self.runtime = runtime
        self._whose = whose or self._of_the_settings
        self._end_streams = end_streams
        self._known: dict[Owner, VideoService] = {}
        """The one that was used last comes last."""
        self._used: dict[Owner, float] = {}
        self._is_ending = False
        runtime.on_change = self._changed

    @property
    def owners(self) -> int:
        """How many owners are remembered."""
        return len(self._known)

    def current(self) -> VideoService:
        """The service of the owner whose call is being served.

        Raises:
            SettingsError: when there is no key, or the settings cannot be used.
        """
        return self.of(self._whose())

    def of(self, owner: Owner) -> VideoService:
        """The service of an owner."""
        service = self._known.pop(owner, None)
        if service is None:
            self._forget_idle()
            service = VideoService(self.runtime, owner)
            if self._is_ending:
                service.end_waits()
        self._known[owner] = service
        self._used[owner] = anyio.current_time()
        return service

    def end_waits(self) -> None:
        """End all waits now, and later ones at once, with their normal answer, before the server stops."""
        self._is_ending = True
        self._end_streams()
        for service in self._known.values():
            service.end_waits()

    async def take_up(self) -> None:
        """Again and again, go on with what other processes left, for all owners.

        Only where the operator pays: nobody else's key is known before its owner calls.
        """
        key = self.runtime.settings.api_key
        if not self.runtime.deployment.operator_pays or key is None:
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._take_up_requests, key)
            if self.runtime.deployment.follows:
                group.start_soon(self._take_up_tasks, key)
            if self.runtime.has_jobs:
                group.start_soon(self.runtime.ledger.run_jobs, partial(self._step, key))

    async def _take_up_requests(self, key: SecretStr) -> None:
        """Go on with requests that were sent, and whose processes died before they had an answer."""
        ledger, gateway = self.runtime.ledger, self.runtime.settings.gateway
        # Without a shared database there is no other process than the one before this.
        pause = RESUME_EVERY if self.runtime.settings.database_url is not None else TAKE_UP_EVERY
        while True:
            try:
                for digest, number in await ledger.abandoned(gateway):
                    await self.of(Owner(key, digest)).resume(number)
            except LedgerError as error:
                logger.warning("requests without an answer are not taken up: %s", error)
            except Exception:  # it would end the jobs of this process
                logger.exception("taking up requests failed unexpectedly")
            await anyio.sleep(pause)

    async def _take_up_tasks(self, key: SecretStr) -> None:
        """Follow tasks that are unfinished or unsaved."""
        ledger, gateway = self.runtime.ledger, self.runtime.settings.gateway
        while True:
            since = self.runtime.clock() - LINK_LIFE
            try:
                for digest in await ledger.owners_of_unkept(gateway, since=since):
                    await self.of(Owner(key, digest)).take_up()
            except LedgerError as error:
                logger.warning("earlier tasks are not followed: %s", error)
            except Exception:
                logger.exception("taking up tasks failed unexpectedly")
            await anyio.sleep(TAKE_UP_EVERY)

    async def _step(self, key: SecretStr, digest: str, task_id: str) -> float | None:
        return await self.of(Owner(key, digest)).step(task_id)

    def _changed(self, digest: str, task_id: str, elsewhere: bool) -> None:
        """Wake whoever waits for a task that has changed, and tell those who subscribed to it."""
        if not digest and not self.runtime.has_jobs:
            return  # whoever reads tasks with a key of its own goes on by its schedule
        for owner, service in self._known.items():
            if digest in ("", service.digest):
                service.wake(task_id)
                if elsewhere and task_id:
                    self.runtime.changed(owner, task_id)

    def _of_the_settings(self) -> Owner:
        return Owner(self.runtime.settings.require_key())

    def _forget_idle(self) -> None:
        since = anyio.current_time() - IDLE
        for owner, service in list(self._known.items()):
            if self._used[owner] > since and len(self._known) < MAX_OWNERS:
                return  # all that follow were used later
            if not service.is_busy:
                del self._known[owner], self._used[owner]
