"""What is done about a request: new, gone on with, or answered by an earlier one."""

import re
from dataclasses import replace

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    BODY,
    DAY,
    HOUR,
    OTHER_API,
    PICTURE,
    Place,
    answered,
    claimed,
    forget,
    intent,
    lose,
    make,
    opened,
    owned,
    posted,
    prints,
    rules,
    shared,
    task,
)
from wan_mcp.ledger import Claim, Entry, OwnerLedger, Post

pytestmark = pytest.mark.anyio


async def test_a_new_request_is_ours_and_written_down(ledger: OwnerLedger) -> None:
    """The row has all that the next process needs, under a key that the API takes."""
    claim = await ledger.claim(intent(take=2), rules())
    assert claim.entry is not None
    assert claim == Claim(
        "fresh",
        Entry(
            number=1,
            fingerprints=prints("cat"),
            idempotency_key=claim.entry.idempotency_key,
            asked_at=EPOCH,
            posts=(),
            guessed=False,
            body=None,
            prompt="A cat yawns.",
            duration=5,
            quality="720p",
            estimate=25.5,
            take=2,
            image=PICTURE,
            untold=False,
            recovered=False,
            task=None,
            known_at=None,
            completed_at=None,
            saved=None,
        ),
    )
    assert re.fullmatch("[A-Za-z0-9._-]{16,96}", claim.entry.idempotency_key or "")
    other = await claimed(ledger, "dog")
    assert other.idempotency_key != claim.entry.idempotency_key


async def test_every_post_is_kept_with_its_time_and_the_gateways_clock(ledger: OwnerLedger) -> None:
    """A repeat must be byte for byte the same, and its task can be of each of the times."""
    entry = await claimed(ledger)
    first = await ledger.mark_posted(entry.number, Post(EPOCH + 1, None), BODY)
    assert first == replace(entry, body=BODY, posts=(Post(EPOCH + 1, None),))
    again = await ledger.mark_posted(entry.number, Post(EPOCH + 9, -0.5), BODY)
    assert again == replace(first, posts=(Post(EPOCH + 1, None), Post(EPOCH + 9, -0.5)))


async def test_a_refused_post_does_not_count(ledger: OwnerLedger) -> None:
    """The POST before it still does; a row whose every POST was refused is removed."""
    entry = await posted(ledger)
    await ledger.mark_posted(entry.number, Post(EPOCH + 9, 0.0), BODY)
    assert await ledger.drop_post(entry.number, guessed=False) == entry
    assert (await ledger.drop_post(entry.number, guessed=False)).posts == ()
    await ledger.release(entry.number)
    assert await ledger.entries() == []
    assert (await ledger.claim(intent(), rules())).kind == "fresh"


async def test_the_same_request_has_its_task_for_as_long_as_it_repeats(
    ledger: OwnerLedger, place: Place
) -> None:
    """Within the window it is the same one, and after it a new one; another owner's is never the same."""
    entry = await make(ledger)
    assert await ledger.claim(intent(), rules(EPOCH + HOUR - 1)) == Claim("repeat", entry)
    assert (await ledger.claim(intent("dog"), rules(EPOCH + 1))).kind == "fresh"
    async with owned(place, "you") as yours:
        assert (await yours.claim(intent(), rules(EPOCH + 1))).kind == "fresh"
    async with owned(place, gateway=OTHER_API) as elsewhere:
        assert (await elsewhere.claim(intent(), rules(EPOCH + 1))).kind == "fresh"
    assert (await ledger.claim(intent(), rules(EPOCH + HOUR))).kind == "fresh"


@pytest.mark.parametrize("recovered", [True, False])
async def test_a_lost_request_repeats_from_its_answer_on(ledger: OwnerLedger, recovered: bool) -> None:
    """It was lost in the morning and answered in the evening: the next call of the evening is a repeat."""
    lost = await lose(ledger)
    evening = EPOCH + 10 * HOUR
    assert await ledger.claim(intent(), rules(evening)) == Claim("resume", lost)
    await answered(ledger, lost.number, task(), evening, recovered=recovered)
    assert (await ledger.claim(intent(), rules(evening + HOUR - 1))).kind == "repeat"
    assert (await ledger.claim(intent(), rules(evening + HOUR))).kind == "fresh"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_is_no_repeat(ledger: OwnerLedger, status: str) -> None:
    """A request that failed may be requested again."""
    await make(ledger, status=status)
    assert (await ledger.claim(intent(), rules(EPOCH + 1))).kind == "fresh"


async def test_an_open_request_is_gone_on_with_whatever_the_window(ledger: OwnerLedger) -> None:
    """The repeat window is of answered requests; what may have been paid is never made anew in a day."""
    lost = await lose(ledger)
    assert await ledger.claim(intent(), rules(EPOCH + 23 * HOUR, repeat_seconds=0)) == Claim("resume", lost)
    assert (await ledger.claim(intent(), rules(EPOCH + 23 * HOUR, repeat_seconds=0))).kind == "busy"


