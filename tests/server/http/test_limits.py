"""How many requests a caller and an address may make, exactly, and what is remembered of them."""

import anyio
import httpx2
import pytest

from tests.server.http.hosted import HTTP_ERAS, Era, Hosted, hosted
from tests.server.http.issuer import Issuer
from tests.server.http.test_refusals import IN_BOTH_MODES, Mode
from tests.world import KEY, World
from wan_mcp.server.http import keys, limits
from wan_mcp.server.http.access import TooManyRequests
from wan_mcp.server.http.limits import MINUTE, OF_AN_ADDRESS, OF_AN_OWNER, RateLimits, network_of

pytestmark = pytest.mark.anyio

OTHER_KEY = "sk-another-0123456789abcdef"


def too_many(answer: httpx2.Response, retry_after: int) -> bool:
    """Whether this is the whole answer to one request too many."""
    return (
        answer.status_code == 429
        and answer.json()["error"] == "too_many_requests"
        and dict(answer.headers)
        == {
            "content-type": "application/json",
            "content-length": str(len(answer.content)),
            "retry-after": str(retry_after),
        }
    )


async def ping(server: Hosted, address: str, credential: str, era: Era = "modern") -> httpx2.Response:
    """The smallest request that is answered."""
    return await server.post(era, "prompts/list", address, authorization=f"Bearer {credential}")


@IN_BOTH_MODES
async def test_an_owner_may_make_120_requests_a_minute(world: World, mode: Mode) -> None:
    """From wherever, and in both eras together; the 121st is allowed when it says so, and not before."""
    issuer = Issuer("https://login.example.com") if mode == "oauth" else None
    world.sandbox.other_keys = (OTHER_KEY,)
    one, two = (issuer.token(), issuer.token(sub="bob")) if issuer else (KEY, OTHER_KEY)
    async with hosted(world, issuer=issuer) as server:
        for number in range(OF_AN_OWNER):
            answer = await ping(server, f"192.0.2.{number}", one, HTTP_ERAS[number % 2])
            assert answer.status_code == 200
        assert OF_AN_OWNER == 120
        assert too_many(await ping(server, "192.0.2.200", one), retry_after=1)
        assert (await ping(server, "192.0.2.200", two)).status_code == 200  # another owner is not slowed
        await anyio.sleep(0.49)
        assert too_many(await ping(server, "192.0.2.200", one), retry_after=1)
        await anyio.sleep(0.02)
        assert (await ping(server, "192.0.2.200", one)).status_code == 200
        assert too_many(await ping(server, "192.0.2.200", one), retry_after=1)
        await anyio.sleep(MINUTE)
        for _ in range(OF_AN_OWNER):
            assert (await ping(server, "192.0.2.200", one)).status_code == 200


async def test_a_new_token_is_no_new_owner(world: World) -> None:
    """Who may issue tokens to himself cannot make more requests."""
    issuer = Issuer("https://login.example.com")
    async with hosted(world, issuer=issuer) as server:
        for number in range(OF_AN_OWNER):
            assert (await ping(server, "192.0.2.1", issuer.token(jti=f"{number}"))).status_code == 200
        assert too_many(await ping(server, "192.0.2.1", issuer.token(jti="new")), retry_after=1)


async def test_an_address_may_make_600_requests_a_minute_whatever_they_are(world: World) -> None:
    """Refused ones count too: foreign hosts, pages, and invented keys; another address is not slowed."""
    async with hosted(world) as server:
        for _ in range(OF_AN_ADDRESS // 4):
            assert (await server.post(host="evil.example")).status_code == 421
            assert (await server.post(origin="https://evil.example")).status_code == 403
            assert (await server.post(authorization="Bearer a", x_api_key="b")).status_code == 400
            assert (await server.post()).status_code == 401
        assert OF_AN_ADDRESS == 600
        assert too_many(await server.post(), retry_after=1)
        assert too_many(await server.post(host="evil.example"), retry_after=1)
        assert too_many(await ping(server, "192.0.2.1", KEY), retry_after=1)
        assert (await ping(server, "192.0.2.2", KEY)).status_code == 200
        assert (await server.http().get("/healthz")).status_code == 200
        await anyio.sleep(0.11)
        assert (await ping(server, "192.0.2.1", KEY)).status_code == 200
        assert too_many(await ping(server, "192.0.2.1", KEY), retry_after=1)


async def test_a_thousand_invented_keys_from_one_address_are_600_checks(world: World) -> None:
    """Those beyond are not looked at; of the others, nothing but a digest stays, for a minute."""
    async with hosted(world) as server:
        answers = [
            (await ping(server, "192.0.2.1", f"sk-invented-{number:016}")).status_code
            for number in range(1000)
        ]
        state = server.app.state.hosted
        assert answers == [401] * 600 + [429] * 400
        assert (state.services.owners, state.callers.keys.known) == (0, 600)
        await anyio.sleep(keys.BAD_FOR)
        assert (await ping(server, "192.0.2.2", KEY)).status_code == 200
    assert [call.at for call in world.records.calls] == ["credits"] * 601
    assert await world.rows() == []


async def test_one_network_of_ipv6_is_one_address(world: World) -> None:
    """Whoever has an address has 18,446,744,073,709,551,616 of them."""
    async with hosted(world) as server:
        for number in range(OF_AN_ADDRESS):
            refused = await server.post(address=f"2001:db8:0:7:{number:x}::{number:x}")
            assert refused.status_code == 401
        assert too_many(await server.post(address="2001:db8:0:7:ffff:ffff:ffff:ffff"), retry_after=1)
        assert (await server.post(address="2001:db8:0:8::1")).status_code == 401


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:7::1", "2001:db8:0:7::/64"),
        ("2001:db8:0:7:8:9:a:b", "2001:db8:0:7::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
async def test_what_is_counted_for_an_address(address: str, network: str) -> None:
    """IPv4 by the address, however it is written; IPv6 by the network."""
    assert network_of(address) == network


async def test_callers_who_make_no_requests_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; who is at the limit is not the one that is forgotten."""
    monkeypatch.setattr(limits, "MAX_KNOWN", 10)
    rate = RateLimits(60)
    for _ in range(60):
        rate.take("busy")
    for number in range(1000):
        rate.take(f"{number}")
    with pytest.raises(TooManyRequests):
        rate.take("busy")
    assert len(rate._free_at) <= 10
    await anyio.sleep(MINUTE)
    rate.take("busy")
