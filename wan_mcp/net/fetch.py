"""Fetching from addresses that somebody else chose, without being led into a private network.

Only http and https are allowed, and no user names. Every IP address that a name resolves to must be
public. The name is resolved once, here, and the connection goes to an IP address that was checked. Each
redirect is checked in the same way. No key, cookie or authorization is ever sent.

Where the environment names a proxy for an address (``HTTPS_PROXY``, ``NO_PROXY`` and so on, as the
standard library reads them), the name is checked here too, but the proxy makes the connection and
decides which IP address it reaches. A name that only the proxy can resolve is left to the proxy.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlunsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx2

from wan_mcp import __version__
from wan_mcp.errors import AddressRefused, FetchFailed, SettingsError
from wan_mcp.net.addresses import (
    NOT_A_URL,
    IPAddress,
    canonical_host,
    is_public_ip,
    is_public_name,
    is_this_machine,
    parse_ip,
    shown,
    split,
)
from wan_mcp.net.names import Resolve, look_up
from wan_mcp.net.trust import CHECK_THEM, UNUSABLE, Trust

MAX_REDIRECTS = 5
MAX_ADDRESSES = 4
"""How many addresses of one name are tried before giving up."""
MAX_LENGTH = 8192
DEADLINE = 60.0
"""Seconds for a whole fetch, redirects and body included."""

_TIMEOUT = httpx2.Timeout(20, connect=10)
_NEVER_SENT = ("authorization", "cookie", "proxy-authorization", "host")
_ELSEWHERE = "Give an address on the public internet that opens without a login."
_UNKNOWN_HOST = "the host name is unknown"


@dataclass(frozen=True)
class Checked:
    """An address that may be connected to."""

    url: httpx2.URL
    """The address in its one canonical spelling."""
    connect_to: tuple[str, ...]
    """The IP addresses that were checked; empty where only a proxy knows them."""


class PublicFetcher:
    """Fetches what is at an address, if that address is public.

    Args:
        allow_private: whether addresses in private networks may be connected to.
        public: decides whether an IP address may be connected to.
        resolve: looks up names.
        transport: makes the connections; with one, the proxies of the environment are not used.
        trust: the certificates to trust, where others share them.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        public: Callable[[IPAddress], bool] = is_public_ip,
        resolve: Resolve | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._public = public
        self._resolve = resolve or look_up
        self._given = transport
        self._trust = trust or Trust()
        self._transports: dict[str | None, httpx2.AsyncBaseTransport] = {}

    async def aclose(self) -> None:
        """Close every connection."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()
        if self._given is not None:
            await self._given.aclose()

    @asynccontextmanager
    async def stream(
        self, address: str, *, headers: Mapping[str, str] | None = None, deadline: float = DEADLINE
    ) -> AsyncIterator[httpx2.Response]:
        """Request an address, and yield the answer, whatever its status; its body is not read yet.

        The body comes as it is stored (``Accept-Encoding: identity``) unless ``headers`` say
        otherwise. ``response.url`` is where the redirects ended.

        Raises:
            AddressRefused: when the address, or one that it redirects to, must not be connected to.
            FetchFailed: when no complete answer came within ``deadline`` seconds.
            SettingsError: when the environment names a proxy that cannot be used.
        """
        with anyio.move_on_after(deadline) as scope:
            try:
                response = await self._follow(address, headers or {})
                try:
                    yield response
                finally:
                    with anyio.move_on_after(2, shield=True):
                        await response.aclose()
            except httpx2.HTTPError as error:
                raise _failure(address, error) from error
        if scope.cancelled_caught:
            raise FetchFailed(f"{shown(address)} did not answer in full within {deadline:g} seconds")

    async def check(self, address: str) -> Checked:
        """Apply the rules to an address, without connecting to it.

        Raises:
            AddressRefused: when it must not be connected to.
            FetchFailed: when its name is unknown.
        """
        url = canonical(address)
        host = url.raw_host.decode()
        found = await self._addresses(url, host)
        if not self._allow_private and not all(self._public(ip) for ip in found):
            raise AddressRefused(f"{shown(address)} leads to a private network address", next_step=_ELSEWHERE)
        return Checked(url, tuple(str(ip) for ip in found[:MAX_ADDRESSES]))

    async def _addresses(self, url: httpx2.URL, host: str) -> list[IPAddress]:
        literal = parse_ip(host)
        if literal is not None:
            return [literal]
        if not self._allow_private and not is_public_name(host):
            raise AddressRefused(f"{shown(str(url))} is a name in a private network", next_step=_ELSEWHERE)
        try:
            found = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError):
            found = []
        if not found and self._proxy_for(url) is None:
            raise FetchFailed(f"{shown(str(url))}: {_UNKNOWN_HOST}")
        return [_parsed(text, url) for text in found]

    async def _follow(self, address: str, headers: Mapping[str, str]) -> httpx2.Response:
        origin = shown(address)
        for hop in range(MAX_REDIRECTS + 1):
            try:
                checked = await self.check(address)
            except AddressRefused as error:
                if hop == 0:
                    raise
                text = f"{origin} redirects to an address that is refused: {error.message}"
                raise AddressRefused(text, next_step=error.next_step) from None
            response = await self._send(checked, headers)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            address = _target(checked.url, response.headers["location"], origin)
        raise FetchFailed(f"{origin} redirects more than {MAX_REDIRECTS} times")

    async def _send(self, checked: Checked, headers: Mapping[str, str]) -> httpx2.Response:
        proxy = self._proxy_for(checked.url)
        transport = await self._transport(proxy)
        named = _request(checked.url, headers)
        if proxy is not None:
            response = await transport.handle_async_request(named)
        else:
            response = await _first_answer(transport, named, checked.connect_to)
        response.request = named
        return response

    def _proxy_for(self, url: httpx2.URL) -> str | None:
        if self._given is not None or is_this_machine(url.host):
            return None
        proxies = getproxies()
        proxy = proxies.get(url.scheme) or proxies.get("all")
        if not proxy or proxy_bypass(url.raw_host.decode()):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    async def _transport(self, proxy: str | None) -> httpx2.AsyncBaseTransport:
        """Connections are not kept alive: one that was opened for a name must not serve another name."""
        if self._given is not None:
            return self._given
        if proxy not in self._transports:
            try:
                transport = httpx2.AsyncHTTPTransport(
                    verify=await self._trust.context(),
                    proxy=proxy,
                    limits=httpx2.Limits(max_keepalive_connections=0),
                )
            except (OSError, ValueError, ImportError, httpx2.InvalidURL):
                raise SettingsError(UNUSABLE, next_step=CHECK_THEM) from None
            return self._transports.setdefault(proxy, transport)
        return self._transports[proxy]


def canonical(address: str) -> httpx2.URL:
    """The one spelling of a web address: plain ASCII, a checked host, no fragment.

    Raises:
        AddressRefused: when it is not a web address, or can be read in more than one way.
    """
    if len(address) > MAX_LENGTH:
        text = f"the address has {len(address)} characters; at most {MAX_LENGTH} are allowed"
        raise AddressRefused(text, next_step=_ELSEWHERE)
    try:
        parts = split(address)
        if parts.scheme not in ("http", "https"):
            raise ValueError("is neither an http nor an https address")
        host = canonical_host(parts.hostname or "")
        netloc = f"[{host}]" if ":" in host else host
        netloc += f":{parts.port}" if parts.port is not None else ""
        url = httpx2.URL(urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")))
        if url.raw_host.decode() != host or url.port == 0:
            raise ValueError(NOT_A_URL)
    except ValueError as error:
        raise AddressRefused(f"{shown(address)} {error}", next_step=_ELSEWHERE) from None
    except httpx2.InvalidURL:
        raise AddressRefused(f"{shown(address)} {NOT_A_URL}", next_step=_ELSEWHERE) from None
    return url


def _parsed(text: str, url: httpx2.URL) -> IPAddress:
    ip = parse_ip(text)
    if ip is None:
        raise AddressRefused(f"{shown(str(url))} does not lead to an IP address", next_step=_ELSEWHERE)
    return ip


def _request(url: httpx2.URL, headers: Mapping[str, str]) -> httpx2.Request:
    sent = {"accept": "*/*", "accept-encoding": "identity"}
    sent |= {name.lower(): value for name, value in headers.items() if name.lower() not in _NEVER_SENT}
    sent["user-agent"] = f"wan-mcp/{__version__}"
    return httpx2.Request("GET", url, headers=sent, extensions={"timeout": _TIMEOUT.as_dict()})


async def _first_answer(
    transport: httpx2.AsyncBaseTransport, named: httpx2.Request, addresses: tuple[str, ...]
) -> httpx2.Response:
    """Send the request, under its own name, to the first of the IP addresses that accepts a connection."""
    name = named.url.raw_host.decode()
    extensions = dict(named.extensions) | ({} if parse_ip(name) else {"sni_hostname": name})
    for address in addresses:
        request = httpx2.Request(
            "GET", named.url.copy_with(host=address), headers=named.headers, extensions=extensions
        )
        try:
            return await transport.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            if address == addresses[-1]:
                raise
    raise FetchFailed(f"{shown(str(named.url))}: {_UNKNOWN_HOST}")


def _target(url: httpx2.URL, location: str, origin: str) -> str:
    try:
        return urljoin(str(url), location)
    except ValueError:
        raise AddressRefused(
            f"{origin} redirects to something that is not a URL", next_step=_ELSEWHERE
        ) from None


def _failure(address: str, error: httpx2.HTTPError) -> FetchFailed:
    if isinstance(error, httpx2.TimeoutException):
        what = "did not answer in time"
    elif any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        what = "has a TLS certificate that cannot be trusted, or no TLS"
    elif isinstance(error, httpx2.ConnectError):
        what = "refused the connection"
    elif isinstance(error, httpx2.ProxyError):
        what = "was refused by the proxy that the environment names"
    else:
        what = "ended the transfer early"
    return FetchFailed(f"{shown(address)} {what}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
