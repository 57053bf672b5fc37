"""Whom a hosted server refuses, in both modes and eras: exact status, headers and body; and nothing runs."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import httpx2
import pytest

from tests.server.http.hosted import ADDRESS, IN_BOTH_ERAS, Era, Hosted, hosted, message
from tests.server.http.issuer import Issuer, SigningKey
from tests.world import KEY, World
from wan_mcp.server.http.app import MAX_BODY

pytestmark = pytest.mark.anyio

Mode = Literal["key", "oauth"]
IN_BOTH_MODES = pytest.mark.parametrize("mode", ["key", "oauth"])
WRONG = "sk-wrong-0123456789abcdef"
METADATA = f"{ADDRESS}/.well-known/oauth-protected-resource/mcp"
CALL = {
    "name": "generate_video",
    "arguments": {"prompt": "go", "image_urls": ["https://pictures.example.com/cat.png"]},
}
"""What each refused request asks for: it would cost credits."""

Header = tuple[str, str]


@dataclass(frozen=True)
class Refusal:
    """An answer, in full."""

    status: int
    error: str
    description: str
    headers: dict[str, str] = field(default_factory=dict)
    """Those besides the content's type and length."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, httpx2.Response):
            return NotImplemented
        body = json.dumps({"error": self.error, "error_description": self.description})
        headers = {"content-type": "application/json", "content-length": str(len(body))} | self.headers
        return (other.status_code, dict(other.headers), other.text) == (self.status, headers, body)


def of_credentials(mode: Mode, status: int = 401, error: str = "invalid_token", text: str = "") -> Refusal:
    """What the SDK answers to those who are not known, or may not call."""
    text = text or "Authentication required"
    challenge = f'Bearer error="{error}", error_description="{text}"'
    if mode == "oauth":  # that is how clients find the issuer
        challenge += f', resource_metadata="{METADATA}"'
    return Refusal(status, error, text, {"www-authenticate": challenge})


TWO_CREDENTIALS = Refusal(400, "invalid_request", "There are two different credentials; send one.")
FOREIGN_HOST = Refusal(421, "invalid_host", "This server is not known by that name.")
FOREIGN_ORIGIN = Refusal(403, "invalid_origin", "Web pages of that origin may not call this server.")
LATE = Refusal(408, "request_timeout", "The request did not arrive in time.", {"connection": "close"})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer("https://login.example.com/team")


@pytest.fixture
def good(mode: Mode, issuer: Issuer) -> str:
    """A credential that is accepted."""
    return KEY if mode == "key" else issuer.token()


@pytest.fixture
async def server(world: World, mode: Mode, issuer: Issuer) -> AsyncIterator[Hosted]:
    async with hosted(world, issuer=issuer if mode == "oauth" else None) as server:
        yield server


async def ask(
    server: Hosted, era: Era, *headers: Header, content: Any = None, path: str = "/mcp"
) -> httpx2.Response:
    """Ask for a video with exactly these headers besides those that the era needs."""
    body, needed = message("tools/call", era, **CALL)
    named = [(name.encode(), value.encode()) for name, value in [*needed.items(), *headers]]
    async with server.http() as http:
        return await http.post(path, content=content or json.dumps(body).encode(), headers=named)


async def nothing_ran(world: World, checked: Sequence[str] = ("credits",)) -> bool:
    """Whether nothing was asked of Evolink but a key's check, and nothing is in the ledger."""
    return {call.at for call in world.records.calls} <= {*checked} and await world.rows() == []


def bearer(credential: str) -> Header:
    return "authorization", f"Bearer {credential}"


@IN_BOTH_ERAS
@IN_BOTH_MODES
async def test_the_right_credential_may_call(
    server: Hosted, world: World, era: Era, mode: Mode, good: str
) -> None:
    """The request that all tests here make is served and paid, so it is refused for its credential alone."""
    assert (await ask(server, era, bearer(good))).status_code == 200
    assert len(world.records.paid) == 1


