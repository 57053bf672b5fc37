"""Which tokens are accepted, and which are not."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt import get_algorithm_by_name

from tests.clock import now
from tests.server.http.issuer import AUDIENCE, LIFE, Issuer, SigningKey
from wan_mcp.errors import SettingsError
from wan_mcp.server.http.oauth import LONGEST_TOKEN, Claims, Tokens
from wan_mcp.settings import Settings

ADDRESS = "https://login.example.com/team"
RSA, EC = SigningKey("RS256"), SigningKey("ES256")
pytestmark = pytest.mark.anyio


def settings_for(address: str) -> Settings:
    return Settings.load({"WAN_MCP_OAUTH_ISSUER": address, "WAN_MCP_OAUTH_AUDIENCE": AUDIENCE})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(ADDRESS, clock=now)


@pytest.fixture
async def tokens(issuer: Issuer) -> AsyncIterator[Tokens]:
    checker = Tokens(settings_for(ADDRESS), transport=httpx2.ASGITransport(issuer.app), clock=now)
    yield checker
    await checker.aclose()


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS512", "PS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]
)
async def test_a_good_token_says_who_calls(issuer: Issuer, tokens: Tokens, algorithm: str) -> None:
    """Issuer, subject, scopes and end are those of the token, with each kind of key."""
    issuer.keys = [SigningKey("RS256", 2), SigningKey("ES256", 2), SigningKey(algorithm)]

    found = await tokens.claims(issuer.token(SigningKey(algorithm), scope="videos credits"))

    assert found == Claims(ADDRESS, "alice", ("videos", "credits"), int(now()) + LIFE)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": None, "scp": "videos credits"}, ("videos", "credits")),
        ({"scope": None, "scp": ["videos", "credits"]}, ("videos", "credits")),
        ({"scope": ""}, ()),
        ({"scope": None}, ()),
        ({"scope": "videos", "scp": ["admin"]}, ("videos",)),
    ],
)
async def test_scopes_are_read_in_both_spellings(
    issuer: Issuer, tokens: Tokens, claims: dict[str, Any], scopes: tuple[str, ...]
) -> None:
    """The claim is ``scope``, or ``scp`` where that is missing."""
    found = await tokens.claims(issuer.token(**claims))

    assert found is not None
    assert found.scopes == scopes


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["https://other.example.com", AUDIENCE]},
        {"nbf": 1, "iat": None},
        {"sub": "ä" * 1024},
        {"exp": 9_999_999_999.5},
        {"jti": 5, "groups": {"a": [1]}, "azp": None},
    ],
)
async def test_unusual_but_good_claims_are_accepted(
    issuer: Issuer, tokens: Tokens, claims: dict[str, Any]
) -> None:
    """A list as audience, fractions of seconds, claims that are not looked at."""
    assert await tokens.claims(issuer.token(**claims)) is not None


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": 1_790_003_600_000},
        {"exp": -1},
        {"exp": []},
        {"nbf": 9_999_999_999},
        {"nbf": "0"},
        {"iat": 9_999_999_999},
        {"iat": "0"},
        {"aud": None},
        {"aud": ""},
        {"aud": []},
        {"aud": "https://other.example.com"},
        {"aud": AUDIENCE + "/"},
        {"aud": AUDIENCE.upper()},
        {"aud": {AUDIENCE: 1}},
        {"aud": 5},
        {"aud": [AUDIENCE, 5]},
        {"iss": None},
        {"iss": ADDRESS + "/"},
        {"iss": ADDRESS.upper()},
        {"iss": "https://evil.example.com"},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": ["alice"]},
        {"sub": "a" * 1025},
        {"sub": "\ud800"},
        {"scope": 5},
        {"scope": None, "scp": {"videos": 1}},
        {"scope": None, "scp": ["videos", 5]},
    ],
)
async def test_a_token_with_other_claims_is_refused(
    issuer: Issuer, tokens: Tokens, claims: dict[str, Any]
) -> None:
    """Expired, not valid yet, for others, of others, of nobody, or of another type than the standard says."""
    assert await tokens.claims(issuer.token()) is not None
    assert await tokens.claims(issuer.token(**claims)) is None


async def test_the_end_is_exact_and_the_beginning_has_some_leeway(issuer: Issuer, tokens: Tokens) -> None:
    """An issuer's clock may be a few seconds ahead; a token is never good after its end."""
    time = int(now())

    assert await tokens.claims(issuer.token(exp=time + 1)) is not None
    assert await tokens.claims(issuer.token(exp=time)) is None
    assert await tokens.claims(issuer.token(nbf=time + 4, iat=time + 4)) is not None
    assert await tokens.claims(issuer.token(nbf=time + 6)) is None
    assert await tokens.claims(issuer.token(iat=time + 6)) is None


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def symmetric(issuer: Issuer, secret: bytes) -> str:
    """Signed by hand: libraries refuse to take a public key for a secret."""
    text = f"{encoded({'alg': 'HS256', 'kid': RSA.kid})}.{encoded(issuer.claims())}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def with_header(issuer: Issuer, signature_of: SigningKey = RSA, **header: Any) -> str:
    """A good signature by this key over a token whose header says something else."""
    private: Any = signature_of.private
    algorithm = signature_of.algorithm
    header = {"typ": "JWT", "alg": algorithm, "kid": signature_of.kid} | header
    text = f"{encoded(header)}.{encoded(issuer.claims())}"
    return f"{text}.{encoded(get_algorithm_by_name(algorithm).sign(text.encode(), private))}"


