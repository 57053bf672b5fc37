"""What a ledger keeps, and how it is read."""

from dataclasses import replace
from typing import Any

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    API,
    BODY,
    HOUR,
    OTHER_API,
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
    stored,
    task,
)
from tests.world import KEY
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Claim, Fingerprints, Image, OwnerLedger, Post

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize(
    "facts",
    [{}, {"fingerprints": Fingerprints("of the words"), "from_text": True, "image": None}],
    ids=["picture", "text"],
)


async def test_a_row_without_an_answer_is_unknown_and_one_never_sent_is_gone(ledger: OwnerLedger) -> None:
    """What may have been sent is kept, what surely was not leaves no trace."""
    lost = await lose(ledger)
    await ledger.release((await claimed(ledger, "dog")).number)
    assert await ledger.entries() == await ledger.rivals() == [lost]
    assert await ledger.entries(status="unknown") == [lost]
    assert lost.status == "unknown"


async def test_the_answer_stays_when_the_claim_is_given_up_after_it(ledger: OwnerLedger) -> None:
    """Whatever happens after the task is recorded, it is not lost again."""
    entry = await make(ledger)
    await ledger.release(entry.number)
    assert await ledger.find("task-unified-cat") == entry


async def test_the_list_is_newest_first_filtered_and_bounded(ledger: OwnerLedger, place: Place) -> None:
    """By time, by status, by owner, and no more than asked for."""
    cat = await make(ledger, "cat", EPOCH, status="completed")
    dog = await make(ledger, "dog", EPOCH + 1)
    cow = await lose(ledger, "cow", EPOCH + 2)
    async with owned(place, "you") as yours:
        bee = await make(yours, "bee", EPOCH + 3)
        assert await yours.find("task-unified-cat") is None
    await ledger.claim(intent("ape"), rules(EPOCH + 4))
    assert await ledger.entries() == [cow, dog, cat]
    assert await ledger.entries(limit=2) == [cow, dog]
    assert await ledger.entries(status="completed") == [cat]
    assert await ledger.entries(status="unknown") == [cow]
    async with shared(place) as all_owners:
        assert await all_owners.entries() == [bee, cow, dog, cat]
    names = [f"task-unified-{name}" for name in ("cat", "bee", "else")]
    assert await ledger.taken_ids(names) == {"task-unified-cat", "task-unified-bee"}
    assert await ledger.taken_ids([]) == set()


async def test_a_task_is_kept_current(ledger: OwnerLedger) -> None:
    """Status, results and credits follow what was read; its first completion is remembered."""
    entry = await make(ledger, credits_reserved=25.5)
    done = task(status="completed", results=("https://a/b.mp4",), credits_used=20.0)
    seen = await ledger.observe(done, EPOCH + 60)
    whole = done.model_copy(update={"credits_reserved": 25.5})  # which this answer left out
    assert seen == replace(entry, task=whole, known_at=EPOCH + 60, completed_at=EPOCH + 60)
    assert seen.cost == 20.0
    later = await ledger.observe(done, EPOCH + 600)
    assert (later.completed_at, later.known_at) == (EPOCH + 60, EPOCH + 600)


async def test_an_old_state_does_not_come_back(ledger: OwnerLedger) -> None:
    """Two reads can overtake one another: what is over stays over."""
    await make(ledger)
    done = await ledger.observe(task(status="completed", results=("https://a/b.mp4",)), EPOCH + 60)
    assert await ledger.observe(task(status="processing"), EPOCH + 61) == done


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_video_that_was_made_is_not_taken_for_one_that_failed(
    ledger: OwnerLedger, place: Place, status: str
) -> None:
    """It was paid: its link is kept, it counts towards the cap, and an equal request is not paid again."""
    await make(ledger, credits_reserved=25.5)
    done = await ledger.observe(task(status="completed", results=("https://a/b.mp4",)), EPOCH + 60)
    async with owned(place) as other:  # without a row in memory
        for one in (ledger, other):
            assert await one.observe(task(status=status), EPOCH + 100) == done
    assert await ledger.spent(EPOCH + 100) == 25.5
    assert (await ledger.claim(intent(), rules(EPOCH + 100))).kind == "repeat"