NO_CREDENTIALS: dict[str, Sequence[Header]] = {
    "none": (),
    "empty": (("authorization", ""),),
    "no value": (("authorization", "Bearer"),),
    "empty key": (("x-api-key", ""),),
    "wrong": (bearer(WRONG),),
    "wrong key header": (("x-api-key", WRONG),),
    "wrong, twice": (bearer(WRONG), ("x-api-key", WRONG)),
    "in the cookies": (("cookie", f"authorization=Bearer {KEY}"),),
    "another scheme": (("authorization", f"Basic {KEY}"),),
    "two in one": (("authorization", f"Bearer {KEY}, Bearer {WRONG}"),),
}


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("headers", NO_CREDENTIALS.values(), ids=NO_CREDENTIALS)
async def test_nobody_is_served_without_the_right_credential(
    server: Hosted, world: World, era: Era, mode: Mode, headers: Sequence[Header]
) -> None:
    """401 with the challenge; in key mode without metadata, since some clients would stop sending keys."""
    assert await ask(server, era, *headers) == of_credentials(mode)
    assert await nothing_ran(world)


@IN_BOTH_ERAS
@pytest.mark.parametrize("mode", ["oauth"])
async def test_the_operators_key_is_no_credential(server: Hosted, world: World, era: Era, mode: Mode) -> None:
    """Where tokens are asked for, a key in any header is not looked at, not even upstream."""
    for headers in ([bearer(KEY)], [("x-api-key", KEY)], [bearer(KEY), ("x-api-key", KEY)]):
        assert await ask(server, era, *headers) == of_credentials("oauth")
    assert await nothing_ran(world, checked=())


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("query", ["api_key", "access_token", "token", "key"])
async def test_a_credential_in_the_address_does_not_count(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, query: str
) -> None:
    """Addresses are logged on the way."""
    assert await ask(server, era, path=f"/mcp?{query}={good}") == of_credentials(mode)
    assert await nothing_ran(world)


def _pairs(good: str) -> dict[str, Sequence[Header]]:
    return {
        "both headers": (bearer(good), ("x-api-key", WRONG)),
        "both headers, swapped": (bearer(WRONG), ("x-api-key", good)),
        "authorization twice": (bearer(good), bearer(WRONG)),
        "authorization twice, swapped": (bearer(WRONG), bearer(good)),
        "key twice": (("x-api-key", good), ("x-api-key", WRONG)),
        "an empty key": (bearer(good), ("x-api-key", "")),
        "another scheme": (bearer(good), ("authorization", "Basic abc")),
        "another scheme and a key": (("authorization", "Basic abc"), ("x-api-key", good)),
        "another case": (bearer(good), ("x-api-key", good.swapcase())),
    }


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("pair", _pairs(""))
async def test_two_different_credentials_are_refused(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, pair: str
) -> None:
    """It could not be told for whom the request is; neither is checked."""
    assert await ask(server, era, *_pairs(good)[pair]) == TWO_CREDENTIALS
    assert await nothing_ran(world, checked=())


@IN_BOTH_ERAS
@IN_BOTH_MODES
async def test_the_same_credential_twice_is_one(
    server: Hosted, world: World, era: Era, mode: Mode, good: str
) -> None:
    """As from a client that fills in both headers, or a proxy that repeats one."""
    for other in (("x-api-key", good), bearer(good), ("authorization", f"bearer  {good} ")):
        assert (await ask(server, era, bearer(good), other)).status_code == 200
    assert len(world.records.paid) == 1


def _with_a_secret(issuer: Issuer, secret: bytes) -> str:
    """A token whose signature is an HMAC with something public, under the name of the issuer's key."""
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.keys[0].kid}
    parts = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, issuer.claims())]
    signed = b".".join(parts)
    signature = hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


def _unsigned(issuer: Issuer) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, issuer.claims())
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


BAD_TOKENS: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(exp=issuer.claims()["iat"] - 1),
    "not valid yet": lambda issuer: issuer.token(nbf=issuer.claims()["iat"] + 600),
    "wrong audience": lambda issuer: issuer.token(aud="https://other.example.com/mcp"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "wrong issuer": lambda issuer: issuer.token(iss="https://login.example.com/other"),
    "issuer with a slash": lambda issuer: issuer.token(iss=f"{issuer.address}/"),
    "no subject": lambda issuer: issuer.token(sub=None),
    "no end": lambda issuer: issuer.token(exp=None),
    "alg none": _unsigned,
    "HS256 with the public key": lambda issuer: _with_a_secret(issuer, issuer.keys[0].public_pem),
    "another key under the name": lambda issuer: SigningKey("RS256", 9).sign(
        issuer.claims(), kid=issuer.keys[0].kid
    ),
    "a key that is not known": lambda issuer: SigningKey("RS256", 9).sign(issuer.claims()),
    "cut": lambda issuer: issuer.token()[:-10],
    "not a token": lambda issuer: "a.b.c",
    "huge": lambda issuer: issuer.token(more="x" * 20_000),
}


