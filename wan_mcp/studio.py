"""The use cases: ask for a video, look at it, wait for it. Free of MCP."""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Self

import anyio
import httpx2
from anyio.abc import TaskGroup
from pydantic import Field

from wan_mcp import waiting
from wan_mcp.errors import EvolinkError, WanError
from wan_mcp.evolink import Credits, Evolink, Task, VideoRequest
from wan_mcp.images.picture import Picture
from wan_mcp.images.sources import open_picture
from wan_mcp.settings import Settings

GRACE = 0.8
"""Seconds that a submission under way gets to end in when the program stops."""


class Wish(VideoRequest):
    """What a caller wants: the request, with the picture wherever it may be."""

    image_urls: Annotated[
        list[str],
        Field(
            min_length=1,
            max_length=1,
            description="Exactly one picture, the first frame: https address, / or ~ path, or file: URI.",
        ),
    ]


@dataclass(frozen=True)
class Report:
    """What is known of a task, and of the call that asked."""

    task: Task
    picture: Picture | None = None
    waited: float | None = None
    """Seconds, after a wait that ended before the task did."""
    asked_to_wait: float | None = None
    """Seconds that were asked for, where that was more than is allowed."""
    trouble: EvolinkError | None = None
    """Why the last of several reads failed, where it did."""
    time_left: float | None = None
    """Seconds, estimated, until the task is over."""


Notice = Callable[[Report | None], Awaitable[None]]


class Studio:
    """Everything that serves the calls of one program. Enter it once; calls may run at the same time.

    Args:
        settings: as loaded; calls that need what is missing say so.
        transport: replaces the network, for tests.
        clock: the time, in Unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._transport = transport
        self._clock = clock
        self._client: Evolink | None = None
        self._background: TaskGroup | None = None

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
        if self._client is not None:
            with anyio.move_on_after(GRACE, shield=True):
                await self._client.aclose()

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

    async def generate(self, wish: Wish) -> Report:
        """Ask for a video. Once asked, a caller that goes away no longer stops it."""
        evolink = self.evolink
        picture = await open_picture(wish.image_urls[0])
        return await self._detached(lambda: self._submit(evolink, wish, picture))

    async def _submit(self, evolink: Evolink, wish: Wish, picture: Picture) -> Report:
        address = picture.address
        if picture.content is not None:
            upload = await evolink.upload(picture.file_name, picture.content, picture.media_type)
            address = upload.url
        request = VideoRequest.model_validate(wish.body() | {"image_urls": [address]})
        task = await evolink.submit(request, idempotency_key=f"wan-mcp-{secrets.token_hex(16)}")
        return self._report(task, picture=picture)

    async def look(self, task_id: str) -> Report:
        """Read a task once."""
        return self._report(await self.evolink.task(task_id))

    async def wait(self, task_id: str, seconds: float | None, notice: Notice) -> Report:
        """Wait for a task, by the settings' default or for ``seconds``, never beyond the settings' cap."""
        evolink, cap = self.evolink, self.settings.max_wait_seconds
        wanted = self.settings.wait_seconds if seconds is None else seconds
        allowed = min(wanted, cap)

        async def tell(task: Task | None) -> None:
            await notice(self._report(task) if task else None)

        waited = await waiting.wait(lambda: evolink.task(task_id), allowed, tell)
        return self._report(
            waited.task,
            trouble=waited.trouble,
            waited=None if waited.task.is_over else allowed,
            asked_to_wait=wanted if seconds is not None and wanted > cap else None,
        )

    async def credits(self) -> Credits:
        """What the account and the key have left."""
        return await self.evolink.credits()

    def _report(
        self,
        task: Task,
        *,
        picture: Picture | None = None,
        waited: float | None = None,
        asked_to_wait: float | None = None,
        trouble: EvolinkError | None = None,
    ) -> Report:
        return Report(task, picture, waited, asked_to_wait, trouble, time_left=self._time_left(task))

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
