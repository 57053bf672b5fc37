"""An upload over a slow line: it ends in time as long as something moves."""

from collections.abc import AsyncIterable

import anyio
import httpx2
import pytest
from pydantic import SecretStr

from tests.evolink.gateway import reply
from tests.world import KEY
from wan_mcp.errors import LostAnswer
from wan_mcp.evolink import Connections, Evolink, Upload, retries

pytestmark = pytest.mark.anyio

CONTENT = bytes(4_400_000)
UPLOADED = Upload(url="https://files.evolink.ai/a.png")


class Line(httpx2.AsyncBaseTransport):
    """A line that carries a number of bytes a second, and what a call does when its turn has come.

    Args:
        speed: bytes a second; one that is 0 carries nothing more after the first piece.
        answers_after: seconds from the last byte to the answer.
    """

    def __init__(self, speed: float, answers_after: float = 0) -> None:
        self.speed = speed
        self.answers_after = answers_after
        self.received = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Receive the body as a network does: each piece within the time-out of a write."""
        limits = request.extensions["timeout"]
        assert isinstance(request.stream, AsyncIterable)
        async for piece in request.stream:
            with anyio.move_on_after(limits["write"]) as scope:
                await (anyio.sleep(len(piece) / self.speed) if self.speed else anyio.sleep_forever())
            if scope.cancelled_caught:
                raise httpx2.WriteTimeout("nothing moved", request=request)
            self.received += len(piece)
        with anyio.move_on_after(limits["read"]) as scope:
            await anyio.sleep(self.answers_after)
        if scope.cancelled_caught:
            raise httpx2.ReadTimeout("nothing came", request=request)
        data = {"success": True, "data": {"file_url": UPLOADED.url, "user": {"remaining_credits": 1}}}
        return reply(data)


def over(line: Line) -> Evolink:
    return Evolink(SecretStr(KEY), Connections(line))


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is made once: what one of them does is the question here."""
    monkeypatch.setattr(retries, "ATTEMPTS", 1)


@pytest.mark.parametrize("speed", [1_000_000, 90_000, 30_000])
async def test_a_slow_upload_ends(speed: float) -> None:
    """Minutes are fine while bytes move; the file arrives whole."""
    line = Line(speed, answers_after=15)
    start = anyio.current_time()
    assert await over(line).upload("a.png", CONTENT, "image/png") == UPLOADED
    assert anyio.current_time() - start > len(CONTENT) / speed
    assert line.received > len(CONTENT)


@pytest.mark.parametrize(
    ("speed", "answers_after", "least", "most"),
    [(0, 0, 20, 21), (1_000_000, 60, 20, 30), (10_000, 0, 240, 251), (1_000, 0, 20, 66)],
    ids=["stuck", "no answer", "too slow", "much too slow"],
)
async def test_an_upload_that_does_not_move_is_given_up(
    speed: float, answers_after: float, least: float, most: float
) -> None:
    """After 20 seconds of silence, and in any case after a time that grows with the size."""
    start = anyio.current_time()
    with pytest.raises(LostAnswer) as caught:
        await over(Line(speed, answers_after)).upload("a.png", CONTENT, "image/png")
    assert caught.value.charged == "no"
    assert least <= anyio.current_time() - start <= most


async def test_a_read_keeps_its_bound() -> None:
    """There is nothing to send, so nothing takes long."""

    async def trickle() -> object:
        for _ in range(100):
            await anyio.sleep(10)
            yield b" "

    stream = httpx2.MockTransport(lambda _: httpx2.Response(200, content=trickle()))  # type: ignore[arg-type]
    start = anyio.current_time()
    with pytest.raises(LostAnswer):
        await Evolink(SecretStr(KEY), Connections(stream)).credits()
    assert anyio.current_time() - start <= 31
