"""Reads are tried again, within bounds."""

from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest

from tests.clock import now
from tests.evolink.gateway import ONCE, REQUEST, account, answering, moments, read, saying
from wan_mcp.errors import (
    Busy,
    ContentRefused,
    EvolinkError,
    LostAnswer,
    NotFound,
    OutOfCredits,
    Refused,
    ServerFault,
    Unauthorized,
    UnreadableAnswer,
)
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


READS = pytest.mark.parametrize("at", ["task", "tasks", "credits", "upload"])


async def test_an_answer_about_another_task_says_nothing_of_this_one() -> None:
    """Its video, its failure and its cost are those of another request."""
    other = {"id": "task-unified-other", "status": "completed", "results": ["https://a.example.com/b.mp4"]}
    with pytest.raises(UnreadableAnswer, match="another task"):
        await saying(other).task("task-unified-cat")


@READS
@pytest.mark.parametrize(
    "fault",
    [
        "status=429",
        "status=500",
        "status=502",
        "status=503",
        "status=504",
        "status=503,older=true",
        "capacity",
        "capacity,older=true",
        "lost",
        "dropped",
        "cut",
        "garbage",
        "html",
        "html,status=502",
        "empty",
        "huge,size=2000000",
    ],
)
async def test_a_read_survives_what_passes(at: str, fault: str) -> None:
    """Twice in a row is not too much; three times is, and the error costs nothing."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*2"))
    await read(world, at)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*always"))
    world.records.calls.clear()
    with pytest.raises(EvolinkError) as caught:
        await read(world, at)
    assert type(caught.value) in (Busy, LostAnswer, ServerFault, UnreadableAnswer)
    assert (caught.value.charged, bool(caught.value.next_step)) == ("no", True)
    assert len(world.records.calls) == 3


@READS
async def test_a_read_that_hangs_is_tried_once_more(at: str) -> None:
    """Half a minute is enough for an answer, and two of them are enough for anybody's patience."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault(at, "slow", None, seconds=60))
    start = now()
    with pytest.raises(LostAnswer) as caught:
        await read(world, at)
    assert (caught.value.charged, len(moments(world, at))) == ("no", 2)
    assert 60 <= now() - start < 75


@READS
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", Refused),
        ("401", Unauthorized),
        ("402", OutOfCredits),
        ("403", Unauthorized),
        ("404", NotFound),
        ("409", Refused),
        ("422", Refused),
        ("status=400,code=content_filter", ContentRefused),
    ],
)
async def test_a_refusal_of_a_read_is_not_asked_again(at: str, fault: str, kind: type[EvolinkError]) -> None:
    """It would be refused again."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    world.sandbox.faults.add(Fault.parse(f"{at}:{fault}*always"))
    with pytest.raises(kind) as caught:
        await read(world, at)
    assert type(caught.value) is kind
    assert caught.value.charged == "no"
    assert len(moments(world, at)) == 1


async def test_reads_are_spread_over_a_few_seconds() -> None:
    """Half a second to one, then one to two."""
    world = account(faults=[Fault("credits", "status", None, status=500)])
    with pytest.raises(ServerFault):
        await world.evolink().credits()
    first, second, third = moments(world, "credits")
    assert second - first >= 0.5
    assert third - second >= 1.0
    assert third - first < 10


@pytest.mark.parametrize(
    ("retry_after", "calls", "least", "most"),
    [
        ("15", 3, 30, 35),
        (" 15 ", 3, 30, 35),
        ("30", 2, 30, 35),
        ("31", 1, 0, 0),
        ("999999", 1, 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1, 0, 0),
        ("0", 3, 0, 5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 3, 0, 5),
        ("-5", 3, 1.5, 10),
        ("1.5", 3, 1.5, 10),
        ("soon", 3, 1.5, 10),
        ("9" * 40, 3, 1.5, 10),
        ("", 3, 1.5, 10),
    ],
)
async def test_retry_after_is_waited_out_up_to_half_a_minute(
    retry_after: str, calls: int, least: float, most: float
) -> None:
    """A longer pause is the caller's to take; what is no time at all is passed over."""
    world = account(faults=[Fault("credits", "status", None, status=429, retry_after=retry_after)])
    with pytest.raises(Busy) as caught:
        await world.evolink().credits()
    times = moments(world, "credits")
    assert len(times) == calls
    assert least <= times[-1] - times[0] <= most
    assert caught.value.charged == "no"


async def test_a_pause_that_is_too_long_is_told() -> None:
    """The caller learns for how long."""
    world = account(faults=[Fault("credits", "status", status=429, retry_after=90)])
    with pytest.raises(Busy) as caught:
        await world.evolink().credits()
    assert (caught.value.retry_after, caught.value.status) == (90, 429)


async def test_an_answer_that_trickles_is_given_up() -> None:
    """Half a minute is for the whole answer, not for each of its pieces."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            await anyio.sleep(1)
            yield b" "

    evolink = answering(lambda _: httpx2.Response(200, content=drops()))
    start = now()
    with pytest.raises(LostAnswer) as caught:
        await evolink.credits()
    assert caught.value.charged == "no"
    assert 60 <= now() - start < 75