@IN_BOTH_ERAS
@pytest.mark.parametrize("mode", ["oauth"])
@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_a_token_that_is_not_valid_is_refused(
    server: Hosted, world: World, era: Era, mode: Mode, issuer: Issuer, make: Callable[[Issuer], str]
) -> None:
    """All get the same answer, which says nothing of the reason; nothing goes upstream."""
    assert await ask(server, era, bearer(make(issuer))) == of_credentials("oauth")
    assert await nothing_ran(world, checked=())


@IN_BOTH_ERAS
@pytest.mark.parametrize("mode", ["oauth"])
@pytest.mark.parametrize("scope", ["", "video", "videos2", "VIDEOS", "credits"])
async def test_a_token_without_the_scope_is_refused(
    server: Hosted, world: World, era: Era, mode: Mode, issuer: Issuer, scope: str
) -> None:
    """403, and which scope to ask for."""
    expected = of_credentials("oauth", 403, "insufficient_scope", "Required scope: videos")
    assert await ask(server, era, bearer(issuer.token(scope=scope))) == expected
    assert await nothing_ran(world, checked=())


FOREIGN_HOSTS: dict[str, Sequence[str]] = {
    "another": ["evil.example"],
    "another with the port": ["evil.example:8000"],
    "ours as its beginning": ["localhost.evil.example"],
    "ours as its end": ["evil-localhost"],
    "a dot at the end": ["localhost."],
    "userinfo": ["127.0.0.1@evil.example"],
    "userinfo before ours": ["evil.example@127.0.0.1"],
    "password before ours": ["a:b@127.0.0.1:8000"],
    "another IPv6": ["[::2]"],
    "a mapped address": ["[::ffff:127.0.0.1]"],
    "IPv6 without brackets": ["::1"],
    "half a bracket": ["[::1"],
    "another spelling of the address": ["127.1"],
    "a number": ["2130706433"],
    "hexadecimal": ["0x7f000001"],
    "any address": ["0.0.0.0"],
    "empty": [""],
    "only a port": [":8000"],
    "no number as the port": ["127.0.0.1:a"],
    "a port with a sign": ["127.0.0.1:+80"],
    "an endless port": ["127.0.0.1:808080"],
    "a path": ["127.0.0.1/mcp"],
    "two in one": ["127.0.0.1, evil.example"],
    "two": ["127.0.0.1:8000", "evil.example"],
    "two, swapped": ["evil.example", "127.0.0.1:8000"],
    "the same twice": ["127.0.0.1:8000", "127.0.0.1:8000"],
    "a space": ["127.0.0.1 "],
    "a letter that looks alike": ["l\u043ecalhost"],
}
OWN_HOSTS = (
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.0.0.1:1",
    "localhost",
    "LocalHost:8000",
    "[::1]",
    "[::1]:8000",
)


@IN_BOTH_ERAS
@IN_BOTH_MODES
async def test_a_server_is_called_by_its_own_names_alone(
    server: Hosted, world: World, era: Era, mode: Mode, good: str
) -> None:
    """A web page whose name leads to this machine gets nothing, whatever else it sends."""
    for title, names in FOREIGN_HOSTS.items():
        headers = [bearer(good), *(("host", name) for name in names)]
        assert await ask(server, era, *headers) == FOREIGN_HOST, title
        assert await ask(server, era, *headers, ("x-forwarded-host", "127.0.0.1:8000")) == FOREIGN_HOST, title
        assert await nothing_ran(world, checked=()), title


@IN_BOTH_ERAS
@IN_BOTH_MODES
async def test_its_own_names_may_be_written_in_each_way(
    server: Hosted, era: Era, mode: Mode, good: str
) -> None:
    """In any case, with any port (a proxy may listen at another); what a proxy adds is not looked at."""
    for name in OWN_HOSTS:
        headers = [bearer(good), ("host", name), ("x-forwarded-host", "evil.example")]
        assert (await ask(server, era, *headers)).status_code == 200, name


async def test_the_public_address_is_one_of_its_names(world: World) -> None:
    """As a proxy passes it on."""
    public = {"WAN_MCP_PUBLIC_URL": "https://wan.example.com"}
    async with hosted(world, host="0.0.0.0", issuer=None, **public) as server:
        for name in ("wan.example.com", "WAN.Example.com:443", "127.0.0.1:8000"):
            assert (await server.post(authorization=f"Bearer {KEY}", host=name)).status_code == 200
        for name in ("example.com", "a.wan.example.com", "wan.example.com.evil.example", "0.0.0.0"):
            assert await server.post(authorization=f"Bearer {KEY}", host=name) == FOREIGN_HOST