def altered(issuer: Issuer) -> str:
    """Another subject under the signature of a good token."""
    head, _, signature = issuer.token().split(".")
    return ".".join((head, encoded(issuer.claims(sub="bob")), signature))


LONG_NUMBER = b'{"exp": %s}' % (b"9" * 5000)
BAD_TOKENS: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda issuer: f"{encoded({'alg': 'none'})}.{encoded(issuer.claims())}.",
    "alg none, with a signature": lambda issuer: f"{encoded({'alg': 'none'})}.{encoded(issuer.claims())}.eA",
    "alg None": lambda issuer: with_header(issuer, alg="None"),
    "no alg": lambda issuer: f"{encoded({'kid': RSA.kid})}.{encoded(issuer.claims())}.eA",
    "alg a list": lambda issuer: with_header(issuer, alg=["RS256"]),
    "HS256 with the public key": lambda issuer: symmetric(issuer, RSA.public_pem),
    "HS256 with the public key, bare": lambda issuer: symmetric(issuer, RSA.public_pem.strip()),
    "HS256 with nothing": lambda issuer: symmetric(issuer, b""),
    "RS256 with the EC key": lambda issuer: with_header(issuer, RSA, kid=EC.kid),
    "ES256 with the RSA key": lambda issuer: with_header(issuer, EC, kid=RSA.kid),
    "RS384 where the key is for RS256": lambda issuer: SigningKey("RS384").sign(issuer.claims(), kid=RSA.kid),
    "ES384 with the key of ES256": lambda issuer: with_header(issuer, EC, alg="ES384"),
    "an unknown key under a known name": lambda issuer: SigningKey("RS256", 2).sign(
        issuer.claims(), kid=RSA.kid
    ),
    "an unknown key": lambda issuer: issuer.token(SigningKey("RS256", 2)),
    "an unknown key without a name": lambda issuer: SigningKey("RS256", 2).sign(issuer.claims(), kid=None),
    "a number as kid": lambda issuer: with_header(issuer, kid=1),
    "an altered subject": altered,
    "crit": lambda issuer: with_header(issuer, crit=["exp"], exp=1),
    "crit b64": lambda issuer: with_header(issuer, crit=["b64"], b64=True),
    "b64 false": lambda issuer: with_header(issuer, crit=["b64"], b64=False),
    "crit empty": lambda issuer: with_header(issuer, crit=[]),
    "crit a word": lambda issuer: with_header(issuer, crit="none"),
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "cut": lambda issuer: issuer.token()[:-4],
    "padded": lambda issuer: issuer.token() + "==",
    "one more part": lambda issuer: issuer.token() + ".eA",
    "five parts": lambda issuer: issuer.token() + ".eA.eA",
    "a line break at its end": lambda issuer: issuer.token() + "\n",
    "white space": lambda issuer: " " + issuer.token(),
    "nothing": lambda issuer: "",
    "garbage": lambda issuer: "garbage",
    "three dots": lambda issuer: "...",
    "two dots": lambda issuer: "..",
    "unicode": lambda issuer: "ключ.🔑.\ud800",
    "full-width letters": lambda issuer: issuer.token().replace("e", "\uff45"),
    "NUL": lambda issuer: issuer.token() + "\0",
    "no JSON": lambda issuer: f"{encoded(b'no')}.{encoded(b'no')}.eA",
    "no UTF-8": lambda issuer: f"{encoded(bytes([255, 254, 0]))}.{encoded(bytes([255]))}.eA",
    "a list as header": lambda issuer: f"{encoded([])}.{encoded(issuer.claims())}.eA",
    "a list as claims": lambda issuer: RSA.sign({}).split(".")[0] + f".{encoded([1])}.eA",
    "deep header": lambda issuer: f"{encoded(b'[' * 5000)}.{encoded(issuer.claims())}.eA",
    "deep claims": lambda issuer: f"{encoded({'alg': 'RS256'})}.{encoded(b'[' * 5000)}.eA",
    "long numbers": lambda issuer: f"{encoded({'alg': 'RS256'})}.{encoded(LONG_NUMBER)}.eA",
}


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_what_the_issuer_did_not_sign_is_refused(
    issuer: Issuer, tokens: Tokens, bad: Callable[[Issuer], str]
) -> None:
    """Forged, altered or broken tokens are refused by a server that accepts good ones before and after."""
    assert await tokens.claims(issuer.token()) is not None
    assert await tokens.claims(bad(issuer)) is None
    assert await tokens.claims(issuer.token()) is not None


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example.com/keys"},
        {"x5u": "https://evil.example.com/certificate"},
        {"jwk": SigningKey("RS256", 2).jwk()},
        {"x5c": ["MIIB"]},
    ],
)
async def test_keys_that_a_token_brings_along_are_ignored(
    issuer: Issuer, tokens: Tokens, header: dict[str, Any]
) -> None:
    """Only the issuer's own keys count: nothing else is asked for, and a token's own key proves nothing."""
    forged = SigningKey("RS256", 2).sign(issuer.claims(), kid=RSA.kid, **header)

    assert await tokens.claims(forged) is None
    assert await tokens.claims(RSA.sign(issuer.claims(), **header)) is not None
    assert issuer.asked == ["/.well-known/oauth-authorization-server/team", "/keys"]


