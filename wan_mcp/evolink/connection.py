"""HTTP to the API: the connection pool that all keys share, and the one function that makes a request."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
from wan_mcp.errors import LostAnswer, Unreachable
from wan_mcp.evolink.http_errors import Reply, error_of
from wan_mcp.evolink.redaction import tidy, without_key
from wan_mcp.evolink.responses import ASK_LATER
from wan_mcp.net.addresses import is_this_machine

logger = logging.getLogger(__name__)

USER_AGENT = f"wan-mcp/{__version__}"
MAX_ANSWER = 1024 * 1024
"""The longest answer that is read, in bytes; real ones have a few hundred."""
MAX_CALL = 30.0
"""Seconds that one request may take in all, as in the vendor's own client; an upload gets more."""
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


_LIMITS = httpx2.Limits(max_connections=40, max_keepalive_connections=20)


class Connections:
    """Connection pools, opened when first needed: reading the trust store takes tens of milliseconds.

    The proxy that the environment names is used by one of them. The other one is for this machine itself:
    neither the sandbox nor the key on its way there is a proxy's business.

    Use it as an async context manager, or call ``aclose``.

    Args:
        transport: replaces the network, for tests.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._pools: dict[bool, httpx2.AsyncClient] = {}

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

    async def call(
        self,
        key: SecretStr,
        method: str,
        url: str,
        *,
        paid: bool = False,
        headers: Mapping[str, str] | None = None,
        seconds: float = MAX_CALL,
        **body: Any,
    ) -> Reply:
        """Make a request: key, time-outs, bounded reading, errors.

        Args:
            key: the API key.
            method: the HTTP method.
            url: the whole address.
            paid: whether the request costs credits when it is accepted.
            headers: sent besides the key.
            seconds: how long it may take in all; it also ends when nothing moves for 20 seconds.
            body: ``json=`` or ``files=``, as HTTPX takes them.

        Raises:
            EvolinkError: the error that the answer stands for, or that kept it from coming.
        """
        sent = {"Authorization": f"Bearer {key.get_secret_value()}", **(headers or {})}
        with _network_errors(paid):
            with anyio.fail_after(seconds):
                async with self._open(url).stream(method, url, headers=sent, **body) as response:
                    content = await _bounded(response)
        logger.debug("%s %s: HTTP %d", method, response.url.path, response.status_code)
        secret = key.get_secret_value()
        reply = Reply(response.status_code, without_key(dict(response.headers), secret), content, secret)
        if not reply.ok:
            raise error_of(reply, paid=paid)
        return reply

    def _open(self, url: str) -> httpx2.AsyncClient:
        here = is_this_machine(httpx2.URL(url).host)
        if here in self._pools:
            return self._pools[here]
        try:
            # A client that is given its transport uses no proxy.
            direct = httpx2.AsyncHTTPTransport(limits=_LIMITS) if here else None
            self._pools[here] = httpx2.AsyncClient(
                transport=self._transport or direct,
                # A compressed answer could not be bounded before it is unpacked.
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=httpx2.Timeout(20, connect=10),
                limits=_LIMITS,
                follow_redirects=False,
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            raise Unreachable(
                "The proxy or the certificates that the environment names cannot be used.",
                next_step="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
            ) from error
        return self._pools[here]


async def _bounded(response: httpx2.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise httpx2.RemoteProtocolError("the answer is too long")
    return bytes(content)


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
