"""The issuer's keys: found, kept, renewed, and doubted where they should be."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tests.clock import JumpingLoop, now
from tests.server.http.issuer import KEYS, Issuer, LiveIssuer, SigningKey, live_issuer
from tests.server.http.test_oauth import settings_for
from wan_mcp.server.http.access import Unavailable
from wan_mcp.server.http.oauth import Tokens

HOUR = 3600
RSA, EC = SigningKey("RS256"), SigningKey("ES256")
DOWN = PlainTextResponse("down", 500)
RFC_8414 = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
pytestmark = pytest.mark.anyio


def checker(issuer: Issuer) -> Tokens:
    return Tokens(settings_for(issuer.address), transport=httpx2.ASGITransport(issuer.app), clock=now)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer("https://login.example.com", clock=now)


@pytest.fixture
async def tokens(issuer: Issuer) -> AsyncIterator[Tokens]:
    found = checker(issuer)
    yield found
    await found.aclose()


async def accepted(tokens: Tokens, token: str) -> bool | float:
    """Whether a token is accepted; where that cannot be told, the seconds after which to try again."""
    try:
        return await tokens.claims(token) is not None
    except Unavailable as error:
        return error.retry_after


@pytest.mark.parametrize(
    ("address", "places"),
    [
        ("https://login.example.com", [RFC_8414, OPENID]),
        ("https://login.example.com/", [RFC_8414, OPENID]),
        ("https://login.example.com/a/b", [f"{RFC_8414}/a/b", f"/a/b{OPENID}"]),
        ("https://login.example.com/a/b/", [f"{RFC_8414}/a/b", f"/a/b{OPENID}"]),
        ("http://127.0.0.1:8080/a", [f"{RFC_8414}/a", f"/a{OPENID}"]),
    ],
)
async def test_the_metadata_are_looked_for_as_the_standards_say(address: str, places: list[str]) -> None:
    """First as RFC 8414 says, then as OpenID Connect does; a slash at the end of the issuer counts."""
    issuer = Issuer(address, clock=now)
    first = checker(issuer)
    assert await accepted(first, issuer.token()) is True
    assert issuer.asked == [places[0], KEYS]

    issuer.asked.clear()
    issuer.answers[places[0]] = Response(status_code=404)
    assert await accepted(checker(issuer), issuer.token()) is True
    assert issuer.asked == [*places, KEYS]


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://login.example.com/"},
        {"issuer": "https://evil.example.com"},
        {"issuer": "HTTPS://login.example.com"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 5},
        {"jwks_uri": "http://login.example.com/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": "https://"},
        {"jwks_uri": "https://user:word@login.example.com/keys"},
        {"jwks_uri": "https://login.example.com:99999/keys"},
        {"jwks_uri": "https://login.example.com/nothing/here"},
    ],
)
async def test_metadata_of_another_issuer_or_without_a_safe_address_are_not_used(
    issuer: Issuer, tokens: Tokens, document: dict[str, Any]
) -> None:
    """Whoever calls is told to try again later, and no keys are read from elsewhere."""
    issuer.metadata = document

    assert await accepted(tokens, issuer.token()) == 5
    assert issuer.readings == 0


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        PlainTextResponse("<html>"),
        PlainTextResponse(b"\xff\xfe\x00"),
        PlainTextResponse("[" * 100_000),
        PlainTextResponse("null"),
        PlainTextResponse('{"keys": {}}'),
        PlainTextResponse('{"keys": null}'),
        PlainTextResponse(json.dumps({"keys": [], "pad": "x" * 1024 * 1024})),
        RedirectResponse("https://login.example.com/elsewhere"),
    ],
)
async def test_a_broken_key_set_is_as_none(issuer: Issuer, tokens: Tokens, answer: Response) -> None:
    """Errors, pages, redirects and endless answers: the caller may try again, and then it works."""
    issuer.answers[KEYS] = answer

    assert await accepted(tokens, issuer.token()) == 5

    issuer.answers.clear()
    await anyio.sleep(5)
    assert await accepted(tokens, issuer.token()) is True
    assert "/elsewhere" not in issuer.asked


def short_key() -> dict[str, Any]:
    key = rsa.generate_private_key(65537, 1024)
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "short"}


ODD_KEYS: list[Any] = [
    5,
    None,
    [],
    {},
    {"kty": "RSA"},
    {"kty": "RSA", "n": "", "e": ""},
    {"kty": "RSA", "n": "AQAB", "e": "AQ"},
    {"kty": "RSA", "n": "!!", "e": "ä"},
    {"kty": ["RSA"], "n": 5, "e": {}},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
    {"kty": "EC", "crv": ["P-256"]},
    {"kty": "EC", "crv": "secp256k1", "x": "A" * 43, "y": "A" * 43},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": RSA.kid},
    {"kty": "new", "kid": RSA.kid},
    RSA.jwk(use="enc"),
    RSA.jwk(alg="RSA-OAEP"),
    RSA.jwk(key_ops=["encrypt"]),
    RSA.jwk(kid=5),
]


async def test_keys_that_cannot_be_used_are_skipped(issuer: Issuer, tokens: Tokens) -> None:
    """Broken keys, those for encryption and secret ones do not keep the good one from being used."""
    issuer.published = [*ODD_KEYS, RSA.jwk(), *ODD_KEYS]

    assert await accepted(tokens, issuer.token()) is True


@pytest.mark.parametrize("odd", ODD_KEYS)
async def test_a_key_that_cannot_be_used_checks_nothing(issuer: Issuer, tokens: Tokens, odd: Any) -> None:
    """With no other key published, each token is refused."""
    issuer.published = [odd]

    assert await accepted(tokens, issuer.token()) is False
    assert await accepted(tokens, RSA.sign(issuer.claims(), kid=None)) is False


async def test_only_the_first_hundred_keys_are_read(issuer: Issuer, tokens: Tokens) -> None:
    """A key set of a megabyte does not hold up the server."""
    issuer.published = [*[{}] * 99, RSA.jwk(), EC.jwk()]

    assert await accepted(tokens, issuer.token(RSA)) is True
    assert await accepted(tokens, issuer.token(EC)) is False


async def test_a_short_key_is_not_used(issuer: Issuer, tokens: Tokens) -> None:
    """An RSA key of 1024 bits can be broken."""
    short = rsa.generate_private_key(65537, 1024)
    public = RSAAlgorithm.to_jwk(short.public_key(), as_dict=True)
    issuer.published = [{"kty": "RSA", "n": public["n"], "e": public["e"], "kid": "short"}]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(issuer.claims(), short, "RS256", {"kid": "short"})

    assert await accepted(tokens, token) is False


async def test_private_members_of_a_published_key_are_not_used(issuer: Issuer, tokens: Tokens) -> None:
    """An issuer that publishes too much is served by the public part."""
    issuer.published = [RSA.jwk(d="AQAB", p="5", x5u="https://evil.example.com", x5c="no list")]

    assert await accepted(tokens, issuer.token()) is True


async def test_a_token_without_a_kid_is_accepted_where_one_key_fits(issuer: Issuer, tokens: Tokens) -> None:
    """One key of each kind: the algorithm says which; two of a kind: it is not guessed."""
    nameless = {key: key.sign(issuer.claims(), kid=None) for key in (RSA, EC)}
    assert [await accepted(tokens, token) for token in nameless.values()] == [True, True]

    issuer.keys = [RSA, SigningKey("RS256", 2), EC]
    await anyio.sleep(HOUR - 1)
    again = {key: key.sign(issuer.claims(), kid=None) for key in (RSA, EC)}
    assert [await accepted(tokens, token) for token in again.values()] == [True, True]
    await anyio.sleep(2)
    again = {key: key.sign(issuer.claims(), kid=None) for key in (RSA, EC)}
    assert [await accepted(tokens, token) for token in again.values()] == [False, True]


async def test_a_key_without_a_kid_serves_tokens_without_one(issuer: Issuer, tokens: Tokens) -> None:
    """Also when it is replaced by another one; a token that names a key needs one of that name."""
    issuer.published = [RSA.jwk(kid=None)]
    assert await accepted(tokens, RSA.sign(issuer.claims(), kid=None)) is True
    assert await accepted(tokens, RSA.sign(issuer.claims())) is False

    await anyio.sleep(60)
    second = SigningKey("RS256", 2)
    issuer.published = [second.jwk(kid=None)]
    assert await accepted(tokens, second.sign(issuer.claims(), kid=None)) is True
    assert await accepted(tokens, RSA.sign(issuer.claims(), kid=None)) is False


async def test_keys_are_kept(issuer: Issuer, tokens: Tokens) -> None:
    """A thousand tokens cost one reading."""
    for _ in range(1000):
        assert await accepted(tokens, issuer.token(EC)) is True

    assert issuer.asked == [RFC_8414, KEYS]


async def test_keys_can_be_rotated_in_the_middle(issuer: Issuer, tokens: Tokens) -> None:
    """A token of the new key is accepted at once; one of the old key no longer."""
    old = issuer.token()
    assert await accepted(tokens, old) is True

    issuer.rotate()
    assert await accepted(tokens, issuer.token()) is True
    assert await accepted(tokens, issuer.token(issuer.keys[1])) is True
    assert await accepted(tokens, old) is False
    assert issuer.readings == 2


async def test_invented_key_names_cost_one_reading_a_minute(issuer: Issuer, tokens: Tokens) -> None:
    """A thousand of them, one after the other or at once."""
    assert await accepted(tokens, issuer.token()) is True
    for number in range(1000):
        assert await accepted(tokens, RSA.sign(issuer.claims(), kid=f"invented-{number}")) is False
    assert issuer.readings == 2

    await anyio.sleep(60)
    answers = await at_once(
        tokens, [RSA.sign(issuer.claims(), kid=f"new-{number}") for number in range(1000)]
    )
    assert answers == [False] * 1000
    assert issuer.readings == 3


async def at_once(tokens: Tokens, checked: list[str]) -> list[bool | float]:
    answers: list[bool | float] = []

    async def check(token: str) -> None:
        answers.append(await accepted(tokens, token))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for token in checked:
                group.start_soon(check, token)
    return answers


def test_it_can_be_made_before_there_is_an_event_loop(issuer: Issuer) -> None:
    """As the application is; it can be closed without having been used."""
    tokens = checker(issuer)

    async def use() -> bool | float:
        return await accepted(tokens, issuer.token())

    assert anyio.run(use, backend_options={"loop_factory": JumpingLoop}) is True
    anyio.run(checker(issuer).aclose)


async def test_callers_at_once_share_one_reading(issuer: Issuer, tokens: Tokens) -> None:
    """The first callers, and those of a rotated key, wait for the same answer and all get in."""
    issuer.seconds = 2
    assert await at_once(tokens, [issuer.token()] * 100) == [True] * 100
    assert issuer.readings == 1

    issuer.rotate()
    assert await at_once(tokens, [issuer.token()] * 100) == [True] * 100
    assert issuer.readings == 2


async def test_a_caller_that_leaves_does_not_stop_the_reading(issuer: Issuer, tokens: Tokens) -> None:
    """The keys are read for the others, and leaving does not cause one more reading."""
    issuer.seconds = 2
    with anyio.move_on_after(1):
        await tokens.claims(issuer.token())

    assert await accepted(tokens, issuer.token()) is True
    assert issuer.asked == [RFC_8414, KEYS]


async def test_a_removed_key_is_refused_after_an_hour(issuer: Issuer, tokens: Tokens) -> None:
    """Its tokens are accepted until the keys are read again, which happens after an hour at the latest."""
    assert await accepted(tokens, issuer.token(EC)) is True
    issuer.keys = [RSA]

    await anyio.sleep(HOUR - 1)
    assert await accepted(tokens, issuer.token(EC)) is True
    await anyio.sleep(1)
    assert await accepted(tokens, issuer.token(EC)) is False
    assert await accepted(tokens, issuer.token(RSA)) is True


async def test_without_any_key_left_every_token_is_refused(
    issuer: Issuer, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """An issuer that withdraws all its keys is believed, and the operator is told."""
    assert await accepted(tokens, issuer.token()) is True
    issuer.keys, token = [], issuer.token(exp=int(now()) + 2 * HOUR)

    await anyio.sleep(HOUR)
    assert await accepted(tokens, token) is False
    assert "The issuer login.example.com has no key that tokens can be checked with." in caplog.text


async def test_an_issuer_that_is_down_is_tried_every_few_seconds(issuer: Issuer, tokens: Tokens) -> None:
    """Callers are told when to come again, a crowd costs one try, and it works again without a restart."""
    issuer.answers["*"] = DOWN
    assert await at_once(tokens, [issuer.token()] * 100) == [5] * 100
    await anyio.sleep(3)
    assert await accepted(tokens, issuer.token()) == 2
    assert issuer.asked == [RFC_8414, OPENID]

    await anyio.sleep(2)
    assert await accepted(tokens, issuer.token()) == 5
    assert issuer.asked == [RFC_8414, OPENID] * 2

    issuer.answers.clear()
    await anyio.sleep(5)
    assert await accepted(tokens, issuer.token()) is True


async def test_with_known_keys_an_issuer_may_be_down_for_a_day(issuer: Issuer, tokens: Tokens) -> None:
    """Known keys are used, unknown ones cannot be looked up; after a day nothing is accepted."""
    assert await accepted(tokens, issuer.token()) is True
    issuer.answers["*"] = DOWN

    await anyio.sleep(24 * HOUR - 1)
    assert await accepted(tokens, issuer.token()) is True
    assert await accepted(tokens, issuer.token(SigningKey("RS256", 2))) == 5
    assert await accepted(tokens, issuer.token(SigningKey("RS256", 2), exp=1)) is False

    await anyio.sleep(6)
    assert await accepted(tokens, issuer.token()) == 5

    issuer.answers.clear()
    await anyio.sleep(5)
    assert await accepted(tokens, issuer.token()) is True


async def test_an_issuer_that_hangs_holds_up_one_caller_a_minute(issuer: Issuer, tokens: Tokens) -> None:
    """The caller for whom the keys are read again waits ten seconds; the others go on meanwhile."""
    assert await accepted(tokens, issuer.token()) is True
    issuer.seconds = 1000
    await anyio.sleep(HOUR)
    begin = anyio.current_time()
    waits = []

    async def check() -> None:
        assert await accepted(tokens, issuer.token()) is True
        waits.append(anyio.current_time() - begin)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(check)
    await check()
    assert waits == [0] * 49 + [10, 10]
    for pause, ended in ((30, 40), (29.9, 69.9), (0.1, 80)):
        await anyio.sleep(pause)
        assert await accepted(tokens, issuer.token()) is True
        assert anyio.current_time() - begin == pytest.approx(ended)


async def test_an_issuer_that_hangs_at_first_is_given_up_after_ten_seconds(
    issuer: Issuer, tokens: Tokens
) -> None:
    """In all, however many answers are needed."""
    issuer.seconds = 4
    issuer.answers[RFC_8414] = DOWN
    begin = now()

    assert await accepted(tokens, issuer.token()) == 5
    assert now() - begin == 10


async def test_closing_ends_a_reading(issuer: Issuer, tokens: Tokens) -> None:
    """A server that stops does not wait for its issuer."""
    issuer.seconds = 1000
    begin = now()
    async with anyio.create_task_group() as group:
        group.start_soon(accepted, tokens, issuer.token())
        await anyio.sleep(1)
        await tokens.aclose()

    assert now() - begin == 1


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (
            {"issuer": "https://login.example.com/"},
            "names the issuer login.example.com/; WAN_MCP_OAUTH_",
        ),
        ({"jwks_uri": "http://10.0.0.1/keys"}, "its jwks_uri is not https"),
        ({"jwks_uri": "https://login.example.com/no?key=canary"}, "login.example.com/no answered HTTP 404"),
    ],
)
async def test_the_log_tells_the_operator_what_is_wrong(
    issuer: Issuer, tokens: Tokens, caplog: pytest.LogCaptureFixture, metadata: dict[str, str], text: str
) -> None:
    """As a warning, without the queries of addresses."""
    caplog.set_level(logging.WARNING)
    issuer.metadata = metadata

    await accepted(tokens, issuer.token())

    assert text in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.slow
class TestOverHttp:
    """The same with sockets."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def live(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveIssuer]:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        with live_issuer("/team/") as issuer:
            yield issuer

    @pytest.fixture
    async def tokens(self, live: LiveIssuer) -> AsyncIterator[Tokens]:
        found = Tokens(settings_for(live.address))
        yield found
        await found.aclose()

    async def test_both_kinds_of_key_and_a_rotation(self, live: LiveIssuer, tokens: Tokens) -> None:
        """No proxy is used for this machine."""
        old = live.token()
        assert [await accepted(tokens, live.token(key)) for key in live.keys] == [True, True]
        live.rotate()
        assert [await accepted(tokens, live.token(key)) for key in live.keys] == [True, True]
        assert await accepted(tokens, old) is False

    async def test_stopped_and_started_again(
        self, live: LiveIssuer, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Refused connections, then the same server accepts the same token."""
        monkeypatch.setattr("wan_mcp.server.http.issuer.RETRY_PAUSE", 0)
        live.stop()
        assert await accepted(tokens, live.token()) == 0
        live.start()
        assert await accepted(tokens, live.token()) is True
        live.stop()
        assert await accepted(tokens, live.token()) is True
        live.start()

    async def test_closing_while_it_reads(self, live: LiveIssuer, tokens: Tokens) -> None:
        """Ends without an error of the connections."""
        live.seconds = 1000
        with anyio.fail_after(8):
            async with anyio.create_task_group() as group:
                group.start_soon(accepted, tokens, live.token())
                await anyio.to_thread.run_sync(live.was_asked.wait)
                await tokens.aclose()