async def test_what_a_task_cost_is_not_replaced_by_what_was_reserved(ledger: OwnerLedger) -> None:
    """A later answer leaves the cost out."""
    await make(ledger, credits_reserved=25.5)
    done = task(status="completed", results=("https://a/b.mp4",), credits_used=40.0)
    await ledger.observe(done, EPOCH + 60)
    seen = await ledger.observe(task(status="completed", results=("https://a/b.mp4",)), EPOCH + 100)
    assert (seen.cost, await ledger.spent(EPOCH + 100)) == (40.0, 40.0)


async def test_a_request_that_was_sent_again_late_is_unsaved_for_a_day_from_then_on(
    ledger: OwnerLedger,
) -> None:
    """Its video was made only after the last POST."""
    entry = await lose(ledger)
    late = EPOCH + 22 * HOUR
    await ledger.claim(intent(), rules(late))
    await ledger.mark_posted(entry.number, Post(late, 0.0), BODY)
    row = await answered(ledger, entry.number, task(), late)
    assert await ledger.unsaved(since=late - HOUR) == [row]
    assert await ledger.unsaved(since=late + 1) == []


async def test_progress_alone_is_not_written_at_once(ledger: OwnerLedger) -> None:
    """A task that is watched closely does not wear the disk; its time is refreshed after a while."""
    entry = await make(ledger)
    assert await ledger.observe(task(progress=7), EPOCH + 1) == entry
    assert (await ledger.observe(task(progress=9), EPOCH + 3)).known_at == EPOCH + 3


async def test_a_task_made_elsewhere_is_remembered_but_answers_no_request(ledger: OwnerLedger) -> None:
    """It has a row from then on, which costs nothing of the cap and belongs to no request."""
    seen = await ledger.observe(task("else", created=EPOCH - 60), EPOCH)
    assert (seen.fingerprints, seen.asked_at, seen.estimate) == (None, EPOCH - 60, 0)
    assert await ledger.entries() == [seen]
    assert await ledger.taken_ids(["task-unified-else"]) == set()
    assert (await ledger.claim(intent(), rules(daily_credits=25.5))).kind == "fresh"


async def test_a_lost_task_that_was_read_meanwhile_becomes_its_request(ledger: OwnerLedger) -> None:
    """The user found it by its id before the request was asked for again: it is one row in the end."""
    lost = await lose(ledger)
    await ledger.observe(task(), EPOCH + 1)
    found = await ledger.mark_answered(lost.number, task(), EPOCH + 2, recovered=True)
    assert await ledger.entries() == [found]
    assert (found.number, found.recovered) == (lost.number, True)


async def test_a_recovery_ends_when_the_task_is_another_requests(ledger: OwnerLedger) -> None:
    """A guess never outweighs an answer: the row that guessed is unknown again."""
    cat = await lose(ledger, "cat")
    await ledger.mark_answered(cat.number, task("dog"), EPOCH + 3, recovered=True)
    dog = await make(ledger, "dog", EPOCH + 4)
    assert await ledger.find("task-unified-dog") == dog
    assert [entry.number for entry in await ledger.rivals()] == [cat.number]
    assert (await ledger.claim(intent("cat"), rules(EPOCH + 5))).kind == "resume"


@KINDS
async def test_a_found_task_that_an_equal_request_is_answered_with_stays_where_it_is(
    ledger: OwnerLedger, facts: dict[str, Any]
) -> None:
    """The gateway deduplicates: what was found in the list was right, and only one was paid."""
    lost = await lose(ledger, **facts)
    found = await answered(ledger, lost.number, task(), EPOCH + 60, recovered=True)
    again = await posted(ledger, now=EPOCH + 2 * HOUR, **facts)
    assert await ledger.mark_answered(again.number, task(), EPOCH + 2 * HOUR) == found
    assert await ledger.entries() == [found]


@KINDS
async def test_a_recovery_that_ends_beside_an_open_equal_request_is_closed(
    ledger: OwnerLedger, facts: dict[str, Any]
) -> None:
    """Of equal requests only one is open: the later one, which asks for the same."""
    lost = await lose(ledger, **facts)
    await answered(ledger, lost.number, task("dog"), EPOCH + 60, recovered=True)
    later = await lose(ledger, now=EPOCH + 2 * HOUR, **facts)
    dog = await make(ledger, "dog", EPOCH + 2 * HOUR)
    assert await ledger.rivals() == [later]
    assert await ledger.find("task-unified-dog") == dog
    assert await ledger.claim(intent(**facts), rules(EPOCH + 2 * HOUR)) == Claim("resume", later)


