"""HTTP to the API: the connection pool that all keys share, and the one function that makes a request."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
from wan_mcp.errors import LostAnswer, Unreachable
from wan_mcp.evolink.http_errors import Reply
from wan_mcp.evolink.responses import ASK_LATER, tidy

logger = logging.getLogger(__name__)

USER_AGENT = f"wan-mcp/{__version__}"
MAX_ANSWER = 1024 * 1024
"""The longest answer that is read, in bytes; real ones have a few hundred."""
MAX_CALL = 30.0
"""Seconds that one request may take in all, as in the vendor's own client."""
MAX_CONNECTING = 10.0
MAX_PAID_CALL = 60.0
"""Seconds from the writing of a paid request to the end of its answer."""
_TRACED = ("http11.send_request_headers.started", "http2.send_request_headers.started")
"""What the HTTP library reports when it begins to write a request."""
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


class Connections:
    """A connection pool, opened when it is first needed: reading the trust store takes tens of milliseconds.

    Use it as an async context manager, or call ``aclose``.

    Args:
        transport: replaces the network, for tests.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._pool: httpx2.AsyncClient | None = None
        self._paid: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a later call opens them again."""
        pools, self._pool, self._paid = (self._paid, self._pool), None, None
        for pool in pools:
            if pool is not None:
                await pool.aclose()

    async def call(
        self, key: SecretStr, method: str, url: str, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Reply:
        """Make a free request: key, time-outs, bounded reading.

        Args:
            key: the API key.
            method: the HTTP method.
            url: the whole address.
            headers: sent besides the key.
            body: ``json=`` or ``files=``, as HTTPX takes them.

        Raises:
            EvolinkError: the one that kept an answer from coming.
        """
        with _network_errors(paid=False), anyio.fail_after(MAX_CALL):
            self._pool = self._pool or self._open(40, kept=20)
            return await self._exchange(self._pool, key, method, url, headers or {}, **body)

    async def call_paid(
        self,
        key: SecretStr,
        url: str,
        *,
        headers: Mapping[str, str],
        writing: Callable[[], None],
        **body: Any,
    ) -> Reply:
        """Make a POST that costs credits when it is accepted, on a connection of its own.

        A connection that was used before may be closed by the other side at the moment at which the
        request is written: it would not be known whether it arrived. Time counts from the writing on.

        Args:
            key: the API key.
            url: the whole address.
            headers: sent besides the key.
            writing: called when the connection stands and the request is about to be written; what it
                raises keeps the request from being sent.
            body: ``json=``, as HTTPX takes it.

        Raises:
            Unreachable: when it was surely not sent.
            LostAnswer: when it may have arrived.
        """
        scope = anyio.CancelScope(deadline=anyio.current_time() + MAX_CONNECTING + MAX_PAID_CALL)

        async def trace(event: str, details: Mapping[str, Any]) -> None:
            # A proxy's CONNECT belongs to connecting.
            if event in _TRACED and details["request"].method != b"CONNECT":
                writing()
                scope.deadline = anyio.current_time() + MAX_PAID_CALL

        with _network_errors(paid=True):
            self._paid = self._paid or self._open(None, kept=0)
            with scope:
                extensions = {"trace": trace}
                return await self._exchange(
                    self._paid, key, "POST", url, headers, extensions=extensions, **body
                )
            raise TimeoutError

    async def _exchange(
        self,
        pool: httpx2.AsyncClient,
        key: SecretStr,
        method: str,
        url: str,
        headers: Mapping[str, str],
        **body: Any,
    ) -> Reply:
        sent = {"Authorization": f"Bearer {key.get_secret_value()}", **headers}
        async with pool.stream(method, url, headers=sent, **body) as response:
            arrived = anyio.current_time()
            content = await _bounded(response)
        logger.debug("%s %s: HTTP %d", method, response.url.path, response.status_code)
        return _without_key(response, content, key.get_secret_value(), arrived)

    def _open(self, connections: int | None, *, kept: int) -> httpx2.AsyncClient:
        try:
            return httpx2.AsyncClient(
                transport=self._transport,
                # A compressed answer could not be bounded before it is unpacked.
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=httpx2.Timeout(20 if kept else MAX_PAID_CALL, connect=MAX_CONNECTING),
                limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=kept),
                follow_redirects=False,
                # The proxy that the environment names is never used for this machine itself.
                mounts=dict.fromkeys(("all://127.0.0.0/8", "all://localhost", "all://[::1]")),
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise Unreachable(
                "The proxy or the certificates that the environment names cannot be used.",
                next_step="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
            ) from error


async def _bounded(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise httpx2.RemoteProtocolError("the answer is too long")
    return bytes(content)


def _without_key(response: httpx2.Response, content: bytes, key: str, arrived: float) -> Reply:
    """Some gateways repeat a wrong key to the client that sent it; from here on it could reach a log."""
    mark = "[the key]"
    headers = {name: value.replace(key, mark) for name, value in response.headers.items()}
    return Reply(response.status_code, headers, content.replace(key.encode(), mark.encode()), arrived)


@contextmanager
def _network_errors(paid: bool) -> Iterator[None]:
    """What the HTTP library raises becomes one of our errors: surely not sent, or perhaps."""
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
            next_step=ASK_LATER,
            charged="unknown" if paid else "no",
        ) from error


def _reason(error: Exception) -> str:
    return tidy(str(error).strip() or type(error).__name__, 120)
