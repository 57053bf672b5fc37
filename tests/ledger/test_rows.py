"""What a ledger keeps, and how it is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import EPOCH, KEY
from tests.ledger.rows import BODY, contents, intent, lose, make, task, terms
from wan_mcp.errors import LedgerError
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = pytest.mark.anyio


async def test_a_row_without_an_answer_is_unknown_and_one_never_sent_is_gone(ledger: SqliteLedger) -> None:
    """What may have been sent is kept, what surely was not leaves no trace."""
    lost = await lose(ledger)
    claim = await ledger.claim(intent("dog"), terms())
    await ledger.released(claim.entry.number, sent=False)
    assert await ledger.entries("me") == await ledger.unanswered("me") == [lost]
    assert await ledger.entries("me", status="unknown") == [lost]
    assert lost.status == "unknown"


async def test_the_answer_stays_when_the_claim_is_given_up_after_it(ledger: SqliteLedger) -> None:
    """Whatever happens after the task is recorded, it is not lost again."""
    entry = await make(ledger)
    await ledger.released(entry.number, sent=False)
    await ledger.released(entry.number, sent=True)
    assert await ledger.find("me", "task-unified-cat") == entry


async def test_the_list_is_newest_first_filtered_and_bounded(ledger: SqliteLedger) -> None:
    """By time, by status, by owner, and no more than asked for."""
    cat = await make(ledger, "cat", EPOCH, status="completed")
    dog = await make(ledger, "dog", EPOCH + 1)
    cow = await lose(ledger, "cow", EPOCH + 2)
    bee = await make(ledger, "bee", EPOCH + 3, owner="you")
    await ledger.claim(intent("ape"), terms(EPOCH + 4))
    assert await ledger.entries("me") == [cow, dog, cat]
    assert await ledger.entries("me", limit=2) == [cow, dog]
    assert await ledger.entries("me", status="completed") == [cat]
    assert await ledger.entries("me", status="unknown") == [cow]
    assert await ledger.entries(None) == [bee, cow, dog, cat]
    assert await ledger.find("you", "task-unified-cat") is None
    names = [f"task-unified-{name}" for name in ("cat", "bee", "else")]
    assert await ledger.claimed_ids(names) == {"task-unified-cat", "task-unified-bee"}
    assert await ledger.claimed_ids([]) == set()


async def test_a_task_is_kept_current(ledger: SqliteLedger) -> None:
    """Status, results and credits follow what was read; its first completion is remembered."""
    entry = await make(ledger, credits_reserved=25.5)
    done = task(status="completed", results=("https://a/b.mp4",), credits_used=20.0)
    seen = await ledger.observed("me", done, EPOCH + 60)
    assert seen == replace(entry, task=done, known_at=EPOCH + 60, completed_at=EPOCH + 60)
    assert seen.cost == 20.0
    later = await ledger.observed("me", done, EPOCH + 600)
    assert (later.completed_at, later.known_at) == (EPOCH + 60, EPOCH + 600)


async def test_an_old_state_does_not_come_back(ledger: SqliteLedger) -> None:
    """Two reads can overtake one another: what is over stays over."""
    await make(ledger)
    done = await ledger.observed("me", task(status="completed", results=("https://a/b.mp4",)), EPOCH + 60)
    assert await ledger.observed("me", task(status="processing"), EPOCH + 61) == done


async def test_progress_alone_is_not_written_at_once(ledger: SqliteLedger) -> None:
    """A task that is watched closely does not wear the disk; its time is refreshed after a while."""
    entry = await make(ledger)
    assert await ledger.observed("me", task(progress=7), EPOCH + 5) == entry
    assert (await ledger.observed("me", task(progress=9), EPOCH + 11)).known_at == EPOCH + 11


async def test_a_task_made_elsewhere_is_remembered_but_answers_no_wish(ledger: SqliteLedger) -> None:
    """It has a row from then on, which costs nothing of the cap and belongs to no request."""
    seen = await ledger.observed("me", task("else", created=EPOCH - 60), EPOCH)
    assert (seen.fingerprint, seen.asked_at, seen.estimate) == (None, EPOCH - 60, 0)
    assert await ledger.entries("me") == [seen]
    assert await ledger.claimed_ids(["task-unified-else"]) == set()
    assert (await ledger.claim(intent(), terms(daily_credits=25.5))).kind == "fresh"


async def test_a_lost_task_that_was_looked_at_meanwhile_becomes_its_wish(ledger: SqliteLedger) -> None:
    """The user found it by its id before the wish was asked for again: it is one row in the end."""
    lost = await lose(ledger)
    await ledger.observed("me", task(), EPOCH + 1)
    found = await ledger.answered(lost.number, task(), EPOCH + 2, adopted=True)
    assert await ledger.entries("me") == [found]
    assert (found.number, found.adopted) == (lost.number, True)


async def test_an_adoption_ends_when_the_task_is_another_wishes(ledger: SqliteLedger) -> None:
    """A guess never outweighs an answer: the row that guessed is unknown again."""
    cat = await lose(ledger, "cat")
    await ledger.answered(cat.number, task("dog"), EPOCH + 3, adopted=True)
    dog = await make(ledger, "dog", EPOCH + 4)
    assert await ledger.find("me", "task-unified-dog") == dog
    assert [entry.number for entry in await ledger.unanswered("me")] == [cat.number]
    assert (await ledger.claim(intent("cat"), terms(EPOCH + 5))).kind == "resume"


@pytest.mark.parametrize("name", ["task-unified-cat", "#1", "1"])
async def test_a_row_can_be_forgotten_by_either_name(ledger: SqliteLedger, name: str) -> None:
    """By the task's id, or by the row's number where there is no task."""
    await make(ledger)
    assert await ledger.forget(name) is True
    assert await ledger.forget(name) is False
    assert await ledger.entries(None) == []


async def test_a_row_forgotten_in_the_middle_is_an_error_of_the_ledger(ledger: SqliteLedger) -> None:
    """Whoever is at it learns of it, before and after the request is sent."""
    before = await ledger.claim(intent(), terms())
    after = await lose(ledger, "dog")
    await ledger.forget(f"#{before.entry.number}")
    await ledger.forget(f"#{after.number}")
    with pytest.raises(LedgerError):
        await ledger.posting(before.entry.number, BODY, EPOCH)
    with pytest.raises(LedgerError):
        await ledger.answered(after.number, task(), EPOCH)


async def test_the_owner_is_a_digest_of_key_and_address(ledger: SqliteLedger, tmp_path: Path) -> None:
    """The same from process to process, another for another key, address or ledger; never the key."""
    owner = await ledger.owner(KEY, "https://api.evolink.ai")
    again = SqliteLedger(tmp_path / "data")
    assert await again.owner(KEY, "https://api.evolink.ai") == owner
    assert await again.owner(KEY, "http://127.0.0.1:8787") != owner
    assert await again.owner(f"{KEY}x", "https://api.evolink.ai") != owner
    other = SqliteLedger(tmp_path / "other")
    assert await other.owner(KEY, "https://api.evolink.ai") != owner
    await again.aclose()
    await other.aclose()
    assert not any(KEY.encode() in content for content in contents(tmp_path / "data").values())
