"""What is done about a request: new, gone on with, or answered by an earlier one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import BODY, HOUR, intent, lose, make, owned, rules, task
from wan_mcp.ledger import Claim, Entry, OwnerLedger

pytestmark = pytest.mark.anyio


async def test_a_new_request_is_ours_and_written_down(ledger: OwnerLedger) -> None:
    """The row has all that the next process needs, under a key that the API takes."""
    claim = await ledger.claim(intent(), rules())
    assert claim == Claim(
        "fresh",
        Entry(
            number=1,
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
            recovered=False,
            task=None,
            known_at=None,
            completed_at=None,
            saved=None,
        ),
    )
    assert re.fullmatch("[A-Za-z0-9._-]{16,96}", claim.entry.idempotency_key or "")
    other = await ledger.claim(intent("dog"), rules())
    assert other.entry.idempotency_key != claim.entry.idempotency_key


async def test_what_is_sent_is_kept_with_the_times_of_first_and_last(ledger: OwnerLedger) -> None:
    """A repeat must be byte for byte the same, and its task can be of either time."""
    claim = await ledger.claim(intent(), rules())
    first = await ledger.mark_posted(claim.entry.number, BODY, EPOCH + 1)
    assert first == replace(claim.entry, body=BODY, posted_at=EPOCH + 1, reposted_at=EPOCH + 1)
    again = await ledger.mark_posted(claim.entry.number, BODY, EPOCH + 9)
    assert again == replace(first, reposted_at=EPOCH + 9)


async def test_the_same_request_has_its_task_for_as_long_as_it_repeats(
    ledger: OwnerLedger, tmp_path: Path
) -> None:
    """Within the window it is the same one, and after it a new one."""
    entry = await make(ledger)
    assert await ledger.claim(intent(), rules(EPOCH + HOUR - 1)) == Claim("repeat", entry)
    assert (await ledger.claim(intent("dog"), rules(EPOCH + 1))).kind == "fresh"
    async with owned(tmp_path / "data", "you") as yours:
        assert (await yours.claim(intent(), rules(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(), rules(EPOCH + HOUR))).kind == "fresh"


async def test_a_request_gone_on_with_repeats_from_then_on(ledger: OwnerLedger) -> None:
    """It was lost in the morning and made in the evening: the next call of the evening is a repeat."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), rules(evening))
    assert claim.kind == "resume"
    await ledger.mark_posted(claim.entry.number, BODY, evening)
    await ledger.mark_answered(claim.entry.number, task(), evening)
    assert (await ledger.claim(intent(), rules(evening + HOUR - 1))).kind == "repeat"
    assert (await ledger.claim(intent(), rules(evening + HOUR))).kind == "fresh"


async def test_an_recovered_task_repeats_from_its_recovery_on(ledger: OwnerLedger) -> None:
    """Nothing was sent in the evening, but it was asked for, and its task was found."""
    await lose(ledger)
    evening = EPOCH + 10 * HOUR
    claim = await ledger.claim(intent(), rules(evening))
    await ledger.mark_answered(claim.entry.number, task(), evening, recovered=True)
    assert (await ledger.claim(intent(), rules(evening + HOUR - 1))).kind == "repeat"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_is_no_repeat(ledger: OwnerLedger, status: str) -> None:
    """A request that failed may be requested again."""
    await make(ledger, status=status)
    assert (await ledger.claim(intent(), rules(EPOCH + 1))).kind == "fresh"


async def test_a_new_take_is_another_row_unless_one_is_unanswered(ledger: OwnerLedger) -> None:
    """A client that repeats a broken call repeats that argument, too."""
    await make(ledger)
    take = rules(EPOCH + 60, new_take=True)
    claim = await ledger.claim(intent(), take)
    assert claim.kind == "fresh"
    assert (await ledger.claim(intent(), take)).kind == "busy"
    await ledger.mark_posted(claim.entry.number, BODY, EPOCH + 60)
    await ledger.release(claim.entry.number, sent=True)
    again = await ledger.claim(intent(), take)
    assert (again.kind, again.entry.number) == ("resume", claim.entry.number)


async def test_an_unanswered_request_is_gone_on_with_for_23_hours(ledger: OwnerLedger) -> None:
    """After that the key means nothing any more, and the request is a new one."""
    await lose(ledger)
    claim = await ledger.claim(intent(), rules(EPOCH + 23 * HOUR - 1))
    assert claim.kind == "resume"
    assert (await ledger.claim(intent(), rules(EPOCH + 23 * HOUR + 1))).kind == "busy"
    await ledger.release(claim.entry.number, sent=True)
    assert (await ledger.claim(intent(), rules(EPOCH + 24 * HOUR))).kind == "fresh"


async def test_whoever_waited_gets_what_came_of_it(ledger: OwnerLedger) -> None:
    """The task, even one that has failed; or that nothing is known; or the turn, if it was given up."""
    first = await ledger.claim(intent(), rules())
    number = first.entry.number
    assert (await ledger.claim(intent(), rules(), waited_for=number)).kind == "busy"
    await ledger.mark_posted(number, BODY, EPOCH)
    await ledger.release(number, sent=True)
    assert (await ledger.claim(intent(), rules(), waited_for=number)).kind == "unknown"
    assert (await ledger.claim(intent(), rules())).kind == "resume"
    entry = await ledger.mark_answered(number, task(status="failed"), EPOCH)
    assert await ledger.claim(intent(), rules(), waited_for=number) == Claim("repeat", entry)
    second = await ledger.claim(intent(), rules())
    await ledger.release(second.entry.number, sent=False)
    assert (await ledger.claim(intent(), rules(), waited_for=second.entry.number)).kind == "fresh"
