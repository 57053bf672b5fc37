"""What is done about a request: new, gone on with, or answered by an earlier one."""

import re
from dataclasses import replace

import pytest

from tests.conftest import EPOCH
from tests.ledger.rows import BODY, HOUR, intent, lose, make, task, terms
from wan_mcp.ledger import Claim, Entry
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = pytest.mark.anyio


async def test_a_new_wish_is_ours_and_written_down(ledger: SqliteLedger) -> None:
    """The row has all that the next process needs, under a key that the API takes."""
    claim = await ledger.claim(intent(), terms())
    assert claim == Claim(
        "fresh",
        Entry(
            number=1,
            owner="me",
            fingerprint="print of cat",
            idempotency_key=claim.entry.idempotency_key,
            asked_at=EPOCH,
            posted_at=None,
            reposted_at=None,
            body=None,
            prompt="A cat yawns.",
            duration=5,
            quality="720p",
            estimate=25.5,
            adopted=False,
            task=None,
            known_at=None,
            completed_at=None,
            saved=None,
        ),
    )
    assert re.fullmatch("[A-Za-z0-9._-]{16,96}", claim.entry.idempotency_key or "")
    other = await ledger.claim(intent("dog"), terms())
    assert other.entry.idempotency_key != claim.entry.idempotency_key


async def test_what_is_sent_is_kept_with_the_times_of_first_and_last(ledger: SqliteLedger) -> None:
    """A repeat must be byte for byte the same, and its task can be of either time."""
    claim = await ledger.claim(intent(), terms())
    first = await ledger.posting(claim.entry.number, BODY, EPOCH + 1)
    assert first == replace(claim.entry, body=BODY, posted_at=EPOCH + 1, reposted_at=EPOCH + 1)
    again = await ledger.posting(claim.entry.number, BODY, EPOCH + 9)
    assert again == replace(first, reposted_at=EPOCH + 9)


async def test_the_same_wish_has_its_task_for_as_long_as_it_repeats(ledger: SqliteLedger) -> None:
    """Within the window it is the same one, and after it a new one."""
    entry = await make(ledger)
    assert await ledger.claim(intent(), terms(EPOCH + HOUR - 1)) == Claim("repeat", entry)
    assert (await ledger.claim(intent("dog"), terms(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(owner="you"), terms(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(), terms(EPOCH + HOUR))).kind == "fresh"


async def test_a_request_gone_on_with_repeats_from_then_on(ledger: SqliteLedger) -> None:
    """It was lost in the morning and made in the evening: the next call of the evening is a repeat."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), terms(evening))
    assert claim.kind == "resume"
    await ledger.posting(claim.entry.number, BODY, evening)
    await ledger.answered(claim.entry.number, task(), evening)
    assert (await ledger.claim(intent(), terms(evening + HOUR - 1))).kind == "repeat"
    assert (await ledger.claim(intent(), terms(evening + HOUR))).kind == "fresh"


async def test_an_adopted_task_repeats_from_its_adoption_on(ledger: SqliteLedger) -> None:
    """Nothing was sent in the evening, but it was asked for, and its task was found."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), terms(evening))
    await ledger.answered(claim.entry.number, task(), evening, adopted=True)
    assert (await ledger.claim(intent(), terms(evening + HOUR - 1))).kind == "repeat"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_is_no_repeat(ledger: SqliteLedger, status: str) -> None:
    """A wish that failed may be wished again."""
    await make(ledger, status=status)
    assert (await ledger.claim(intent(), terms(EPOCH + 1))).kind == "fresh"


async def test_a_new_take_is_another_row_unless_one_is_unanswered(ledger: SqliteLedger) -> None:
    """A client that repeats a broken call repeats that argument, too."""
    await make(ledger)
    take = terms(EPOCH + 60, new_take=True)
    claim = await ledger.claim(intent(), take)
    assert claim.kind == "fresh"
    assert (await ledger.claim(intent(), take)).kind == "busy"
    await ledger.posting(claim.entry.number, BODY, EPOCH + 60)
    await ledger.released(claim.entry.number, sent=True)
    again = await ledger.claim(intent(), take)
    assert (again.kind, again.entry.number) == ("resume", claim.entry.number)


async def test_an_unanswered_request_is_gone_on_with_for_23_hours(ledger: SqliteLedger) -> None:
    """After that the key means nothing any more, and the wish is a new one."""
    await lose(ledger)
    claim = await ledger.claim(intent(), terms(EPOCH + 23 * HOUR - 1))
    assert claim.kind == "resume"
    assert (await ledger.claim(intent(), terms(EPOCH + 23 * HOUR + 1))).kind == "busy"
    await ledger.released(claim.entry.number, sent=True)
    assert (await ledger.claim(intent(), terms(EPOCH + 24 * HOUR))).kind == "fresh"


async def test_whoever_waited_gets_what_came_of_it(ledger: SqliteLedger) -> None:
    """The task, even one that has failed; or that nothing is known; or the turn, if it was given up."""
    first = await ledger.claim(intent(), terms())
    number = first.entry.number
    assert (await ledger.claim(intent(), terms(), waited_for=number)).kind == "busy"
    await ledger.posting(number, BODY, EPOCH)
    await ledger.released(number, sent=True)
    assert (await ledger.claim(intent(), terms(), waited_for=number)).kind == "unknown"
    assert (await ledger.claim(intent(), terms())).kind == "resume"
    entry = await ledger.answered(number, task(status="failed"), EPOCH)
    assert await ledger.claim(intent(), terms(), waited_for=number) == Claim("repeat", entry)
    second = await ledger.claim(intent(), terms())
    await ledger.released(second.entry.number, sent=False)
    assert (await ledger.claim(intent(), terms(), waited_for=second.entry.number)).kind == "fresh"
