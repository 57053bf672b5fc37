"""The endpoints of the Evolink API that a video needs."""

import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
from pydantic import SecretStr

from wan_mcp.errors import (
    Busy,
    InvalidRequest,
    LostAnswer,
    ServerFault,
    SettingsError,
    Unreachable,
    UnreadableAnswer,
)
from wan_mcp.evolink.connection import MAX_CALL, Connections
from wan_mcp.evolink.http_errors import Reply, error_of
from wan_mcp.evolink.requests import VideoRequest
from wan_mcp.evolink.responses import ASK_LATER, Credits, Listing, Task, Upload
from wan_mcp.evolink.retries import persist
from wan_mcp.evolink.values import http_date

API_URL = "https://api.evolink.ai"
FILES_URL = "https://files-api.evolink.ai"
UPLOAD_PATH = "/api/v1/files/upload/stream"
PAGE_SIZE = 50
MAX_DRIFT = 2.0
"""Seconds by which this machine's clock may differ from the event loop's before it counts as changed."""
SLOWEST_UPLOAD = 20_000
"""Bytes a second that an upload must reach on average."""
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
_WORTH_REPEATING = (Unreachable, LostAnswer, Busy, ServerFault, UnreadableAnswer)


@dataclass(frozen=True)
class Accepted:
    """The answer to a submission."""

    task: Task
    replayed: bool = False
    """Whether the gateway says that it knows the idempotency key from an earlier request."""


@dataclass(frozen=True)
class _Dated:
    """The gateway's time, as an answer gave it."""

    skew: float
    wall: float
    """When it arrived, in Unix seconds."""
    loop: float
    """The same moment by the event loop's clock, which cannot be set."""

    def drift(self, now: float) -> float:
        """Seconds by which this machine's clock was changed since then, by the event loop's clock."""
        return (now - self.wall) - (anyio.current_time() - self.loop)