async def test_after_24_hours_an_open_request_is_replaced(ledger: OwnerLedger) -> None:
    """The new row says that the old one may have been paid; the old one stays to be seen, and is not open."""
    lost = await lose(ledger)
    assert await ledger.claim(intent(), rules(EPOCH + DAY - 1)) == Claim("resume", lost)
    await ledger.release(lost.number)
    assert await ledger.claim(intent(), rules(EPOCH + DAY)) == Claim("undated", lost)
    assert (await ledger.claim(intent(), rules(EPOCH + DAY, skew=-HOUR))).kind == "resume"
    await ledger.release(lost.number)
    claim = await ledger.claim(intent(), rules(EPOCH + DAY, skew_asked=True))
    assert (claim.kind, claim.replaces) == ("fresh", True)
    assert claim.entry is not None
    assert claim.entry.idempotency_key != lost.idempotency_key
    assert await ledger.rivals() == []
    assert await ledger.entries(status="unknown") == [lost]
    await ledger.mark_posted(claim.entry.number, Post(EPOCH + DAY, 0.0), BODY)
    await ledger.mark_answered(claim.entry.number, task(), EPOCH + DAY)
    repeat = await ledger.claim(intent(), rules(EPOCH + DAY + 1))
    assert (repeat.kind, repeat.replaces) == ("repeat", False)


async def test_an_old_task_is_no_repeat_of_a_picture_that_changed(ledger: OwnerLedger) -> None:
    """A local file that was overwritten is another picture, under the same name."""
    await make(ledger)
    changed = intent(fingerprints=prints(content="content of another cat"))
    assert (await ledger.claim(changed, rules(EPOCH + 1))).kind == "fresh"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (prints(), prints("renamed", content="content of cat")),
        (prints(), prints("on the web", content="content of cat", address="address")),
        (prints(address="address"), prints(content="encoded anew", address="address")),
        (prints(address="address"), prints(content=None, address="address")),
        (prints(content=None, address="address"), prints(address="address")),
        (prints(), prints(content=None)),
        (prints(address="address"), prints(content=None)),
    ],
    ids=[
        *("moved", "content on the web", "encoded anew", "not read now", "not read then"),
        *("file gone", "page gone"),
    ],
)
async def test_an_equal_picture_is_found_open_and_answered(
    ledger: OwnerLedger, first: object, second: object
) -> None:
    """By its content, by its address, and by its name where it cannot be read any more."""
    entry = await posted(ledger, fingerprints=first)
    assert await ledger.claim(intent(fingerprints=second), rules()) == Claim("busy", entry)
    await ledger.release(entry.number)
    assert await ledger.claim(intent(fingerprints=second), rules()) == Claim("resume", entry)
    done = await ledger.mark_answered(entry.number, task(), EPOCH)
    assert await ledger.claim(intent(fingerprints=second), rules()) == Claim("repeat", done)


async def test_without_a_picture_only_an_earlier_request_counts(ledger: OwnerLedger) -> None:
    """Nothing is written for a request that cannot be made."""
    unreadable = intent(fingerprints=prints(content=None), image=None)
    assert await ledger.claim(unreadable, rules()) == Claim("absent", None)
    entry = await make(ledger)
    assert await ledger.claim(unreadable, rules(EPOCH + 1)) == Claim("repeat", entry)
    assert await ledger.claim(unreadable, rules(EPOCH + HOUR)) == Claim("absent", None)
    assert await ledger.entries() == [entry]


async def test_at_most_one_open_row_has_a_content_or_an_address(ledger: OwnerLedger, place: Place) -> None:
    """The database itself refuses a second one; closed and answered rows may be many."""
    await lose(ledger, fingerprints=prints(address="address"))
    for name, value in (("content", "content of cat"), ("address", "address")):
        with opened(place) as database:
            insert = f"INSERT INTO entries (owner, asked_at, prompt, estimate, {name}, closed, task_id)"
            copied = (
                f"SELECT owner, asked_at, prompt, estimate, '{value}', ?, ? FROM entries WHERE number = 1"
            )
            with pytest.raises(Exception, match=r"(?i)unique constraint"):
                database.execute(f"{insert} {copied}", (0, None))
            database.execute(f"{insert} {copied}", (1, None))
            database.execute(f"{insert} {copied}", (0, f"task-{name}"))


async def test_a_task_that_an_earlier_request_has_closes_the_row(ledger: OwnerLedger) -> None:
    """A gateway that answers equal requests with one task: only one of them costs anything."""
    entry = await make(ledger, credits_reserved=25.5)
    later = EPOCH + 2 * HOUR
    again = await posted(ledger, now=later)
    assert await ledger.mark_answered(again.number, task(credits_reserved=25.5), later) == entry
    assert await ledger.rivals() == []
    assert await ledger.entries() == [entry]
    repeat = await ledger.claim(intent(), rules(later + HOUR - 1, daily_credits=25.5))
    assert repeat == Claim("repeat", entry)
    assert (await ledger.claim(intent("dog"), rules(later + 1, daily_credits=51))).kind == "fresh"


async def test_a_row_that_was_closed_is_forgotten_with_the_one_that_has_its_task(
    ledger: OwnerLedger, place: Place
) -> None:
    """No row is left that names another one that is gone."""
    await make(ledger)
    again = await posted(ledger, now=EPOCH + HOUR)
    await ledger.mark_answered(again.number, task(), EPOCH + HOUR)
    async with shared(place) as all_owners:
        assert await forget(all_owners, "task-unified-cat")
    assert (await ledger.claim(intent(), rules(EPOCH + HOUR + 1))).kind == "fresh"
