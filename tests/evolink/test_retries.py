"""When a call that surely had no effect is made again."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.evolink.gateway import ONCE, REQUEST, account
from wan_mcp.errors import Busy, EvolinkError, LostAnswer, Refused, Unreachable
from wan_mcp.evolink.retries import persist
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio
RETRIED = (Unreachable, Busy)


def failing(*errors: EvolinkError, seconds: float = 0) -> tuple[Callable[[], Awaitable[str]], list[float]]:
    """A call that raises each of these, then answers; and the times of its beginnings."""
    left, times = list(errors), list[float]()

    async def call() -> str:
        times.append(anyio.current_time())
        await anyio.sleep(seconds)
        if left:
            raise left.pop(0)
        return "answer"

    return call, times


async def test_what_works_is_called_once() -> None:
    """There is no pause before it, either."""
    call, times = failing()
    assert await persist(call, RETRIED) == "answer"
    assert times == [0]


async def test_pauses_grow_and_are_spread() -> None:
    """Half a second to one, then one to two: clients that failed together do not come back together."""
    pauses = set()
    for _ in range(20):
        call, times = failing(Busy("no"), Unreachable("no"))
        assert await persist(call, RETRIED) == "answer"
        first, second = times[1] - times[0], times[2] - times[1]
        assert 0.5 <= first <= 1 <= second <= 2
        pauses.add(first)
    assert len(pauses) > 10


async def test_the_last_error_is_told() -> None:
    """After three attempts."""
    errors = [Busy(str(number)) for number in range(3)]
    call, times = failing(*errors)
    with pytest.raises(Busy) as caught:
        await persist(call, RETRIED)
    assert caught.value is errors[-1]
    assert len(times) == 3


@pytest.mark.parametrize("error", [Refused("no"), LostAnswer("no", charged="unknown")])
async def test_other_errors_are_told_at_once(error: EvolinkError) -> None:
    """Also after one that was worth a repeat."""
    call, times = failing(Busy("no"), error)
    with pytest.raises(type(error)):
        await persist(call, RETRIED)
    assert len(times) == 2


@pytest.mark.parametrize(
    ("retry_after", "seconds", "attempts"),
    [
        (0, 0, 3),
        (15, 0, 3),
        (19, 0, 3),
        (21, 0, 2),
        (30, 0, 2),
        (30.5, 0, 1),
        (30, 10, 2),
        (30, 11, 1),
        (None, 38, 2),
        (None, 60, 1),
    ],
)
async def test_pauses_are_bounded_each_and_together(
    retry_after: float | None, seconds: float, attempts: int
) -> None:
    """Thirty seconds at most as asked for, and forty from the first attempt to the last one's beginning."""
    call, times = failing(*[Busy("no", retry_after=retry_after) for _ in range(3)], seconds=seconds)
    with pytest.raises(Busy):
        await persist(call, RETRIED)
    assert len(times) == attempts
    assert times[-1] <= 40


@pytest.mark.parametrize(
    ("faults", "posts"), [(["429*2"], 3), (["capacity", "429"], 3), (["429*always"], 3), ([], 1)]
)
async def test_a_submission_that_was_surely_not_accepted_may_be_repeated_with_it(
    faults: list[str], posts: int
) -> None:
    """It is paid at most once, also by a gateway that ignores the key."""
    world = account(
        honours_idempotency_key=False, faults=[Fault.parse(f"submit:{fault}") for fault in faults]
    )
    evolink = world.evolink()
    try:
        await persist(lambda: evolink.submit(REQUEST, idempotency_key=ONCE), RETRIED)
    except Busy:
        assert faults == ["429*always"]
    assert world.records.posts == posts
    assert len(world.records.paid) == (faults != ["429*always"])
