"""The use cases: ask for a video, look at it, wait for it, list and keep it. Free of MCP."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Self

import anyio
import httpx2
from anyio.abc import TaskGroup

from wan_mcp.errors import EvolinkError, NotFound, WanError
from wan_mcp.evolink import Credits, Evolink, Task, VideoRequest, prices
from wan_mcp.generation import polling
from wan_mcp.generation.polling import Pace, Watcher
from wan_mcp.generation.request import Wish
from wan_mcp.generation.saving import Keeper
from wan_mcp.generation.snapshot import Notice, Report
from wan_mcp.generation.status import Tracker
from wan_mcp.generation.submission import Cashier
from wan_mcp.images import Picture, Pictures
from wan_mcp.ledger import Entry, EntryStatus, Intent, Ledger, Terms, fingerprint
from wan_mcp.ledger.fingerprint import DEFAULTS
from wan_mcp.net.fetch import Resolve, Safe
from wan_mcp.settings import Settings
from wan_mcp.videos import download

logger = logging.getLogger(__name__)

GRACE = 0.8
"""Seconds that a submission under way gets to end in when the program stops."""
REFRESHED = 5
"""Unfinished tasks that one listing reads again at most."""
REFRESH_SECONDS = 8.0
"""How long a listing waits for such a read."""
COPIES_LIVE = 72 * 3600.0
"""Seconds for which an uploaded picture lives, where the answer does not say: as documented."""
SAVING_SECONDS = 8.0
"""How long a wait that saw the completion goes on for the video to be saved."""
_UNREADABLE = (*polling.PASSING, NotFound)


async def _silent(received: int, length: int | None) -> None:
    """A notice to nobody."""


class Studio:
    """Everything that serves the calls of one program. Enter it once; calls may run at the same time.

    Args:
        settings: as loaded; calls that need what is missing say so.
        local: whether this program runs on the user's own machine, so that it may read files there.
        transport: replaces the network, for tests.
        resolve: replaces the look-up of names, for tests.
        clock: the time, in Unix seconds.
        changed: told the id of each task that is seen to have changed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        local: bool = True,
        transport: httpx2.AsyncBaseTransport | None = None,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.time,
        changed: Callable[[str], None] = lambda task_id: None,
    ) -> None:
        self.settings = settings
        self._local = local
        self._transport = transport
        self._resolve = resolve
        self._clock = clock
        self.changed = changed
        self._background: TaskGroup | None = None
        self._known_owner: str | None = None

    async def __aenter__(self) -> Self:
        self._background = anyio.create_task_group()
        await self._background.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._background is not None
        self._background.cancel_scope.deadline = anyio.current_time() + GRACE
        self._background.cancel_scope.shield = True
        await self._background.__aexit__(None, None, None)  # the error is not the group's
        with anyio.move_on_after(GRACE, shield=True):
            for part in ("evolink", "ledger", "_pictures", "_safe"):
                if part in self.__dict__:
                    await getattr(self, part).aclose()

    @cached_property
    def evolink(self) -> Evolink:
        """The API, with the key of the settings.

        Raises:
            SettingsError: when there is no key, or the settings cannot be used.
        """
        key, settings = self.settings.require_key(), self.settings
        return Evolink(
            key, base_url=settings.base_url, files_url=settings.files_url, transport=self._transport
        )

    @cached_property
    def ledger(self) -> Ledger:
        """The record; its file is opened when it is first needed."""
        from wan_mcp.ledger.sqlite.store import SqliteLedger

        return SqliteLedger(self.settings.data_dir)

    async def generate(self, wish: Wish) -> Report:
        """Ask for a video, or find the one that was asked for already.

        Once asked, a caller that goes away no longer stops it.

        Raises:
            NotSent: when it was refused here: the picture, the cap, the ledger, the settings.
            EvolinkError: when the API refused it, or its outcome is not known.
        """
        self.settings.require_key()
        picture = await self._pictures.open(wish.image_urls[0])
        return await self._detached(lambda: self._order(wish, picture))

    async def look(self, task_id: str) -> Report:
        """Read a task once; where it cannot be read, answer what the ledger knows of it.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        try:
            return await self._tracker.look(task_id)
        except _UNREADABLE as error:
            return await self._tracker.remembered(task_id, error)

    async def wait(self, task_id: str, seconds: float, notice: Notice) -> Report:
        """Wait until a task is over or the time is up; 0 seconds look once.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        tracker = self._tracker

        async def tell(task: Task | None) -> None:
            await notice(tracker.report(task) if task else None)

        await tracker.learn(task_id)
        try:
            waited = await self._watcher.wait(task_id, seconds, tell)
        except _UNREADABLE as error:
            return replace(await tracker.remembered(task_id, error), waited=seconds)
        report = tracker.report(waited.task, await tracker.entry(task_id))
        if waited.task.is_over:
            return await self._saved_by_itself(report)
        return replace(report, trouble=waited.trouble, waited=seconds)

    async def save(self, task_id: str, name: str | None, notice: download.Notice) -> Report:
        """Save the video of a finished task; a caller that goes away does not stop it.

        Raises:
            VideoError: when there is no video, or it cannot be fetched or put on the disk.
            EvolinkError: when the task can neither be read nor is known.
        """
        keeper = self._keeper
        return await self._detached(lambda: keeper.save(task_id, name, notice))

    async def tasks(self, status: EntryStatus | None, limit: int) -> list[Entry]:
        """The newest entries of this key; those that are not over are read again, up to a bound."""
        owner = await self._owner()
        entries = await self.ledger.entries(owner, status=status, limit=limit)
        running = [entry.task.id for entry in entries if entry.task and not entry.task.is_over]
        if not running:
            return entries
        async with anyio.create_task_group() as group:
            for task_id in running[:REFRESHED]:
                group.start_soon(self._refresh, task_id)
        return await self.ledger.entries(owner, status=status, limit=limit)

    async def credits(self) -> Credits:
        """What the account and the key have left."""
        return await self.evolink.credits()

    async def _order(self, wish: Wish, picture: Picture) -> Report:
        intent = Intent(
            owner=await self._owner(),
            fingerprint=fingerprint(wish.body(), picture.identity),
            prompt=wish.prompt,
            duration=wish.duration or DEFAULTS["duration"],
            quality=wish.quality or DEFAULTS["quality"],
            estimate=prices.estimate(wish.duration, wish.quality),
        )
        terms = Terms(
            now=self._clock(),
            repeat_seconds=self.settings.repeat_minutes * 60,
            daily_credits=self.settings.daily_credits,
            new_take=wish.new_take,
        )
        cashier = Cashier(self.evolink, self.ledger, self._clock)
        order = await cashier.order(intent, terms, lambda: self._request(wish, picture))
        assert order.entry.task is not None
        report = self._tracker.report(order.entry.task, order.entry)
        if order.repeated and not report.task.is_over:
            with suppress(EvolinkError):
                report = await self.look(report.task.id)
        return replace(report, picture=picture, repeated=order.repeated)

    async def _request(self, wish: Wish, picture: Picture) -> VideoRequest:
        """The request with an address at which Evolink finds the picture."""
        address = picture.address or await self._copy(picture)
        return VideoRequest.model_validate(wish.body() | {"image_urls": [address]})

    async def _copy(self, picture: Picture) -> str:
        """The address of a picture in the file service; uploaded once while its copy lives."""
        assert picture.content is not None
        owner = await self._owner()
        known = await self.ledger.copy_of(owner, picture.identity, self._clock())
        if known is not None:
            return known
        upload = await self.evolink.upload(picture.file_name, picture.content, picture.media_type)
        expires = upload.expires_at.timestamp() if upload.expires_at else self._clock() + COPIES_LIVE
        await self.ledger.copied(owner, picture.identity, upload.url, expires)
        return upload.url

    async def _saved_by_itself(self, report: Report) -> Report:
        """Save a finished video where the settings say so; trouble with that is no failure of the task."""
        if not self.settings.autosave or report.task.status != "completed":
            return report
        with anyio.move_on_after(SAVING_SECONDS):
            try:
                return await self.save(report.task.id, None, _silent)
            except WanError as error:
                return replace(report, save_trouble=error)
            except Exception:
                logger.exception("saving %s failed unexpectedly", report.task.id)
                fault = WanError("wan-mcp itself failed; its log on stderr says how.")
                return replace(report, save_trouble=fault)
        slow = WanError("The video is still being saved.", next_step="Call save_video to see where it is.")
        return replace(report, save_trouble=slow)

    async def _refresh(self, task_id: str) -> None:
        with anyio.move_on_after(REFRESH_SECONDS), suppress(EvolinkError):
            await self._tracker.read(task_id)

    async def _owner(self) -> str:
        """Whose tasks these are: a digest of the key and the API, never the key."""
        if self._known_owner is None:
            key = self.settings.require_key().get_secret_value()
            self._known_owner = await self.ledger.owner(key, self.settings.base_url)
        return self._known_owner

    @cached_property
    def _tracker(self) -> Tracker:
        return Tracker(
            self.evolink, self.ledger, self._owner, self._clock, lambda task_id: self.changed(task_id)
        )

    @cached_property
    def _watcher(self) -> Watcher:
        assert self._background is not None, "enter the studio first"
        pace = Pace(self.settings.reads_a_second, self.settings.reads_at_once)
        return Watcher(self._tracker.read, self._tracker.pause, pace, self._background)

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(
            folders=self.settings.image_dirs,
            local=self._local,
            allow_private=self.settings.allow_private_network,
            check=self.settings.image_check,
            resolve=self._resolve,
            transport=self._transport,
        )

    @cached_property
    def _safe(self) -> Safe:
        private = self.settings.allow_private_network
        return Safe(allow_private=private, resolve=self._resolve, transport=self._transport)

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(self.settings.output_dir, self._open_link, self.ledger, self._owner, self.look)

    def _open_link(
        self, link: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        return self._safe.stream(link, headers=headers, deadline=download.LONGEST_FETCH)

    async def _detached(self, work: Callable[[], Awaitable[Report]]) -> Report:
        """Run ``work`` to its end whatever becomes of the caller, and give the caller its result."""
        assert self._background is not None, "enter the studio first"
        done = anyio.Event()
        outcome: list[Report | Exception] = []

        async def run() -> None:
            try:
                outcome.append(await work())
            except Exception as error:
                outcome.append(error)
            finally:
                done.set()

        self._background.start_soon(run)
        await done.wait()
        if not outcome:
            raise WanError(
                "The server stopped in the middle of this.",
                next_step="Ask for the same again: it goes on with what was begun.",
                charged="unknown",
            )
        result = outcome[0]
        if isinstance(result, Exception):
            raise result
        return result
