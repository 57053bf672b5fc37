"""The use cases: ask for a video, look at it, wait for it, list what was asked for. Free of MCP."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Annotated, Any, Self

import anyio
import httpx2
from anyio.abc import TaskGroup
from pydantic import AfterValidator, Field

from wan_mcp import addresses, waiting
from wan_mcp.errors import EvolinkError, LedgerError, NotFound, WanError
from wan_mcp.evolink import Credits, Evolink, Task, VideoRequest, prices
from wan_mcp.images.picture import Picture
from wan_mcp.images.sources import open_picture
from wan_mcp.ledger import Entry, EntryStatus, Intent, Ledger, Terms, fingerprint
from wan_mcp.ledger.fingerprint import DEFAULTS
from wan_mcp.paying import Cashier
from wan_mcp.settings import Settings

logger = logging.getLogger(__name__)

GRACE = 0.8
"""Seconds that a submission under way gets to end in when the program stops."""
REFRESHED = 5
"""Unfinished tasks that one listing reads again at most."""
REFRESH_SECONDS = 8.0
"""How long a listing waits for such a read."""


_OTHER_SOURCES = re.compile(r"file:|data:|[/~\\]|[a-z]:[/\\]", re.IGNORECASE)


def _reference(value: str) -> str:
    if value.lower().startswith(("https://", "http://")):
        addresses.split(value)
    elif not _OTHER_SOURCES.match(value):
        raise ValueError("must be an https:// address, a file: URI, or an absolute path")
    return value


class Wish(VideoRequest):
    """What a caller wants: the request, with the picture wherever it may be."""

    image_urls: Annotated[
        list[Annotated[str, AfterValidator(_reference)]],
        Field(
            min_length=1,
            max_length=1,
            description="Exactly one picture, the first frame: https address, / or ~ path, or file: URI.",
        ),
    ]
    new_take: Annotated[
        bool,
        Field(description="Pay for another video although the same wish has one already. Default false."),
    ] = False

    def body(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"new_take"})


@dataclass(frozen=True)
class Report:
    """What is known of a task, and of the call that asked."""

    task: Task
    picture: Picture | None = None
    repeated: bool = False
    """Whether the same wish had this task before, so that nothing new was asked for."""
    adopted: bool = False
    """Whether the task was found in the account's list after its answer was lost."""
    waited: float | None = None
    """Seconds, after a wait that ended before the task did."""
    asked_to_wait: float | None = None
    """Seconds that were asked for, where that was more than is allowed."""
    trouble: EvolinkError | None = None
    """Why the last read failed, where it did; the task is then as it was known before."""
    known_at: float | None = None
    """When the task was in this state, in Unix seconds, where it could not be read now."""
    time_left: float | None = None
    """Seconds, estimated, until the task is over."""


Notice = Callable[[Report | None], Awaitable[None]]


