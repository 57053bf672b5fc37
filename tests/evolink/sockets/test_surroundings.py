"""Proxies and certificates that the environment names."""

import socket
from contextlib import suppress

import anyio
import pytest

from tests.evolink.gateway import ONCE, REQUEST
from tests.evolink.sockets.conftest import Authority
from tests.evolink.sockets.peers import (
    FAR,
    LONGEST,
    OKAY,
    always,
    answer,
    client,
    failures,
    is_unreachable,
    listening,
    tunnel_to,
)
from tests.world import KEY
from wan_mcp.errors import LostAnswer, Unreachable
from wan_mcp.evolink import Credits
from wan_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a host that is not this machine."""
    async with listening(OKAY) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with client(f"http://{FAR}") as evolink:
            assert await evolink.credits() == Credits(remaining=7)
    assert proxy.lines() == [f"GET http://{FAR}/v1/credits HTTP/1.1"]


def is_ours(host: str) -> bool:
    """Whether one can listen there; not every system has all of them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "spelling",
    [
        *("127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "LOCALHOST", "localhost."),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ],
)
async def test_this_machine_is_itself_in_every_spelling(
    monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    """Where the settings take http because it is this machine, the key does not go to a proxy in clear."""
    async with listening(OKAY) as proxy, listening(OKAY) as api:
        url = f"http://{spelling}:{api.port}"
        settings = Settings.load({"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": url})
        assert settings.base_url == url
        for name in ("HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with client(url) as evolink:
            with suppress(Unreachable):  # not every system reads every spelling
                assert await evolink.credits() == Credits(remaining=7)
            with suppress(Unreachable, LostAnswer):
                await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
async def test_a_proxy_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    """Neither the sandbox nor the key on its way there is a proxy's business."""
    if not is_ours(host):
        pytest.skip(f"this machine has no {host}")
    async with listening(OKAY) as proxy, listening(OKAY, host=host) as api, client(api.url) as evolink:
        monkeypatch.setenv(name, proxy.url)
        assert await evolink.credits() == Credits(remaining=7)
    assert (api.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
async def test_a_proxy_that_refuses_is_no_connection(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """The request did not leave, and the key stayed here."""
    async with listening(always(answer(b"", status), ends=True)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert is_unreachable(*await failures(f"https://{FAR}"))
    assert proxy.lines() == [f"CONNECT {FAR}:443 HTTP/1.1"] * 2
    assert not any(KEY.encode() in request for request in proxy.requests)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "gopher://user:secret@127.0.0.1:1"),
        ("HTTPS_PROXY", "http://user:secret@127.0.0.1:port"),
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1"),
        ("HTTPS_PROXY", "http://user:secret@127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nowhere/secret.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
async def test_surroundings_that_cannot_be_used_are_no_connection(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """It is said what to look at, and not what is in it."""
    monkeypatch.setenv(name, value)
    with anyio.fail_after(LONGEST):
        free, paid = await failures(f"https://{FAR}")
    assert is_unreachable(free, paid)
    assert "secret" not in f"{free} {paid}"


async def test_a_private_authority_from_the_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """As behind a company's inspecting proxy."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with listening(OKAY, tls=authority.server) as api, client(api.url) as evolink:
        assert await evolink.credits() == Credits(remaining=7)
    assert api.heads()[0]["authorization"] == f"Bearer {KEY}"


async def test_a_certificate_that_nobody_vouches_for_is_no_connection(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """Nothing is sent to a server that the system's own trust store does not know."""
    monkeypatch.delenv("SSL_CERT_DIR")
    async with listening(OKAY, tls=authority.server) as api:
        free, paid = await failures(api.url)
    assert is_unreachable(free, paid)
    assert "CERTIFICATE_VERIFY_FAILED" in free.message
    assert api.requests == []


async def test_a_certificate_of_another_host_is_no_connection(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """A trusted signature is not enough."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with listening(OKAY, tls=authority.server) as api:
        assert is_unreachable(*await failures(f"https://localhost:{api.port}"))
    assert api.requests == []


async def test_https_goes_through_a_proxy_unread(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """The proxy learns the host, and neither the key nor the path."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with listening(OKAY, tls=authority.server) as api, listening(tunnel_to(api)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client(f"https://{FAR}") as evolink:
            for _ in range(3):
                assert await evolink.credits() == Credits(remaining=7)
    assert proxy.lines() == [f"CONNECT {FAR}:443 HTTP/1.1"]
    assert "authorization" not in proxy.heads()[0]
    assert api.lines() == ["GET /v1/credits HTTP/1.1"] * 3
    assert {head["authorization"] for head in api.heads()} == {f"Bearer {KEY}"}