async def test_a_token_that_is_too_long_is_not_read(issuer: Issuer, tokens: Tokens) -> None:
    """The longest good token is accepted; one with more characters than allowed is not looked at."""
    room = (LONGEST_TOKEN - len(issuer.token(pad=""))) * 3 // 4

    assert await tokens.claims(issuer.token(pad="x" * (room - 3))) is not None
    assert await tokens.claims(issuer.token(pad="x" * (room + 3))) is None
    assert await tokens.claims("x" * 10_000_000) is None


async def test_what_is_wrong_anyhow_does_not_need_the_issuer(issuer: Issuer, tokens: Tokens) -> None:
    """Expired, foreign and symmetric tokens are refused without a request to the issuer."""
    for token in (issuer.token(exp=1), issuer.token(iss="https://evil.example.com"), symmetric(issuer, b"")):
        assert await tokens.claims(token) is None

    assert issuer.asked == []


async def test_the_log_says_why_and_nothing_of_the_token(
    issuer: Issuer, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """Operators read the reason; subjects, scopes and the token itself stay out of the log."""
    caplog.set_level(logging.DEBUG)
    changes = {"sub": "canary-subject", "scope": "canary-scope", "jti": "canary"}
    token = issuer.token(SigningKey("RS256", 2), **changes)
    parts = token.split(".")

    await tokens.claims(token)
    await tokens.claims(with_header(issuer, alg="canary-alg"))
    await tokens.claims(with_header(issuer, crit=["b64"], b64=True, jku="canary-jku"))
    for claims in ({"exp": 1}, {"exp": "canary"}, {"aud": "canary-aud"}, {"iss": "canary-iss"}):
        await tokens.claims(issuer.token(**changes | claims))

    reasons = [record.getMessage() for record in caplog.records if record.name.endswith("oauth")]
    assert reasons == [
        "A token was refused: no key of the issuer made its signature",
        "A token was refused: an algorithm that is not accepted",
        "A token was refused: it asks for an extension of the standard",
        "A token was refused: expired",
        "A token was refused: missing or unusable: exp",
        "A token was refused: for another audience",
        "A token was refused: another issuer",
    ]
    assert "canary" not in caplog.text
    assert not any(part in caplog.text for part in parts)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(),
        st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True),
        st.tuples(st.binary(), st.binary(), st.binary()).map(lambda parts: ".".join(map(encoded, parts))),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["alg", "kid", "iss"]), inner),
        ).map(lambda value: f"{encoded(value)}.{encoded(value)}.eA"),
        st.dictionaries(
            st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat"]),
            st.integers() | st.text() | st.floats() | st.just(ADDRESS) | st.just(AUDIENCE),
        ).map(lambda claims: f"{encoded({'alg': 'RS256', 'kid': RSA.kid})}.{encoded(claims)}.eA"),
    )
)
async def test_garbage_is_refused_and_never_an_error(issuer: Issuer, tokens: Tokens, token: str) -> None:
    """Whatever a caller sends as a token, the answer is no."""
    assert await tokens.claims(token) is None


@pytest.mark.parametrize("missing", ["WAN_MCP_OAUTH_ISSUER", "WAN_MCP_OAUTH_AUDIENCE"])
async def test_without_an_issuer_and_an_audience_no_token_is_checked(missing: str) -> None:
    """A check without them would accept the tokens of others."""
    given = {"WAN_MCP_OAUTH_ISSUER": ADDRESS, "WAN_MCP_OAUTH_AUDIENCE": AUDIENCE}
    del given[missing]

    with pytest.raises(SettingsError, match=r"must be set"):
        Tokens(Settings.load(given))