class Studio:
    """Everything that serves the calls of one program. Enter it once; calls may run at the same time.

    Args:
        settings: as loaded; calls that need what is missing say so.
        transport: replaces the network, for tests.
        clock: the time, in Unix seconds.
        ledger: replaces the file in the settings' data folder.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        ledger: Ledger | None = None,
    ) -> None:
        self.settings = settings
        self._transport = transport
        self._clock = clock
        self._given_ledger = ledger
        self._client: Evolink | None = None
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
            if self._client is not None:
                await self._client.aclose()
            await self.ledger.aclose()

    @property
    def evolink(self) -> Evolink:
        """The API, with the key of the settings.

        Raises:
            SettingsError: when there is no key, or the settings cannot be used.
        """
        key = self.settings.require_key()
        if self._client is None:
            self._client = Evolink(
                key,
                base_url=self.settings.base_url,
                files_url=self.settings.files_url,
                transport=self._transport,
            )
        return self._client

    @cached_property
    def ledger(self) -> Ledger:
        """The record; its file is opened when it is first needed."""
        if self._given_ledger is not None:
            return self._given_ledger
        from wan_mcp.ledger.sqlite import SqliteLedger

        return SqliteLedger(self.settings.data_dir)

    async def generate(self, wish: Wish) -> Report:
        """Ask for a video, or find the one that was asked for already.

        Once asked, a caller that goes away no longer stops it.
        """
        evolink = self.evolink
        picture = await open_picture(wish.image_urls[0])
        return await self._detached(lambda: self._order(evolink, wish, picture))

    async def _order(self, evolink: Evolink, wish: Wish, picture: Picture) -> Report:
        async def prepare() -> VideoRequest:
            address = picture.address
            if picture.content is not None:
                upload = await evolink.upload(picture.file_name, picture.content, picture.media_type)
                address = upload.url
            return VideoRequest.model_validate(wish.body() | {"image_urls": [address]})

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
        order = await Cashier(evolink, self.ledger, self._clock).order(intent, terms, prepare)
        if order.repeated:
            return await self._repeated(order.entry, picture)
        return replace(self._of_entry(order.entry), picture=picture)

    async def _repeated(self, entry: Entry, picture: Picture) -> Report:
        """An earlier task, as it is now; where it cannot be read, as it was."""
        assert entry.task is not None
        report = self._of_entry(entry)
        if not entry.task.is_over:
            with suppress(EvolinkError):
                report = await self.look(entry.task.id)
        return replace(report, picture=picture, repeated=True)

    async def look(self, task_id: str) -> Report:
        """Read a task once; where it cannot be read, answer what the ledger knows of it.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        try:
            return self._report(await self._read(task_id))
        except (*waiting.PASSING, NotFound) as error:
            return await self._remembered(task_id, error)

    async def wait(self, task_id: str, seconds: float | None, notice: Notice) -> Report:
        """Wait for a task, by the settings' default or for ``seconds``, never beyond the settings' cap.

        Raises:
            EvolinkError: when it can neither be read nor is known.
        """
        cap = self.settings.max_wait_seconds
        wanted = self.settings.wait_seconds if seconds is None else seconds
        allowed = min(wanted, cap)

        async def tell(task: Task | None) -> None:
            await notice(self._report(task) if task else None)

        try:
            waited = await waiting.wait(lambda: self._read(task_id), allowed, tell)
        except (*waiting.PASSING, NotFound) as error:
            return replace(await self._remembered(task_id, error), waited=allowed)
        return replace(
            self._report(waited.task),
            trouble=waited.trouble,
            waited=None if waited.task.is_over else allowed,
            asked_to_wait=wanted if seconds is not None and wanted > cap else None,
        )

    async def credits(self) -> Credits:
        """What the account and the key have left."""
        return await self.evolink.credits()

    async def tasks(self, status: EntryStatus | None, limit: int) -> list[Entry]:
        """The newest entries of this key; those that are not over are read again, up to a bound."""
        owner = await self._owner()
        entries = await self.ledger.entries(owner, status=status, limit=limit)
        running = [entry.task.id for entry in entries if entry.task and not entry.task.is_over]
        async with anyio.create_task_group() as group:
            for task_id in running[:REFRESHED]:
                group.start_soon(self._refresh, task_id)
        if not running:
            return entries
        return await self.ledger.entries(owner, status=status, limit=limit)

    async def _refresh(self, task_id: str) -> None:
        with anyio.move_on_after(REFRESH_SECONDS), suppress(EvolinkError):
            await self._read(task_id)

    async def _owner(self) -> str:
        """Whose tasks these are: a digest of the key and the API, never the key."""
        if self._known_owner is None:
            key = self.settings.require_key().get_secret_value()
            self._known_owner = await self.ledger.owner(key, self.settings.base_url)
        return self._known_owner

    async def _read(self, task_id: str) -> Task:
        """Read a task, and keep the ledger current; a ledger that fails costs no read."""
        task = await self.evolink.task(task_id)
        try:
            await self.ledger.observed(await self._owner(), task, self._clock())
        except LedgerError as error:
            logger.warning("the ledger could not be kept current: %s", error)
        return task

    async def _remembered(self, task_id: str, error: EvolinkError) -> Report:
        """What the ledger knows of a task that cannot be read now."""
        try:
            entry = await self.ledger.find(await self._owner(), task_id)
        except LedgerError:
            entry = None
        if entry is None:
            raise error
        return replace(self._of_entry(entry), trouble=error, known_at=entry.known_at)

    def _of_entry(self, entry: Entry) -> Report:
        assert entry.task is not None
        return replace(self._report(entry.task), adopted=entry.adopted)

    def _report(self, task: Task) -> Report:
        return Report(task, time_left=self._time_left(task))

    def _time_left(self, task: Task) -> float | None:
        if task.is_over or task.estimated_time is None or task.created is None:
            return None
        elapsed = self._clock() - task.created
        return max(task.estimated_time - elapsed, 0) if 0 <= elapsed < 86400 else None

    async def _detached(self, work: Callable[[], Awaitable[Report]]) -> Report:
        """Run ``work`` to its end whatever becomes of the caller, and give the caller its result."""
        assert self._background is not None, "enter the studio first"
        done = anyio.Event()
        outcome: list[Report | WanError | Exception] = []

        async def run() -> None:
            try:
                outcome.append(await work())
            except Exception as error:
                outcome.append(error)
            finally:
                done.set()

        self._background.start_soon(run)
        await done.wait()
        result = outcome[0]
        if isinstance(result, Exception):
            raise result
        return result