class Evolink:
    """The API as one key sees it. Cheap to make: it uses connections that outlive it.

    Args:
        key: the API key; it is sent to the two addresses below and to no others.
        connections: the connection pool.
        base_url: the API.
        files_url: the file service.
        clock: the time, in Unix seconds.

    Raises:
        SettingsError: when the key cannot be sent in a header.
    """

    def __init__(
        self,
        key: SecretStr,
        connections: Connections,
        *,
        base_url: str = API_URL,
        files_url: str = FILES_URL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not re.fullmatch("[!-~]+", key.get_secret_value()):
            raise SettingsError("The Evolink API key is empty, or has characters that no key has.")
        self._key = key
        self._connections = connections
        self._base_url = base_url.rstrip("/")
        self._files_url = files_url.rstrip("/")
        self._clock = clock
        self._dated: _Dated | None = None

    async def task(self, task_id: str) -> Task:
        """Read a task. Free; retried within bounds.

        Raises:
            NotFound: when the API does not know the task, or no longer knows it.
            EvolinkError: for everything else that can go wrong.
        """
        task = Task.read((await self._read(f"/v1/tasks/{quote(task_id, safe='')}")).payload)
        if task.id != task_id:
            raise UnreadableAnswer("Evolink answered with another task.", next_step=ASK_LATER)
        return task

    async def credits(self) -> Credits:
        """Read how many credits the account and the key have left. Free; retried within bounds."""
        return Credits.read((await self._read("/v1/credits")).payload)

    async def tasks(self, model: str | None = None, *, page: int = 1, page_size: int = PAGE_SIZE) -> Listing:
        """Read a page of the account's own tasks, newest first. Free; retried within bounds.

        The vendor's own clients use this list; it is not in the public documentation.

        Args:
            model: only tasks of this model; None for all.
            page: which page, from 1.
            page_size: tasks a page.
        """
        only = f"model={quote(model, safe='')}&" if model else ""
        reply = await self._read(f"/v1/tasks?{only}page={page}&page_size={page_size}")
        return Listing.read(reply.payload)

    async def upload(self, file_name: str, content: bytes, media_type: str) -> Upload:
        """Send a file to the file service, which keeps it for 72 hours. Free; retried within bounds."""
        url = self._files_url + UPLOAD_PATH
        seconds = MAX_CALL + len(content) / SLOWEST_UPLOAD

        async def post() -> Reply:
            # A file object is sent in chunks, and the write time-out applies to each chunk.
            files = {"file": (file_name, io.BytesIO(content), media_type)}
            return await self._json("POST", url, seconds=seconds, files=files)

        return Upload.read((await persist(post, _WORTH_REPEATING)).payload)

    async def check_uploads(self) -> None:
        """Check that the file service answers, by an upload without a file, which it refuses. Free.

        Raises:
            EvolinkError: when nothing answers, or something other than the file service.
        """
        url = self._files_url + UPLOAD_PATH
        reply = await self._connections.call(
            self._key, "POST", url, files={"file_name": (None, "no file, only a check")}
        )
        if reply.status in (401, 403, 429):
            raise error_of(reply, paid=False)
        answer = reply.payload if isinstance(reply.payload, dict) else {}
        if "success" not in answer and not (answer and reply.status in (400, 422)):
            raise UnreadableAnswer(
                f"The answer (HTTP {reply.status}) is not one of Evolink's file service.",
                next_step="Check EVOLINK_FILES_URL.",
                status=reply.status,
            )

    async def submit(
        self, request: VideoRequest, *, idempotency_key: str, writing: Callable[[], None] = lambda: None
    ) -> Accepted:
        """Request a video, with one POST: the only call that costs credits.

        Args:
            request: what to make.
            idempotency_key: 16 to 96 letters, digits, dots, dashes and underscores; where the gateway
                honours the key, a repeat under it gets the same task.
            writing: called when the connection is made and the request is about to be written; if it
                raises, the request is not sent.

        Raises:
            InvalidRequest: when the idempotency key is malformed; nothing was sent.
            LostAnswer: when it is not known whether the request was accepted.
            EvolinkError: when the request was surely not accepted.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidRequest(f"An idempotency key must match {_IDEMPOTENCY_KEY.pattern}.")
        url, headers = f"{self._base_url}/v1/videos/generations", {"Idempotency-Key": idempotency_key}
        reply = await self._connections.call_paid(
            self._key, url, headers=headers, json=request.body(), writing=writing
        )
        self._note_date(reply)
        if not reply.ok:
            raise error_of(reply, paid=True)
        try:
            task = Task.read(reply.payload)
        except UnreadableAnswer as error:  # probably accepted, but the answer does not say which task it is
            raise LostAnswer(
                error.message, next_step=error.next_step, charged="unknown", status=reply.status
            ) from error
        return Accepted(task, replayed=reply.headers.get("idempotency-replayed", "").lower() == "true")

    def skew(self) -> float | None:
        """Seconds by which the gateway's clock is ahead of this machine's, good to about one.

        None where it is not known yet, or where this machine's clock was changed or stopped since then.
        """
        if self._dated is None or abs(self._dated.drift(self._clock())) > MAX_DRIFT:
            return None
        return self._dated.skew

    def _note_date(self, reply: Reply) -> None:
        date = http_date(reply.headers.get("date", ""))
        if date is not None:
            arrived = self._clock() - (anyio.current_time() - reply.arrived)
            self._dated = _Dated(date - arrived, arrived, reply.arrived)

    async def _read(self, path: str) -> Reply:
        return await persist(lambda: self._json("GET", self._base_url + path), _WORTH_REPEATING)

    async def _json(self, method: str, url: str, **body: Any) -> Reply:
        reply = await self._connections.call(self._key, method, url, **body)
        if url.startswith(f"{self._base_url}/"):
            self._note_date(reply)
        if not reply.ok:
            raise error_of(reply, paid=False)
        if reply.payload is None:
            raise UnreadableAnswer(
                f"Evolink answered HTTP {reply.status} with something that is not JSON.",
                next_step=ASK_LATER,
                status=reply.status,
            )
        return reply
