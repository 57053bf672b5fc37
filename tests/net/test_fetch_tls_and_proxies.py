"""The certificate is checked against the name, and a proxy does not switch the checks off."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.net.sites import Names, Visit, only, showing, site
from wan_mcp.errors import AddressRefused, FetchFailed, SettingsError
from wan_mcp.net.fetch import PublicFetcher

pytestmark = pytest.mark.anyio

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def certificate(folder: Path, name: str) -> Path:
    """A certificate for one name, its key, and itself as the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


async def test_the_server_is_asked_for_by_name_and_its_certificate_checked_against_the_name(
    tmp_path: Path,
) -> None:
    path = certificate(tmp_path, "pics.example")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    client = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=str(path)))
    names = Names(pics_example="127.0.0.1", other_example="127.0.0.1")
    fetcher = PublicFetcher(public=only("127.0.0.1"), resolve=names, transport=client)

    async with site(showing(b"cat"), tls=server) as public:
        async with fetcher.stream(f"https://pics.example:{public.port}/") as response:
            assert await response.aread() == b"cat"
        with pytest.raises(FetchFailed, match=r"^other\.example/ has a TLS certificate that cannot"):
            async with fetcher.stream(f"https://other.example:{public.port}/"):
                pass
        await fetcher.aclose()

    assert asked == ["pics.example", "other.example"]
    assert len(public.visits) == 1


async def proxied(visit: Visit) -> None:
    await visit.answer(200, b"by proxy")


async def test_a_proxy_of_the_environment_connects_but_the_name_is_checked_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(pics_example="93.184.215.14", inner_example="10.0.0.1")
    fetcher = PublicFetcher(resolve=names)
    async with site(proxied) as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        async with fetcher.stream("http://pics.example/cat.png") as response:
            assert await response.aread() == b"by proxy"
        for refused in (
            "http://inner.example/",
            "http://10.0.0.1/",
            "http://localhost/",
            "http://127.0.0.1/",
        ):
            with pytest.raises(AddressRefused):
                async with fetcher.stream(refused):
                    pass
        await fetcher.aclose()

    assert [visit.path for visit in proxy.visits] == ["http://pics.example/cat.png"]


async def test_a_name_that_only_the_proxy_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = PublicFetcher(resolve=Names())
    async with site(proxied) as proxy:
        monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
        async with fetcher.stream("http://pics.example/cat.png") as response:
            assert await response.aread() == b"by proxy"
        await fetcher.aclose()


async def test_no_proxy_is_asked_for_a_name_that_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = PublicFetcher(public=only("127.0.0.1"), resolve=Names(pics_example="127.0.0.1"))
    async with site(proxied) as proxy, site(showing(b"direct")) as public:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "pics.example")
        async with fetcher.stream(f"http://pics.example:{public.port}/") as response:
            assert await response.aread() == b"direct"
        await fetcher.aclose()

    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
async def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    fetcher = PublicFetcher(allow_private=True, resolve=Names(localhost="127.0.0.1"))
    async with site(proxied) as proxy, site(showing(b"direct")) as here:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with fetcher.stream(f"http://{host}:{here.port}/") as response:
            assert await response.aread() == b"direct"
        await fetcher.aclose()

    assert proxy.connections == 0


async def test_a_proxy_that_refuses_or_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(403)

    async with site(refuse) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(FetchFailed, match="was refused by the proxy"):
            async with PublicFetcher(resolve=Names(pics_example="93.184.215.14")).stream(
                "https://pics.example/"
            ):
                pass
    monkeypatch.setenv("https_proxy", "gopher://127.0.0.1:70")
    with pytest.raises(
        SettingsError, match="proxy or the certificates that the environment names cannot be used"
    ):
        async with PublicFetcher(resolve=Names(pics_example="93.184.215.14")).stream("https://pics.example/"):
            pass
