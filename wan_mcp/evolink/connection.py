"""HTTP to the API: the connection pool that all keys share, and the one function that makes a request."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
from wan_mcp.errors import LostAnswer, Unreachable
from wan_mcp.evolink.http_errors import Reply
from wan_mcp.evolink.redaction import tidy, without_key
from wan_mcp.evolink.responses import ASK_LATER
from wan_mcp.net.addresses import is_this_machine
from wan_mcp.net.trust import CHECK_THEM, UNUSABLE, Trust

logger = logging.getLogger(__name__)

USER_AGENT = f"wan-mcp/{__version__}"
MAX_ANSWER = 1024 * 1024
"""The longest answer that is read, in bytes; real ones have a few hundred."""
MAX_CALL = 30.0
"""Seconds that one request may take in all, as in the vendor's own client; an upload may take longer."""
MAX_CONNECTING = 10.0
"""Seconds for connecting, a proxy and TLS included."""
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
_LIMITS = httpx2.Limits(max_connections=40, max_keepalive_connections=20)
_PAID = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
"""A new connection for each request, see ``call_paid``; the callers bound their number."""


class Connections:
    """Connection pools, opened when first needed: reading the trust store takes tens of milliseconds.

    Paid and free requests have separate pools. So have requests to this machine, which use no proxy even
    where the environment names one.

    Use it as an async context manager, or call ``aclose``.

    Args:
        transport: replaces the network, for tests.
        trust: the certificates to trust, where others share them.
    """

    def __init__(
        self, transport: httpx2.AsyncBaseTransport | None = None, trust: Trust | None = None
    ) -> None:
        self._transport = transport
        self._trust = trust or Trust()
        self._pools: dict[tuple[bool, bool], httpx2.AsyncClient] = {}
        """A pool's key says whether it is for paid requests, and whether for this machine."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a later call opens them again."""
        while self._pools:
            await self._pools.popitem()[1].aclose()

    async def open(self, url: str) -> None:
        """Prepare for the first requests to an address, which then take less time. Nothing is sent.

        Raises:
            Unreachable: when the environment names a proxy or certificates that cannot be used.
        """
        for paid in (False, True):
            await self._pool(url, paid=paid)

    async def call(
        self,
        key: SecretStr,
        method: str,
        url: str,
        *,
        seconds: float = MAX_CALL,
        **body: Any,
    ) -> Reply:
        """Make a free request with the key, within bounds of time and size.

        Args:
            key: the API key.
            method: the HTTP method.
            url: the whole address.
            seconds: how long the request may take in all; it also ends after 20 seconds without any data.
            body: ``json=`` or ``files=``, as HTTPX takes them.

        Raises:
            Unreachable: when nothing was sent.
            LostAnswer: when no complete answer came.
        """
        with _network_errors(paid=False), anyio.fail_after(seconds):
            return await self._exchange(await self._pool(url), key, method, url, {}, **body)

    async def call_paid(
        self,
        key: SecretStr,
        url: str,
        *,
        headers: Mapping[str, str],
        writing: Callable[[], None],
        **body: Any,
    ) -> Reply:
        """Make a POST that costs credits when it is accepted, on a new connection.

        The other side may close a used connection while the request is being written; then it would not be
        known whether the request arrived. The time limit counts from the writing.

        Args:
            key: the API key.
            url: the whole address.
            headers: sent besides the key.
            writing: called when the connection is made and the request is about to be written; if it
                raises, the request is not sent.
            body: ``json=``, as HTTPX takes it.

        Raises:
            Unreachable: when the request was surely not sent.
            LostAnswer: when it may have arrived.
        """
        connected = self._transport is not None  # a test's transport may not report when it writes
        connecting = MAX_PAID_CALL if connected else MAX_CONNECTING
        scope = anyio.CancelScope(deadline=anyio.current_time() + connecting)

        async def trace(event: str, details: Mapping[str, Any]) -> None:
            nonlocal connected
            # A proxy's CONNECT belongs to connecting.
            if event in _TRACED and details["request"].method != b"CONNECT":
                writing()
                connected = True
                scope.deadline = anyio.current_time() + MAX_PAID_CALL

        with _network_errors(paid=True):
            with scope:
                pool = await self._pool(url, paid=True)
                return await self._exchange(
                    pool, key, "POST", url, headers, extensions={"trace": trace}, **body
                )
            raise TimeoutError if connected else httpx2.ConnectTimeout("connecting took too long")

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
        secret = key.get_secret_value()
        shown = without_key(dict(response.headers), secret)
        return Reply(response.status_code, shown, content, secret, arrived)

    async def _pool(self, url: str, *, paid: bool = False) -> httpx2.AsyncClient:
        here = is_this_machine(httpx2.URL(url).host)
        if (paid, here) in self._pools:
            return self._pools[paid, here]
        limits = _PAID if paid else _LIMITS
        try:
            trust = True if self._transport is not None else await self._trust.context()
            # A client that is given its transport uses no proxy.
            direct = httpx2.AsyncHTTPTransport(verify=trust, limits=limits) if here else None
            pool = httpx2.AsyncClient(
                transport=self._transport or direct,
                verify=trust,
                # The length of a compressed answer is not known before it is unpacked.
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                # A cookie that came with one key's answer must not be sent with another key.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                timeout=httpx2.Timeout(MAX_PAID_CALL if paid else 20, connect=MAX_CONNECTING),
                limits=limits,
                follow_redirects=False,
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise Unreachable(UNUSABLE, next_step=CHECK_THEM) from error
        # Another call may have made the pool while the certificates were read.
        return self._pools.setdefault((paid, here), pool)


async def _bounded(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise httpx2.RemoteProtocolError("the answer is too long")
    return bytes(content)


@contextmanager
def _network_errors(paid: bool) -> Iterator[None]:
    """Turn the HTTP library's errors into ours: the request was surely not sent, or it may have been."""
    try:
        yield
    except _NOT_SENT as error:
        raise Unreachable(
            f"No connection to Evolink could be made ({_reason(error)}).",
            next_step="Check the network, the proxy if one is needed, and EVOLINK_BASE_URL.",
        ) from error
    except (httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
        raise LostAnswer(
            f"Evolink's answer did not arrive ({_reason(error)}).",
            next_step=ASK_LATER,
            charged="unknown" if paid else "no",
        ) from error


def _reason(error: Exception) -> str:
    return tidy(str(error).strip() or type(error).__name__, 120)
