"""The network fails, and nothing secret is given away."""

import logging

import httpx2
import pytest
from pydantic import SecretStr

from tests.evolink.gateway import (
    ARGUMENTS,
    ID,
    ONCE,
    REQUEST,
    account,
    reply,
    saying,
)
from tests.world import KEY, World
from wan_mcp.errors import (
    EvolinkError,
    LostAnswer,
    Unauthorized,
    Unreachable,
)
from wan_mcp.evolink import Connections, Evolink, ImageToVideoRequest
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


def descendants(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in descendants(child))]


FAILURES = sorted(
    {*descendants(httpx2.TransportError), httpx2.DecodingError, httpx2.TooManyRedirects, httpx2.InvalidURL},
    key=lambda kind: kind.__name__,
)


class Breaking(httpx2.AsyncBaseTransport):
    """Raises for so many requests, then passes on."""

    def __init__(self, error: Exception, times: int, beyond: httpx2.AsyncBaseTransport) -> None:
        self.error, self.times, self.beyond, self.attempts = error, times, beyond, 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.attempts += 1
        if self.attempts <= self.times:
            raise self.error
        return await self.beyond.handle_async_request(request)


def broken(world: World, kind: type[Exception], times: int) -> tuple[Evolink, Breaking]:
    transport = Breaking(kind("https://api.evolink.ai/v1?secret=1\nbroke"), times, world.transport)
    return Evolink(SecretStr(KEY), Connections(transport)), transport


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
async def test_every_failure_of_the_network_is_one_of_our_errors(kind: type[Exception]) -> None:
    """All that the HTTP library raises is mapped; only what was surely not sent is called so."""
    expected = Unreachable if issubclass(kind, NOT_SENT) else LostAnswer
    evolink, transport = broken(account(), kind, 99)
    with pytest.raises(EvolinkError) as read:
        await evolink.credits()
    assert (type(read.value), read.value.charged, transport.attempts) == (expected, "no", 3)
    evolink, transport = broken(account(), kind, 99)
    with pytest.raises(EvolinkError) as paid:
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    told = (type(paid.value), paid.value.charged, transport.attempts)
    assert told == (expected, "no" if expected is Unreachable else "unknown", 1)
    for error in (read.value, paid.value):
        assert error.next_step
        assert "secret" not in error.message
        assert "\n" not in error.message


async def test_a_key_that_is_repeated_to_us_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    """Not from a body, not from a header, neither into an error nor into a log."""
    caplog.set_level(logging.DEBUG, logger="wan_mcp")
    body = {"error": {"code": f"bad_{KEY}", "message": f"No such key: {KEY}."}}
    evolink = saying(body, 401, **{"x-request-id": f"id-{KEY}"})
    with pytest.raises(Unauthorized) as caught:
        await evolink.credits()
    error = caught.value
    assert "No such key: [the key]." in error.message
    assert KEY not in f"{error.message} {error.next_step} {error.code} {error.request_id} {caplog.text}"
    with pytest.raises(Unauthorized):
        await evolink.submit(REQUEST, idempotency_key=ONCE)
    assert KEY not in caplog.text


async def test_the_log_holds_no_query_of_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """Paths and outcomes only."""
    caplog.set_level(logging.DEBUG, logger="wan_mcp")
    signed = "https://pictures.example.com/cat.png?signature=secret"
    world = account(faults=[Fault("submit", "status", status=503, message=f"No picture at {signed}.")])
    request = ImageToVideoRequest.model_validate(ARGUMENTS | {"image_urls": [signed]})
    with pytest.raises(LostAnswer):
        await world.evolink().submit(request, idempotency_key=ONCE)
    await world.evolink().tasks()
    assert "HTTP 503" in caplog.text
    assert "secret" not in caplog.text
    assert "page_size" not in caplog.text


async def test_closed_connections_have_closed_their_transport() -> None:
    """Leaving the context closes it once; closing again does no harm."""
    closed = 0

    class Counting(httpx2.MockTransport):
        async def aclose(self) -> None:
            nonlocal closed
            closed += 1

    transport = Counting(lambda _: reply({"id": ID}))
    async with Connections(transport) as connections:  # the paid ones are opened apart
        await Evolink(SecretStr(KEY), connections).task(ID)
        await Evolink(SecretStr(KEY), connections).task(ID)
    await connections.aclose()
    assert closed == 1