ORIGINS = ["https://evil.example", "null", "", "http://127.0.0.1:3000", "http://localhost:3000", "file://"]


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("origin", ORIGINS)
async def test_web_pages_may_not_call(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, origin: str
) -> None:
    """Not even with the right credential, unless the page has the address of the server itself."""
    assert await ask(server, era, bearer(good), ("origin", origin)) == FOREIGN_ORIGIN
    assert await nothing_ran(world, checked=())


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 2**20):
        yield b" " * 2**20


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
async def test_a_request_of_20_mb_is_refused(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, is_declared: bool
) -> None:
    """Whether it says so before or not; without a credential, it is not even read."""
    size = 20 * 2**20
    assert size > MAX_BODY
    content = b" " * size if is_declared else _chunks(size)
    refused = await ask(server, era, bearer(good), content=content)
    assert (refused.status_code, refused.text) == (413, "Request body too large")
    closed = {} if is_declared else {"connection": "close"}  # what has no known end is not read on
    assert dict(refused.headers) == {"content-length": "22"} | closed
    content = b" " * size if is_declared else _never_read()
    stranger = await ask(server, era, content=content)
    assert stranger.headers.pop("connection", None) == closed.get("connection")
    assert stranger == of_credentials(mode)
    assert await nothing_ran(world)


async def _never_read() -> AsyncIterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


async def _slowly(pause: float, parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b" "
        await anyio.sleep(pause)
    yield b" "


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize(("pause", "parts"), [(21, 1), (19, 7)], ids=["a pause", "in all"])
async def test_a_body_that_does_not_arrive_is_given_up(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, pause: float, parts: int
) -> None:
    """After 20 s without a byte, or 120 s in all; the connection is closed."""
    assert await ask(server, era, bearer(good), content=_slowly(pause, parts)) == LATE
    assert await nothing_ran(world)


@IN_BOTH_ERAS
@IN_BOTH_MODES
async def test_a_slow_body_that_goes_on_is_waited_for(
    server: Hosted, world: World, era: Era, mode: Mode, good: str
) -> None:
    """A minute, in small parts."""

    async def slowly() -> AsyncIterator[bytes]:
        body, _ = message("tools/call", era, **CALL)
        for byte in (text := json.dumps(body).encode()):
            yield bytes([byte])
            await anyio.sleep(60 / len(text))

    assert (await ask(server, era, bearer(good), content=slowly())).status_code == 200
    assert len(world.records.paid) == 1


@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_only_posts_are_taken(
    server: Hosted, world: World, era: Era, mode: Mode, good: str, method: str
) -> None:
    """A stream without a session would have nothing to say; strangers get the challenge here too."""
    _, headers = message("ping", era)
    async with server.http(headers=headers) as http:
        assert await http.request(method, "/mcp") == of_credentials(mode)
        refused = await http.request(method, "/mcp", headers=dict([bearer(good)]))
    assert (refused.status_code, refused.headers["allow"], refused.text) == (405, "POST", "")
    assert await nothing_ran(world)


@IN_BOTH_MODES
@pytest.mark.parametrize("path", ["/", "/mcp/x", "//mcp", "/docs", "/sse", "/messages", "/MCP"])
async def test_nothing_is_at_other_addresses(server: Hosted, world: World, mode: Mode, path: str) -> None:
    """No page, no older transport."""
    assert (await ask(server, "modern", path=path)).status_code == 404
    assert await nothing_ran(world, checked=())


@IN_BOTH_MODES
async def test_metadata_is_published_in_oauth_mode_alone(server: Hosted, mode: Mode, issuer: Issuer) -> None:
    """It names the issuer and the scope; nowhere does the server say that it issues tokens itself."""
    async with server.http() as http:
        answers = {
            name: await http.get(f"/.well-known/{name}")
            for name in ("oauth-protected-resource/mcp", "oauth-authorization-server", "openid-configuration")
        }
    protected = answers.pop("oauth-protected-resource/mcp")
    assert [answer.status_code for answer in answers.values()] == [404, 404]
    if mode == "key":
        assert protected.status_code == 404
        return
    assert protected.json() == {
        "resource": f"{ADDRESS}/mcp",
        "authorization_servers": [issuer.address],
        "scopes_supported": ["videos"],
        "bearer_methods_supported": ["header"],
    }
