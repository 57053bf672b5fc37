"""What all owners share: connections, pictures, the ledger, the rate limit, and work in the background."""

import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property, partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import anyio
import anyio.to_thread
import httpx2
from anyio.abc import TaskGroup, TaskStatus

from wan_mcp.errors import LedgerError, Unreachable
from wan_mcp.evolink import Connections, Evolink
from wan_mcp.generation import outcomes
from wan_mcp.generation.hosted_api import HostedEvolink
from wan_mcp.generation.measures import UNCOUNTED, Measures
from wan_mcp.generation.owners import LOCAL, Deployment, Owner
from wan_mcp.generation.places import OutputFolder, VideoPlace
from wan_mcp.generation.poster_files import PosterFiles
from wan_mcp.generation.posters import Posters
from wan_mcp.generation.rate_limit import RateLimit
from wan_mcp.generation.status import TaskChanged
from wan_mcp.generation.uploads import Uploads
from wan_mcp.images import Picture, PictureLoader
from wan_mcp.ledger import Entry, Ledger, OwnerLedger
from wan_mcp.ledger.base import OnChange
from wan_mcp.ledger.opening import opened
from wan_mcp.ledger.policy import Delays
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.net.names import LookUps, Resolve
from wan_mcp.net.trust import Trust
from wan_mcp.settings import Settings

if TYPE_CHECKING:
    from wan_mcp.storage.storage import Storage  # loads what only a hosted server has

logger = logging.getLogger(__name__)

GRACE = 0.8
"""Seconds that work in the background has to end when the program stops."""

DELAYS = Delays()
POSTS_AT_ONCE = 20
"""Paid POSTs of a process that are under way at most."""
KEPT_AT_ONCE = 12
"""Videos that a hosted server fetches and keeps at the same time at most."""
UPLOADS_READ_AT_ONCE = 4
"""Uploaded pictures that are in memory as a whole at the same time at most, for requests."""
LOOKS_A_SECOND, LOOKS_AT_ONCE = 500.0, 8
DECODED_AT_ONCE = 2
"""Videos whose frames a process decodes at the same time at most: each takes a processor."""

T = TypeVar("T")


def _ignored(owner: Owner, task_id: str) -> None:
    """Tell nobody of a change."""


def _unheard(owner: str, task_id: str, elsewhere: bool) -> None:
    """Nobody waits for what other programs see."""


