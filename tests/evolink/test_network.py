"""The client on real sockets: what is read, whom it trusts, which way it goes, and what a break means."""

import asyncio
import gzip
import json
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.world import KEY, picture, render
from wan_mcp import __version__
from wan_mcp.errors import EvolinkError, LostAnswer, OutcomeUnknown, Unreachable, UnreadableAnswer
from wan_mcp.evolink import Connections, Credits, Evolink, Upload, VideoRequest
from wan_mcp.evolink import client as client_module
from wan_mcp.sandbox import Fault, Sandbox, running
from wan_mcp.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONGEST = 20
"""Seconds after which a test has failed; none should take one."""
REQUEST = VideoRequest(prompt="The cat yawns.", image_urls=["https://pictures.example.com/cat.png"])
ONCE = "request-0123456789abcdef"
FAR = "api.example.test"
"""A host that is not this machine, and that no look-up will find."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BALANCE = {"data": {"user": {"remaining_credits": 7}, "token": {}}}
FILE = {"success": True, "data": {"file_url": "https://files.evolink.ai/a.png"}}


@pytest.fixture
def anyio_backend() -> str:
    """An ordinary event loop: time must not jump while a socket is waited for."""
    return "asyncio"


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no certificates but a test's own, and no pauses between attempts."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))  # to read the system's takes a while
    monkeypatch.setattr(client_module, "ATTEMPTS", 1)
    monkeypatch.setattr(client_module, "PAUSE_BEFORE_SEARCH", 0.0)


@dataclass
class Peer:
    """Who listens on a port: what it was sent, and by how many connections."""

    host: str = "127.0.0.1"
    scheme: str = "http"
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    """Each request: its head and what came of its body."""
    ended: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for each connection that has ended."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def heads(self) -> list[dict[str, str]]:
        """The header fields of each request, by their names in lower case."""
        lines = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for request in self.requests]
        return [
            {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
            for head in lines
        ]

    def lines(self) -> list[str]:
        """The first line of each request."""
        return [request.partition(b"\r\n")[0].decode() for request in self.requests]


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection from the end of its first request on; returning ends the connection."""


