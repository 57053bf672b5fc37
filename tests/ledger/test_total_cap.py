"""The cap for all owners of a ledger together."""

import threading
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import anyio
import pytest

from tests.clock import EPOCH
from tests.ledger.processes import go_on, other_process, word
from tests.ledger.rows import (
    API,
    DAY,
    HOUR,
    OTHER_API,
    Place,
    answered,
    intent,
    ledger_at,
    make,
    owned,
    posted,
    rules,
    shared,
    task,
)
from wan_mcp.errors import CapReached
from wan_mcp.ledger import Ledger, OwnerLedger

COST = 25.5
CAP = 5 * COST
"""Five requests of the usual price."""
EXCEEDED = (
    "The server's daily cap for all callers together (WAN_MCP_TOTAL_DAILY_CREDITS) would be exceeded: this "
    "video is estimated at 25.5 credits ($0.38)."
)


async def is_allowed(ledger: OwnerLedger, name: str, now: float = EPOCH, cap: float = 2 * COST) -> bool:
    try:
        claim = await ledger.claim(intent(name), rules(now, total_daily_credits=cap))
    except CapReached:
        return False
    assert claim.kind == "fresh"
    return True


def claim_in_a_thread(
    place: Place, owner: str, name: str, start: threading.Barrier, results: "SimpleQueue[bool]"
) -> None:
    """Claim a request with a ledger of its own, as another process has."""

    async def claim() -> None:
        ledger = ledger_at(place)
        await ledger.open()
        start.wait()
        results.put(await is_allowed(ledger.for_owner(API, owner), name, cap=CAP))
        # Not closed: a process that ends gives its claims up, and they would no longer count.
        kept.append(ledger)

    kept: list[Ledger] = []
    anyio.run(claim)
    start.wait()


def test_twenty_threads_of_five_owners_do_not_exceed_it(place: Place) -> None:
    """Exactly as many claims as the cap allows are granted, although all are made at once."""
    start, results = threading.Barrier(20), SimpleQueue[bool]()
    threads = [
        threading.Thread(
            target=claim_in_a_thread, args=(place, f"owner {number % 5}", f"cat {number}", start, results)
        )
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.get() for _ in threads) == [False] * 15 + [True] * 5


@pytest.mark.slow
def test_processes_of_several_owners_do_not_exceed_it(tmp_path: Path) -> None:
    """Each process has another owner and another request; they claim at once."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                other_process("post", f"cat {number}", tmp_path, owner=f"owner {number}", total=3 * COST)
            )
            for number in range(8)
        ]
        for process in processes:
            go_on(process)
        said = sorted(word(process) for process in processes)
    assert said == ["fresh"] * 3 + ["refused"] * 5


@pytest.mark.anyio
async def test_what_others_spent_counts_at_the_same_gateway_alone(place: Place) -> None:
    """Of other owners, for a day, unless it failed; another API's tasks cost another account."""
    async with shared(place) as ledger:
        one, two = ledger.for_owner(API, "one"), ledger.for_owner(API, "two")
        await make(ledger.for_owner(OTHER_API, "one"), "dear", credits_used=1000.0)
        await make(two, "failed", status="failed")
        await make(one)
        await make(two, "dog")
        assert not await is_allowed(two, "cow")
        assert not await is_allowed(ledger.for_owner(API, "three"), "cow")
        assert not await is_allowed(two, "cow", EPOCH + DAY - 1)
        assert await is_allowed(two, "cow", EPOCH + DAY)


@pytest.mark.anyio
async def test_a_task_that_was_paid_beside_a_request_counts_as_well(place: Place) -> None:
    """It has no claim of its own, but the account paid for it."""
    async with shared(place) as ledger:
        one = ledger.for_owner(API, "one")
        entry = await posted(one)
        entry = await answered(one, entry.number, task(), EPOCH)
        beside = task("beside", credits_reserved=COST)
        await one.mark_paid_beside(entry.number, beside, EPOCH)
        assert not await is_allowed(ledger.for_owner(API, "two"), "dog")


@pytest.mark.anyio
async def test_a_claim_that_was_given_up_no_longer_counts(place: Place) -> None:
    """Nothing was sent for it."""
    async with shared(place) as ledger:
        one, two = ledger.for_owner(API, "one"), ledger.for_owner(API, "two")
        claim = await one.claim(intent(), rules(total_daily_credits=COST))
        assert claim.entry is not None
        assert not await is_allowed(two, "dog", cap=COST)
        await one.release(claim.entry.number)
        assert await is_allowed(two, "dog", cap=COST)


@pytest.mark.anyio
async def test_an_equal_request_gets_its_task_although_the_cap_is_reached(place: Place) -> None:
    """It costs nothing more."""
    async with owned(place) as ledger:
        await make(ledger)
        assert (await ledger.claim(intent(), rules(total_daily_credits=0))).kind == "repeat"


@pytest.mark.anyio
@pytest.mark.usefixtures("in_utc")
@pytest.mark.parametrize(
    ("caps", "message", "advice"),
    [
        (
            {"total_daily_credits": 60},
            EXCEEDED,
            "The cap allows it from tomorrow 13:14 UTC on, or whoever runs this server can raise the cap and "
            "restart it.",
        ),
        (
            {"total_daily_credits": 20},
            EXCEEDED,
            "5 s at 480p would cost 12.75 credits ($0.19). Or whoever runs this server can raise the cap and "
            "restart it.",
        ),
        (
            {"total_daily_credits": 60, "daily_credits": 30},
            "The daily cap of 30 credits ($0.44) (WAN_MCP_DAILY_CREDITS) would be exceeded: 25.5 credits "
            "($0.38) were spent in the last 24 hours, and this video is estimated at 25.5 credits ($0.38).",
            "The cap allows it from tomorrow 14:14 UTC on, or whoever runs this server can raise the cap and "
            "restart it.",
        ),
    ],
)
async def test_the_refusal_does_not_say_what_others_spent(
    place: Place, caps: dict[str, float], message: str, advice: str
) -> None:
    """It says when the cap allows the request, or what is cheaper. An owner's own cap comes first."""
    async with shared(place) as ledger:
        await make(ledger.for_owner(API, "other"), "secret", EPOCH - HOUR)
        mine = ledger.for_owner(API, "me")
        await make(mine)
        with pytest.raises(CapReached) as raised:
            await mine.claim(intent("dog"), rules(**caps))
    assert (raised.value.message, raised.value.next_step) == (message, advice)


@pytest.mark.anyio
async def test_an_owners_digest_is_that_of_its_rows_and_tells_nothing_else(
    place: Place, other_place: Place
) -> None:
    """It is the same each time, another one at another gateway or in another ledger, and not the key."""
    async with shared(place) as ledger, shared(other_place) as other:
        owner = ledger.for_owner(API, "sk-secret")
        await make(owner)
        digest = await ledger.digest(API, "sk-secret")
        rows = await ledger._database.read(lambda file: file.execute("SELECT owner FROM entries").fetchall())
        assert {row["owner"] for row in rows} == {digest} == {await ledger.digest(API, "sk-secret")}
        others = {
            await ledger.digest(API, "sk-other"),
            await ledger.digest(OTHER_API, "sk-secret"),
            await other.digest(API, "sk-secret"),
        }
        assert len({digest, *others}) == 4
        assert "secret" not in digest
