"""The endpoints of the Evolink API that a video needs, and when a request is made again."""

import io
import logging
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
from pydantic import SecretStr

from wan_mcp.errors import (
    Busy,
    EvolinkError,
    InvalidRequest,
    LostAnswer,
    OutcomeUnknown,
    ServerFault,
    SettingsError,
    Unreachable,
    UnreadableAnswer,
    WanError,
)
from wan_mcp.evolink.connection import MAX_CALL, Connections
from wan_mcp.evolink.http_errors import Reply
from wan_mcp.evolink.requests import MODEL, VideoRequest
from wan_mcp.evolink.responses import ASK_LATER, Credits, Listing, Task, Upload

logger = logging.getLogger(__name__)

API_URL = "https://api.evolink.ai"
FILES_URL = "https://files-api.evolink.ai"
ATTEMPTS = 3
PAGE_SIZE = 50
MAX_PAUSE = 30.0
"""The longest ``Retry-After`` that is waited out, in seconds; the vendor's own clients do the same."""
PAUSE_BEFORE_SEARCH = 2.0
"""Seconds between a submission whose answer was lost and the search for its task."""
MAX_RETRYING = 40.0
"""Seconds after which a request that keeps failing is not tried again."""
REPEAT_SAFELY = (
    "Make exactly the same request again in a minute: that is safe, it continues this request instead of "
    "making a second one."
)
SLOWEST_UPLOAD = 20_000
"""Bytes a second that an upload needs at least, over its whole length."""
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
_WORTH_REPEATING = (Unreachable, LostAnswer, Busy, ServerFault, UnreadableAnswer)

T = TypeVar("T")
FindTask = Callable[[], Awaitable[Task | None]]
"""Finds the task of a submission whose answer was lost, or None where there is none."""


class Evolink:
    """The API as one key sees it. Cheap to make: the connections are given to it, and stay open.

    Args:
        key: the API key; it is sent to the two addresses below and to no others.
        connections: the connection pool.
        base_url: the API.
        files_url: the file service.

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
    ) -> None:
        if not re.fullmatch("[!-~]+", key.get_secret_value()):
            raise SettingsError("The Evolink API key is empty, or has characters that no key has.")
        self._key = key
        self._connections = connections
        self._base_url = base_url.rstrip("/")
        self._files_url = files_url.rstrip("/")

    async def task(self, task_id: str) -> Task:
        """Read a task. Free; retried within bounds.

        Raises:
            NotFound: when the API knows no such task, or none any more.
            EvolinkError: for everything else that can go wrong.
        """
        return Task.read((await self._read(f"/v1/tasks/{quote(task_id, safe='')}")).payload)

    async def credits(self) -> Credits:
        """Read what the account and the key have left. Free; retried within bounds."""
        return Credits.read((await self._read("/v1/credits")).payload)

    async def tasks(self, *, page: int = 1) -> Listing:
        """Read a page of the account's own tasks of this model, newest first. Free; retried within bounds.

        The vendor's own clients use this list; it is not in the public documentation.
        """
        reply = await self._read(f"/v1/tasks?model={MODEL}&page={page}&page_size={PAGE_SIZE}")
        return Listing.read(reply.payload, reply.headers.get("date", ""))

    async def upload(self, file_name: str, content: bytes, media_type: str) -> Upload:
        """Put a file into the file service, where it lives 72 hours. Free; retried within bounds."""
        url = f"{self._files_url}/api/v1/files/upload/stream"
        seconds = MAX_CALL + len(content) / SLOWEST_UPLOAD

        async def post() -> Reply:
            # As a file it is sent in pieces, each of which may take as long as a silence may.
            files = {"file": (file_name, io.BytesIO(content), media_type)}
            return await self._json("POST", url, seconds=seconds, files=files)

        return Upload.read((await _persist(post, _WORTH_REPEATING)).payload)

    async def submit(
        self, request: VideoRequest, *, idempotency_key: str, find_task: FindTask | None = None
    ) -> Task:
        """Request a video: the one call that costs credits.

        It is sent again, under the same key, where it surely was not accepted (no connection, rate
        limit, no capacity), and once more after an answer that was lost, unless ``find_task`` finds the
        task that the first one made.

        Args:
            request: what to make.
            idempotency_key: 16 to 96 letters, digits, dots, dashes and underscores; a repeat under the
                same key answers the same task, where the gateway honours it.
            find_task: how to find out whether a submission with a lost answer arrived.

        Raises:
            InvalidRequest: when the idempotency key is malformed; nothing was sent.
            OutcomeUnknown: when it is not known whether the request was accepted.
            EvolinkError: when it was refused; ``charged`` says whether that is certain.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidRequest(f"An idempotency key must match {_IDEMPOTENCY_KEY.pattern}.")
        try:
            return await self._submit(request, idempotency_key)
        except LostAnswer as lost:
            logger.warning("the answer of a submission was lost (%s); searching before repeating", lost)
        except OutcomeUnknown as error:
            raise _unknown(error) from error
        await anyio.sleep(PAUSE_BEFORE_SEARCH)
        found = await _found(find_task)
        if found is not None:
            return found
        try:
            return await self._submit(request, idempotency_key)
        except EvolinkError as error:  # the second answer says nothing about the first request
            raise _unknown(error) from error

    async def _submit(self, request: VideoRequest, idempotency_key: str) -> Task:
        """Submit, and again while the request surely was not accepted."""
        url, headers = f"{self._base_url}/v1/videos/generations", {"Idempotency-Key": idempotency_key}

        async def post() -> Task:
            reply = await self._connections.call(
                self._key, "POST", url, headers=headers, json=request.body(), paid=True
            )
            try:
                return Task.read(reply.payload)
            except UnreadableAnswer as error:  # probably accepted, but the answer is as good as lost
                raise LostAnswer(error.message, charged="unknown", status=reply.status) from error

        return await _persist(post, (Unreachable, Busy))

    async def _read(self, path: str) -> Reply:
        return await _persist(lambda: self._json("GET", self._base_url + path), _WORTH_REPEATING)

    async def _json(self, method: str, url: str, **body: Any) -> Reply:
        reply = await self._connections.call(self._key, method, url, **body)
        if reply.payload is None:
            raise UnreadableAnswer(
                f"Evolink answered HTTP {reply.status} with something that is not JSON.",
                next_step=ASK_LATER,
                status=reply.status,
            )
        return reply


async def _persist(call: Callable[[], Awaitable[T]], retried: tuple[type[EvolinkError], ...]) -> T:
    """Call, and again after an error of a ``retried`` kind, within bounds of number and time."""
    start = anyio.current_time()
    for attempt in range(1, ATTEMPTS):
        try:
            return await call()
        except retried as error:
            pause = _pause(error, attempt)
            if pause > MAX_PAUSE or anyio.current_time() - start + pause > MAX_RETRYING:
                raise
            logger.info("attempt %d failed (%s); again in %.1f s", attempt, error, pause)
        await anyio.sleep(pause)
    return await call()


async def _found(find_task: FindTask | None) -> Task | None:
    """What the search finds. Where it fails, that says nothing about the submission."""
    try:
        return await find_task() if find_task else None
    except OutcomeUnknown:
        raise
    except WanError as error:
        raise _unknown(error) from error


def _pause(error: EvolinkError, attempt: int) -> float:
    """Seconds until the next attempt: what the API asked for, else growing and with jitter."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0.5, 1.0) * 2.0 ** (attempt - 1)


def _unknown(error: WanError) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"It is not known whether Evolink accepted the request. {error.message}",
        next_step=REPEAT_SAFELY,
        charged="unknown",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
