"""A client of the Evolink API: one connection pool, one request function, careful with money."""

import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import anyio
import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
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
from wan_mcp.evolink.http_errors import Reply, error_of
from wan_mcp.evolink.requests import MODEL, VideoRequest
from wan_mcp.evolink.responses import Credits, Listing, Task, Upload, tidy

logger = logging.getLogger(__name__)

USER_AGENT = f"wan-mcp/{__version__}"
MAX_ANSWER = 1024 * 1024
"""The longest answer that is read, in bytes; real ones have a few hundred."""
ATTEMPTS = 3
PAGE_SIZE = 50
LONGEST_PAUSE = 30.0
"""The longest ``Retry-After`` that is waited out, in seconds; the vendor's own clients do the same."""
PAUSE_BEFORE_LOOK = 2.0
"""Seconds between a submission whose answer was lost and the look whether it arrived."""

LONGEST_CALL = 30.0
"""Seconds that one request may take in all, as in the vendor's own client."""
PATIENCE = 40.0
"""Seconds after which a request that keeps failing is not tried again."""
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)
_WORTH_REPEATING = (Unreachable, LostAnswer, Busy, ServerFault, UnreadableAnswer)

T = TypeVar("T")
Look = Callable[[], Awaitable[Task | None]]
"""Finds the task of a submission whose answer was lost, or None where there is none."""


