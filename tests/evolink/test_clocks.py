"""What the client knows of the gateway's clock."""

import anyio
import httpx2
import pytest
from pydantic import SecretStr

from tests.clock import now
from tests.evolink.gateway import ID, LOST, ONCE, PICTURE, REQUEST, account, answering, clocked, reply, submit
from tests.world import KEY
from wan_mcp.errors import Refused
from wan_mcp.evolink import Connections, Evolink
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


class Clock:
    """A wall clock that somebody can set."""

    ahead = 0.0

    def __call__(self) -> float:
        return now() + self.ahead


@pytest.mark.parametrize("offset", [0.0, 3.0, -3600.0, 86_400.0])
async def test_the_date_of_an_answer_tells_by_how_much_the_gateway_is_ahead(offset: float) -> None:
    """Good to about a second; not known before the first answer, and the same from then on."""
    evolink = clocked(account(date_offset=offset))
    assert evolink.skew() is None
    await evolink.credits()
    first = evolink.skew()
    assert first == pytest.approx(offset, abs=1)
    await anyio.sleep(10_000)
    assert evolink.skew() == first


async def test_a_slow_answer_counts_from_its_arrival() -> None:
    """Its date is of the end of the waiting."""
    evolink = clocked(account(faults=[Fault("credits", "slow", seconds=20)]))
    await evolink.credits()
    assert evolink.skew() == pytest.approx(0, abs=1)


async def test_every_answer_of_the_api_tells_it() -> None:
    """A paid one, a refusal and an answer that counts as lost, too."""
    world = account(faults=[Fault("submit", "status", status=400), Fault("submit", "html")])
    evolink = clocked(world)
    for offset, outcome in ((10.0, (Refused, "no")), (20.0, LOST), (30.0, "pending")):
        world.sandbox.date_offset = offset
        assert await submit(evolink) == outcome
        assert evolink.skew() == pytest.approx(offset, abs=1)


async def test_the_file_service_does_not_tell_it() -> None:
    """It is another machine."""
    evolink = clocked(account())
    await evolink.upload("a.png", PICTURE, "image/png")
    assert evolink.skew() is None


@pytest.mark.parametrize("date", ["yesterday", "", "Sun, 99 Mar 2026 12:00:30 GMT"])
async def test_a_date_that_cannot_be_read_tells_nothing(date: str) -> None:
    """What was known before stays known."""
    evolink = answering(lambda _: reply({"id": ID}, date=date))
    await evolink.task(ID)
    assert evolink.skew() is None
    world = account(date_offset=7.0)
    evolink = clocked(world)
    await evolink.credits()
    world.sandbox.date_offset = None
    await evolink.credits()
    assert evolink.skew() == pytest.approx(7, abs=1)


async def test_a_gateway_without_a_date_tells_nothing() -> None:
    """There is no such header."""
    evolink = clocked(account(date_offset=None))
    await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert evolink.skew() is None


@pytest.mark.parametrize("change", [2.1, -2.1, 3600.0, -86_400.0])
async def test_a_clock_that_was_changed_makes_it_unknown(change: float) -> None:
    """Set forward or back, or the machine slept: until the next answer tells it anew."""
    clock = Clock()
    evolink = clocked(account(), clock)
    await evolink.credits()
    clock.ahead = change
    assert evolink.skew() is None
    await evolink.credits()
    assert evolink.skew() == pytest.approx(-change, abs=1)


@pytest.mark.parametrize("change", [1.9, -1.9])
async def test_a_clock_that_only_drifts_changes_nothing(change: float) -> None:
    """Every clock runs a little apart from another."""
    clock = Clock()
    evolink = clocked(account(), clock)
    await evolink.credits()
    clock.ahead = change
    assert evolink.skew() == pytest.approx(0, abs=1)


async def test_a_date_of_either_old_form_is_read() -> None:
    """As the standard for HTTP allows."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return reply({"id": ID}, date="Sun Nov  6 08:49:37 1994")

    connections = Connections(httpx2.MockTransport(answer))
    evolink = Evolink(SecretStr(KEY), connections, clock=lambda: 784111770.0)
    await evolink.task(ID)
    assert evolink.skew() == 7