class Runtime:
    """What one program needs; enter it once. Nothing is opened before it is needed.

    Args:
        settings: as loaded.
        deployment: where this program runs, and who pays.
        ledger: replaces the ledger in the settings' folder.
        transport: replaces the network, for tests.
        resolve: replaces the look-up of names, for tests.
        clock: the time, in Unix seconds.
        changed: told the owner and the id of each task whose state has changed.
        delays: how long a submission waits at each point.
        measures: told of what happens.
        storage: where a hosted server keeps videos, posters and uploads; None on the user's machine.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        deployment: Deployment = LOCAL,
        ledger: Ledger | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.time,
        changed: TaskChanged = _ignored,
        delays: Delays = DELAYS,
        measures: Measures = UNCOUNTED,
        storage: "Storage | None" = None,
    ) -> None:
        self.settings = settings
        assert (storage is None) == deployment.local
        self.storage = storage
        self.deployment = deployment.under(settings)
        self._ledger = ledger
        if ledger is None and settings.database_url is not None:
            self._ledger = opened(settings, is_hosted=not deployment.local, has_jobs=self.has_jobs)
            clock = self._ledger.clock(clock)
        self.clock = clock
        self.changed = changed
        self.on_change: OnChange = _unheard
        """Told what other programs with the same ledger have seen."""
        self.delays = delays
        self.measures = measures
        self.slots = anyio.CapacityLimiter(POSTS_AT_ONCE)
        self.decoding = anyio.Semaphore(DECODED_AT_ONCE)
        self.keeping = anyio.CapacityLimiter(KEPT_AT_ONCE)
        self.reading_uploads = anyio.Semaphore(UPLOADS_READ_AT_ONCE)
        trust = Trust()
        if resolve is None and not deployment.local:
            resolve = LookUps()
        self.connections = Connections(transport, trust)
        self.fetcher = PublicFetcher(
            allow_private=settings.allow_private_network, resolve=resolve, transport=transport, trust=trust
        )
        self.pictures = PictureLoader(
            self.fetcher,
            folders=settings.image_dirs,
            local=deployment.local,
            check=settings.image_check,
        )
        self._rate_limit = self._new_rate_limit()
        self.looks = RateLimit(LOOKS_A_SECOND, LOOKS_AT_ONCE)
        """The bound on the looks at tasks that jobs follow."""
        self._host: TaskGroup | None = None
        self._background: TaskGroup | None = None
        self._leaving = anyio.Event()
        self._cancelled_at_exit: set[anyio.CancelScope] = set()

    async def __aenter__(self) -> Self:
        self._host = anyio.create_task_group()
        await self._host.__aenter__()
        self._background = await self._host.start(self._run_background)
        if self._ledger is not None:
            self.run_until_exit(partial(self._ledger.watch, lambda *change: self.on_change(*change)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._host is not None
        if self.background.cancel_scope.deadline == math.inf:
            self.stop_within(GRACE)
        self._leaving.set()
        self._host.cancel_scope.shield = True
        await self._host.__aexit__(None, None, None)  # the error is not the group's
        with anyio.move_on_after(GRACE, shield=True):
            await self.connections.aclose()
            await self.fetcher.aclose()
            if self._ledger is not None:
                await self._ledger.aclose()

    async def _run_background(self, *, task_status: TaskStatus[TaskGroup]) -> None:
        """Hold the work in the background in a task of its own.

        Otherwise whatever is entered after the runtime would be cancelled with that work, such as the
        requests over HTTP that still have to be answered.
        """
        async with anyio.create_task_group() as background:
            task_status.started(background)
            with anyio.CancelScope(shield=True):
                await self._leaving.wait()

    def stop_within(self, seconds: float) -> None:
        """Let the work in the background go on for so long at most; what is followed ends at once."""
        for scope in self._cancelled_at_exit:
            scope.cancel()
        self.background.cancel_scope.deadline = anyio.current_time() + seconds
        self.background.cancel_scope.shield = True

    @property
    def ledger(self) -> Ledger:
        """The ledger of all owners."""
        if self._ledger is None:  # a server that only starts needs no SQLite
            self._ledger = opened(self.settings)
        return self._ledger

    @property
    def has_jobs(self) -> bool:
        """Whether jobs of the ledger's database follow the tasks, instead of each process its own."""
        return self.settings.database_url is not None and (
            self.deployment.follows and self.deployment.operator_pays
        )

    def ledger_of(self, owner: Owner) -> OwnerLedger:
        """The ledger of one owner."""
        if owner.digest is not None:
            return self.ledger.for_digest(self.settings.gateway, owner.digest)
        return self.ledger.for_owner(self.settings.gateway, owner.key.get_secret_value())

    def place_of(self, ledger: OwnerLedger) -> VideoPlace:
        """Where the videos of one owner's tasks go."""
        settings = self.settings
        if self.storage is None:
            return OutputFolder(settings.output_dir, ledger, settings.data_dir / "saving")
        from wan_mcp.generation.stored import StoredVideos  # loads what only a hosted server has

        return StoredVideos(self.storage, ledger, settings, self.clock)

    def uploads_of(self, ledger: OwnerLedger) -> Uploads | None:
        """The uploads of one owner; None on the user's machine, where there are none."""
        if self.storage is None:
            return None
        return Uploads(self.storage, ledger, self.settings, self.clock, self.reading_uploads)

    def rate_limit(self) -> RateLimit:
        """The bound on the reads of one more owner: those who share a key share it, as at the API."""
        is_shared = self.deployment.local or self.deployment.operator_pays
        return self._rate_limit if is_shared else self._new_rate_limit()

    def _new_rate_limit(self) -> RateLimit:
        return RateLimit(self.settings.reads_a_second, self.settings.reads_at_once)

    @cached_property
    def posters(self) -> Posters:
        """The posters of all owners' tasks."""
        if self.storage is None:
            return Posters(PosterFiles(self.settings.data_dir, self.ledger), self.ledger)
        from wan_mcp.generation.stored import StoredPosters  # loads what only a hosted server has

        return Posters(StoredPosters(self.storage.objects), self.ledger)

    @property
    def background(self) -> TaskGroup:
        """Where work runs that goes on after the call that began it."""
        assert self._background is not None, "enter the runtime first"
        return self._background

    async def warm_up(self) -> None:
        """Prepare what the first calls need, so that they are not slower than others."""
        with suppress(LedgerError, Unreachable):  # the first call says what is wrong
            await self.connections.open(self.settings.base_url)
            if self.settings.database_url is None:
                await anyio.to_thread.run_sync(import_module, "wan_mcp.ledger.sqlite.store")
            await self.ledger.open()
        await anyio.to_thread.run_sync(self.pictures.warm_up)

    def evolink(self, owner: Owner) -> Evolink:
        """The API as the key of an owner sees it."""
        settings = self.settings
        addresses = {"base_url": settings.base_url, "files_url": settings.files_url}
        if self.deployment.local:
            return Evolink(owner.key, self.connections, clock=self.clock, **addresses)
        return HostedEvolink(
            owner.key, self.connections, clock=self.clock, deployment=self.deployment, **addresses
        )

    def keep_poster(self, entry: Entry, picture: Picture | None) -> None:
        """Make the poster of a row in the background, if the picture that was sent is known."""
        if picture is not None:
            self.posters.keep(entry, partial(self.pictures.poster, picture), self.background)

    def run_until_exit(self, work: Callable[[], Awaitable[object]]) -> None:
        """Run ``work`` in the background; it is cancelled at once when the program stops."""

        async def run() -> None:
            with anyio.CancelScope() as scope:
                self._cancelled_at_exit.add(scope)
                try:
                    await work()
                except Exception:  # it would end the program, and all other work with it
                    logger.exception("work in the background failed unexpectedly")
                finally:
                    self._cancelled_at_exit.discard(scope)

        self.background.start_soon(run)

    async def run_to_end(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` to its end even if the caller is cancelled, and give the caller its result."""
        done = anyio.Event()
        results: list[T] = []
        errors: list[Exception] = []

        async def run() -> None:
            try:
                results.append(await work())
            except Exception as error:
                errors.append(error)
            finally:
                done.set()

        self.background.start_soon(run)
        await done.wait()
        if errors:
            raise errors[0]
        if not results:
            raise outcomes.stopped(sent=False)
        return results[0]