class Evolink:
    """The endpoints that a video needs. Use it as an async context manager, or call ``aclose``.

    Args:
        key: the API key; it goes to the two addresses below and nowhere else.
        base_url: the API.
        files_url: the file service.
        transport: replaces the network, for tests.

    Raises:
        SettingsError: when the key is none that could be sent.
    """

    def __init__(
        self,
        key: SecretStr,
        *,
        base_url: str = "https://api.evolink.ai",
        files_url: str = "https://files-api.evolink.ai",
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        if not re.fullmatch("[!-~]+", key.get_secret_value()):
            raise SettingsError("The Evolink API key is empty, or has characters that no key has.")
        self._key = key
        self._base_url = base_url.rstrip("/")
        self._files_url = files_url.rstrip("/")
        self._transport = transport
        self._pool: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def task(self, task_id: str) -> Task:
        """Read a task. Free; retried within bounds.

        Raises:
            NotFound: when the API knows no such task, or none any more.
            EvolinkError: for everything else that can go wrong.
        """
        return Task.read(await self._read(f"/v1/tasks/{quote(task_id, safe='')}"))

    async def credits(self) -> Credits:
        """Read what the account and the key have left. Free; retried within bounds."""
        return Credits.read(await self._read("/v1/credits"))

    async def tasks(self, *, page: int = 1) -> Listing:
        """Read a page of the account's own tasks of this model, newest first. Free; retried within bounds.

        The vendor's own clients use this list; it is not in the public documentation.
        """
        query = f"?model={MODEL}&page={page}&page_size={PAGE_SIZE}"
        reply = await _persist(
            lambda: self._json("GET", f"{self._base_url}/v1/tasks{query}"), _WORTH_REPEATING
        )
        return Listing.read(reply.payload, reply.headers.get("date", ""))

    async def upload(self, file_name: str, content: bytes, media_type: str) -> Upload:
        """Put a file into the file service, where it lives 72 hours. Free; retried within bounds."""
        files = {"file": (file_name, content, media_type)}
        url = f"{self._files_url}/api/v1/files/upload/stream"
        reply = await _persist(lambda: self._json("POST", url, files=files), _WORTH_REPEATING)
        return Upload.read(reply.payload)

    async def submit(self, request: VideoRequest, *, idempotency_key: str, look: Look | None = None) -> Task:
        """Ask for a video: the one call that costs credits.

        It is sent again, under the same key, where it surely was not accepted (no connection, rate
        limit, no capacity), and once more after an answer that was lost, unless ``look`` finds the
        task that the first one made.

        Args:
            request: what to make.
            idempotency_key: 16 to 96 letters, digits, dots, dashes and underscores; a repeat under the
                same key answers the same task, where the gateway honours it.
            look: how to find out whether a submission with a lost answer arrived.

        Raises:
            InvalidRequest: when the key is no such key; nothing was sent.
            OutcomeUnknown: when it cannot be known whether the request was accepted.
            EvolinkError: when it was refused; ``charged`` says whether that is certain.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise InvalidRequest(f"An idempotency key must match {_IDEMPOTENCY_KEY.pattern}.")
        try:
            return await self._submit_surely(request, idempotency_key)
        except LostAnswer as lost:
            logger.warning("the answer of a submission was lost (%s); looking before repeating", lost)
        except OutcomeUnknown as error:
            raise _unknown(error) from error
        await anyio.sleep(PAUSE_BEFORE_LOOK)
        found = await _found(look)
        if found is not None:
            return found
        try:
            return await self._submit_surely(request, idempotency_key)
        except EvolinkError as error:  # whatever came now says nothing of the first one
            raise _unknown(error) from error

    async def _submit_surely(self, request: VideoRequest, idempotency_key: str) -> Task:
        """Submit, and again while the request surely was not accepted."""
        url, headers = f"{self._base_url}/v1/videos/generations", {"Idempotency-Key": idempotency_key}

        async def post() -> Task:
            reply = await self._call("POST", url, headers=headers, json=request.body(), paid=True)
            try:
                return Task.read(reply.payload)
            except UnreadableAnswer as error:  # accepted, it seems, but the answer is as good as lost
                raise LostAnswer(error.message, charged="unknown", status=reply.status) from error

        return await _persist(post, (Unreachable, Busy))

    async def _read(self, path: str) -> Any:
        url = self._base_url + path
        return (await _persist(lambda: self._json("GET", url), _WORTH_REPEATING)).payload

    async def _json(self, method: str, url: str, **body: Any) -> Reply:
        reply = await self._call(method, url, **body)
        if reply.payload is None:
            raise UnreadableAnswer(
                f"Evolink answered HTTP {reply.status} with something that is not JSON.",
                next_step="Wait a little, then ask again.",
                status=reply.status,
            )
        return reply

    async def _call(
        self,
        method: str,
        url: str,
        *,
        paid: bool = False,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Reply:
        """The one request function: key, time-outs, bounded reading, errors.

        Raises:
            EvolinkError: the error that the answer stands for, or that kept it from coming.
        """
        own = {"Authorization": f"Bearer {self._key.get_secret_value()}", **(headers or {})}
        with _network_errors(paid):
            with anyio.fail_after(LONGEST_CALL):
                async with self._http().stream(method, url, headers=own, **body) as response:
                    content = await _bounded(response)
        logger.debug("%s %s: HTTP %d", method, response.url.path, response.status_code)
        reply = self._without_key(response, content)
        if not reply.ok:
            raise error_of(reply, paid=paid)
        return reply

    def _without_key(self, response: httpx2.Response, content: bytes) -> Reply:
        """Some gateways repeat a wrong key to whoever sent it; from here on it could reach a log."""
        key, mark = self._key.get_secret_value(), "[the key]"
        told = {name: value.replace(key, mark) for name, value in response.headers.items()}
        return Reply(response.status_code, told, content.replace(key.encode(), mark.encode()))

    def _http(self) -> httpx2.AsyncClient:
        """The connection pool, made when it is first needed: reading the trust store takes a while."""
        if self._pool is None:
            self._pool = self._open()
        return self._pool

    def _open(self) -> httpx2.AsyncClient:
        try:
            return httpx2.AsyncClient(
                transport=self._transport,
                # A compressed answer could not be bounded before it is unpacked.
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=httpx2.Timeout(20, connect=10),
                limits=httpx2.Limits(max_connections=40, max_keepalive_connections=20),
                follow_redirects=False,
                # This machine itself is never behind the proxy that the environment names.
                mounts=dict.fromkeys(("all://127.0.0.0/8", "all://localhost", "all://[::1]")),
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise Unreachable(
                "The proxy or the certificates that the environment names cannot be used.",
                next_step="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
            ) from error


async def _persist(call: Callable[[], Awaitable[T]], retried: tuple[type[EvolinkError], ...]) -> T:
    """Call, and again after an error of a ``retried`` kind, within bounds of number and time."""
    start = anyio.current_time()
    for attempt in range(1, ATTEMPTS):
        try:
            return await call()
        except retried as error:
            pause = _pause(error, attempt)
            if pause > LONGEST_PAUSE or anyio.current_time() - start + pause > PATIENCE:
                raise
            logger.info("attempt %d failed (%s); again in %.1f s", attempt, error, pause)
        await anyio.sleep(pause)
    return await call()


async def _found(look: Look | None) -> Task | None:
    """What a look finds. Where it fails, that says nothing of the submission."""
    try:
        return await look() if look else None
    except OutcomeUnknown:
        raise
    except WanError as error:
        raise _unknown(error) from error


def _pause(error: EvolinkError, attempt: int) -> float:
    """Seconds until the next attempt: what the API asked for, else growing and spread."""
    if error.retry_after is not None:
        return error.retry_after
    return random.uniform(0.5, 1.0) * 2.0 ** (attempt - 1)


async def _bounded(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise httpx2.RemoteProtocolError("the answer is too long")
    return bytes(content)


@contextmanager
def _network_errors(paid: bool) -> Iterator[None]:
    """What the HTTP library raises becomes one of ours: was it sent, or surely not?"""
    try:
        yield
    except _NOT_SENT as error:
        raise Unreachable(
            f"No connection to Evolink could be made ({_reason(error)}).",
            next_step="Check the network, a proxy that may be needed, and EVOLINK_BASE_URL.",
        ) from error
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
        raise LostAnswer(
            f"Evolink's answer did not arrive ({_reason(error)}).",
            next_step="Wait a little, then ask again.",
            charged="unknown" if paid else "no",
        ) from error


def _reason(error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    return tidy(words, 120)


def _unknown(error: WanError) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"It is not known whether Evolink accepted the request. {error.message}",
        next_step=(
            "Ask for exactly the same again in a minute: that is safe, it goes on with this request "
            "instead of making a second one."
        ),
        charged="unknown",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