async def test_the_open_rows_are_of_all_owners_at_the_same_gateway(ledger: OwnerLedger, place: Place) -> None:
    """One account can have several keys; another gateway's tasks are in another list."""
    mine = await posted(ledger)
    await claimed(ledger, "unsent")
    await make(ledger, "answered")
    async with owned(place, "you") as yours, owned(place, gateway=OTHER_API) as other:
        theirs = await posted(yours)
        elsewhere = await posted(other)
        assert await ledger.rivals() == await yours.rivals() == [mine, theirs]
        assert await other.rivals() == [elsewhere]


async def test_the_picture_that_was_sent_is_kept(ledger: OwnerLedger) -> None:
    """The answer describes it, also when the picture at its address is another one by now."""
    sent = Image(1280, 720, "JPEG", ("cropped", "turned"))
    entry = await claimed(ledger, image=sent, fingerprints=prints(address="address"))
    changed = prints(content="another", address="address")
    claim = await ledger.claim(intent(image=Image(), fingerprints=changed), rules())
    assert claim == Claim("busy", entry)
    assert entry.image == sent
    assert changed.changed_since(entry.fingerprints)


@pytest.mark.parametrize("name", ["task-unified-cat", "#1", "1"])
async def test_a_row_can_be_forgotten_by_either_name(ledger: OwnerLedger, place: Place, name: str) -> None:
    """By the task's id, or by the row's number where there is no task."""
    await make(ledger)
    async with shared(place) as all_owners:
        assert await forget(all_owners, name) is True
        assert await forget(all_owners, name) is False
    assert await ledger.entries() == []


async def test_a_row_forgotten_in_the_middle_is_an_error_of_the_ledger(
    ledger: OwnerLedger, place: Place
) -> None:
    """Whoever is at it learns of it before the request is sent, and can give it up."""
    entry = await claimed(ledger)
    async with shared(place) as all_owners:
        await forget(all_owners, f"#{entry.number}")
    with pytest.raises(LedgerError, match="no longer has request #1"):
        await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), BODY)
    await ledger.release(entry.number)
    assert await ledger.entries() == []


async def test_an_answer_to_a_row_that_was_forgotten_is_kept(ledger: OwnerLedger, place: Place) -> None:
    """The task was paid: it has a row of its own, and is nobody else's."""
    entry = await posted(ledger)
    async with shared(place) as all_owners:
        await forget(all_owners, f"#{entry.number}")
    kept = await ledger.mark_answered(entry.number, task(), EPOCH + 1)
    assert (kept.number, kept.task, kept.is_request) == (entry.number + 1, task(), True)
    assert await ledger.entries() == [kept]
    assert await ledger.taken_ids([task().id]) == {task().id}


async def test_a_second_answer_to_a_row_is_kept_beside_the_first(ledger: OwnerLedger) -> None:
    """Whoever overtook it was faster: the row keeps its task, and the other one is not lost either."""
    first = replace(await make(ledger), untold=True)
    assert await ledger.mark_answered(first.number, task(), EPOCH) == first
    second = await ledger.mark_answered(first.number, task("second"), EPOCH + 1)
    assert (second.task, second.is_request) == (task("second"), True)
    assert await ledger.entries() == [second, first]


async def test_the_owner_is_a_digest_of_key_and_address(place: Place, other_place: Place) -> None:
    """The same from process to process, another for another key, address or ledger; never the key."""
    identities = [(API, KEY), (API, KEY), (OTHER_API, KEY), (API, f"{KEY}x")]
    for number, identity in enumerate(identities):
        async with shared(place) as ledger:
            await make(ledger.for_owner(*identity), f"cat{number}", EPOCH + HOUR * number)
    async with shared(other_place) as ledger:
        await make(ledger.for_owner(API, KEY))
    with opened(place) as database:
        one, again, elsewhere, another = (
            owner for (owner,) in database.execute("SELECT owner FROM entries ORDER BY number")
        )
    with opened(other_place) as database:
        ((other,),) = database.execute("SELECT owner FROM entries")
    assert one == again
    assert len({one, elsewhere, another, other}) == 4
    assert KEY.encode() not in stored(place)