@asynccontextmanager
async def listening(
    serve: Callable[[Peer], Serve], *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """A server for the time of a test, which has to be over soon."""
    peer = Peer(host, "https" if tls else "http")
    serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        peer.connections += 1
        try:
            with suppress(ConnectionError, EOFError):
                await serve(peer)(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            del serving[task]
            peer.ended.release()

    with anyio.fail_after(LONGEST):
        server = await asyncio.start_server(connected, host, 0, ssl=tls)
        peer.port = server.sockets[0].getsockname()[1]
        try:
            yield peer
        finally:
            server.close()
            for writer in serving.values():
                writer.transport.abort()
            await asyncio.gather(*serving)
            await server.wait_closed()


async def hear(peer: Peer, reader: asyncio.StreamReader) -> bytes:
    """One whole request."""
    head = await reader.readuntil(b"\r\n\r\n")
    index = len(peer.requests)
    peer.requests.append(head)
    length = int(peer.heads()[index].get("content-length", 0))
    peer.requests[index] += await reader.readexactly(length)
    return peer.requests[index]


def answer(body: bytes, status: str = "200 OK", *fields: str, length: int | None = None) -> bytes:
    named = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields]
    return "\r\n".join([*named, "", ""]).encode() + body


def always(reply: bytes, *, ends: bool = False) -> Callable[[Peer], Serve]:
    """The same answer to every request; `ends`: and then the connection is closed, unannounced."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await hear(peer, reader)
                writer.write(reply)
                await writer.drain()
                if ends:
                    return

        return connection

    return serve


OKAY = always(answer(json.dumps(BALANCE).encode()))


@asynccontextmanager
async def client(base_url: str, files_url: str = "http://127.0.0.1:9") -> AsyncIterator[Evolink]:
    async with Connections() as connections:
        yield Evolink(SecretStr(KEY), connections, base_url=base_url, files_url=files_url)


async def failures(url: str) -> tuple[EvolinkError, EvolinkError]:
    """How a free read and the paid request fail."""
    async with client(url) as evolink:
        with pytest.raises(EvolinkError) as free:
            await evolink.credits()
        with pytest.raises(EvolinkError) as paid:
            await evolink.submit(REQUEST, idempotency_key=ONCE)
    for error in (free.value, paid.value):
        assert error.next_step
        assert KEY not in f"{error} {error.next_step}"
    return free.value, paid.value


def is_lost(free: EvolinkError, paid: EvolinkError) -> bool:
    """Whether the read failed without cost, and the paid request by an answer that was lost twice."""
    cause = paid.__cause__
    return (type(free), free.charged, type(paid), paid.charged) == (
        LostAnswer,
        "no",
        OutcomeUnknown,
        "unknown",
    ) and (isinstance(cause, LostAnswer) and cause.charged == "unknown")


def is_unreachable(free: EvolinkError, paid: EvolinkError) -> bool:
    return {(type(error), error.charged) for error in (free, paid)} == {(Unreachable, "no")}


# Whom it tells what


async def test_each_request_says_who_asks_and_goes_to_its_own_host() -> None:
    """API and file service are two hosts, and both get the key; nobody else is connected to."""
    stored = always(answer(json.dumps(FILE).encode()))
    async with listening(OKAY) as api, listening(stored) as files, client(api.url, files.url) as evolink:
        assert await evolink.credits() == Credits(remaining=7)
        upload = await evolink.upload("a.png", b"the picture", "image/png")
    assert upload == Upload(url="https://files.evolink.ai/a.png")
    assert api.lines() == ["GET /v1/credits HTTP/1.1"]
    assert files.lines() == ["POST /api/v1/files/upload/stream HTTP/1.1"]
    for head in api.heads() + files.heads():
        assert head["authorization"] == f"Bearer {KEY}"
        assert head["user-agent"] == f"wan-mcp/{__version__}"
        assert head["accept-encoding"] == "identity"
        assert head["accept"] == "application/json"
    assert (
        b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nthe picture\r\n'
        in files.requests[0]
    )


async def test_the_paid_request_is_sent_whole() -> None:
    """Its head has the idempotency key, and its body is the JSON of the request."""
    task = answer(b'{"id": "task-unified-1", "status": "pending"}')
    async with listening(always(task)) as api, client(api.url) as evolink:
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    [head], [request] = api.heads(), api.requests
    assert api.lines() == ["POST /v1/videos/generations HTTP/1.1"]
    assert head["idempotency-key"] == ONCE
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == REQUEST.body()


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_a_redirect_is_not_followed(status: str) -> None:
    """The key would go along: to another host, and to the same one by another way."""
    async with listening(OKAY) as other:
        for location in (f"{other.url}/v1/credits", "/v1/elsewhere"):
            async with listening(always(answer(b"", status, f"Location: {location}"))) as api:
                free, paid = await failures(api.url)
            assert (type(free), type(paid)) == (UnreadableAnswer, OutcomeUnknown)
            assert (free.charged, paid.charged) == ("no", "unknown")
            assert "EVOLINK_BASE_URL" in free.next_step
            assert len(api.requests) == 2
    assert other.connections == 0


# What it reads


@pytest.mark.parametrize(
    "head",
    [answer(b"", length=10**12), b"HTTP/1.1 200 OK\r\n\r\n", answer(b"", "500 Broken", length=10**12)],
    ids=["announced", "not announced", "error"],
)
async def test_an_endless_answer_is_not_read_to_its_end(head: bytes) -> None:
    """A megabyte is enough; then the connection is closed."""
    sent = 0

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await hear(peer, reader)
            writer.write(head)
            while True:
                writer.write(bytes(65536))
                sent += 65536
                await writer.drain()

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
        for _ in range(api.connections):
            await api.ended.acquire()
    assert api.connections == 3
    assert sent < 100_000_000


@cache
def bomb() -> bytes:
    """Some kilobytes that would become 64 megabytes."""
    return gzip.compress(bytes(64 * 1024 * 1024), 1)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate, gzip"])
async def test_a_packed_answer_is_not_unpacked(encoding: str) -> None:
    """It stays as small as it came, and is no answer."""
    async with listening(always(answer(bomb(), "200 OK", f"Content-Encoding: {encoding}"))) as api:
        tracemalloc.start()
        try:
            free, paid = await failures(api.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (type(free), type(paid)) == (UnreadableAnswer, OutcomeUnknown)
    assert peak < 16 * 1024 * 1024
    assert {head["accept-encoding"] for head in api.heads()} == {"identity"}


# What a break means


async def test_a_refused_connection_cost_nothing() -> None:
    """Nothing was sent."""
    async with listening(OKAY) as gone:
        pass
    assert is_unreachable(*await failures(gone.url))


HALF = answer(b'{"id": "task-uni', length=100)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-", answer(b"", length=100), HALF],
    ids=["nothing", "half a line", "half a head", "head", "half a body"],
)
async def test_a_connection_that_breaks_after_the_request_is_a_lost_answer(said: bytes, reset: bool) -> None:
    """The read cost nothing; what became of the paid request cannot be known."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hear(peer, reader)
            writer.write(said)
            await writer.drain()
            if reset:
                end_hard(writer)

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
    assert (api.connections, len(api.requests)) == (3, 3)
    assert [head.get("idempotency-key") for head in api.heads()] == [None, ONCE, ONCE]


def end_hard(writer: asyncio.StreamWriter) -> None:
    """A reset instead of an orderly end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_connection_that_breaks_before_the_request_was_read_is_a_lost_answer(reset: bool) -> None:
    """There was a connection: how much of the request arrived is not known."""

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if reset:
                end_hard(writer)

        return connection

    async with listening(serve) as api:
        assert is_lost(*await failures(api.url))
    assert api.connections == 3


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\x15\x03\x01\x00\x02\x02\x16", b"HTTP/9 200 OK\r\n\r\n"]
)
async def test_an_answer_in_another_protocol_is_a_lost_answer(said: bytes) -> None:
    """Who answered is not the API, and what was done with the request is not known."""
    async with listening(always(said, ends=True)) as api:
        assert is_lost(*await failures(api.url))


@pytest.mark.parametrize(
    ("fault", "posts", "paid"),
    [
        ("lost", 2, 1),
        ("dropped", 2, 1),
        ("cut", 2, 1),
        ("huge", 2, 1),
    ],
)
async def test_over_a_socket_a_fault_costs_what_it_costs_in_one_process(
    fault: str, posts: int, paid: int
) -> None:
    """One task, whatever happens to the first answer."""

    async def show(url: str) -> bytes:
        return picture(360, 360)

    sandbox = Sandbox(key=KEY, fetch=show, render=render, faults=[Fault.parse(f"submit:{fault}")])
    with anyio.fail_after(LONGEST):
        async with running(sandbox) as url, client(url) as evolink:
            task = await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert [payment.task_id for payment in sandbox.records.paid] == [task.id] * paid
    assert sandbox.records.posts == posts


# Connections


async def test_calls_share_their_connection() -> None:
    """One after the other they need one; it ends with the client."""
    async with listening(OKAY) as api:
        async with client(api.url) as evolink:
            for _ in range(20):
                await evolink.credits()
            assert api.connections == 1
        await api.ended.acquire()
    assert len(api.requests) == 20


async def test_many_calls_at_once_are_no_flood() -> None:
    """All are answered, over a bounded number of connections."""
    async with listening(OKAY) as api, client(api.url) as evolink, anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(evolink.credits)
    assert len(api.requests) == 100
    assert 1 < api.connections <= 40


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    """A submission does not lose its answer to a server that closes idle connections."""
    task = answer(b'{"id": "task-unified-1", "status": "pending"}')
    async with listening(always(task, ends=True)) as api, client(api.url) as evolink:
        for number in range(1, 4):
            await evolink.submit(REQUEST, idempotency_key=f"{ONCE}-{number}")
            await api.ended.acquire()
            assert (api.connections, len(api.requests)) == (number, number)


# Proxies


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


# Certificates


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, and a server that it vouches for."""

    certificate: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouches for 127.0.0.1 and the far host, and not for localhost."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        names = [x509.DNSName(FAR), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("The tests' own authority"))
            .public_key(key.public_key())
            .serial_number(2 if ca else 3)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
            )
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(root, hashes.SHA256())

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem, folder = serialization.Encoding.PEM, tmp_path_factory.mktemp("certificates")
    (folder / "authority.pem").write_bytes(
        certificate("The tests' own authority", root, ca=True).public_bytes(pem)
    )
    (folder / "server.pem").write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate("The tests' own server", leaf, ca=False).public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Authority(folder / "authority.pem", context)


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


def tunnel_to(target: Peer) -> Callable[[Peer], Serve]:
    """A proxy that knows one way only."""

    async def pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        with suppress(OSError):
            sink.write_eof()

    def serve(peer: Peer) -> Serve:
        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hear(peer, reader)
            behind, ahead = await asyncio.open_connection(target.host, target.port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                await asyncio.gather(pour(reader, ahead), pour(behind, writer))
            finally:
                ahead.close()
                with suppress(OSError):
                    await ahead.wait_closed()

        return connection

    return serve
