"""What a gateway does with the idempotency key: learned once, by one request at a time."""

from collections.abc import AsyncIterator

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import BODY, OTHER_API, Place, claimed, intent, opened, owned, posted, rules, task
from wan_mcp.errors import TakenOver
from wan_mcp.ledger import KeyUse, OwnerLedger, Post

pytestmark = pytest.mark.anyio
WITHIN = 100.0


@pytest.fixture
async def other(place: Place) -> AsyncIterator[OwnerLedger]:
    """Another key of the same account, in another process."""
    async with owned(place, "you") as other:
        yield other


async def may_guess(ledger: OwnerLedger, number: int, after: float = 0) -> bool:
    return await ledger.begin_guess(number, EPOCH + after, WITHIN)


@pytest.mark.parametrize(
    ("learned", "known"),
    [
        ([], "unknown"),
        (["honoured"], "honoured"),
        (["ignored"], "ignored"),
        (["ignored", "honoured"], "honoured"),
        (["honoured", "ignored"], "honoured"),
        (["ignored", "unknown"], "unknown"),
    ],
)
async def test_that_a_key_is_honoured_overrules_that_it_is_ignored(
    ledger: OwnerLedger, other: OwnerLedger, place: Place, learned: list[KeyUse], known: KeyUse
) -> None:
    """For every owner at the same gateway, and for no other gateway; also after a restart."""
    for use in learned:
        await ledger.learn_key_use(use)
    assert await ledger.key_use() == await other.key_use() == known
    async with owned(place) as again, owned(place, gateway=OTHER_API) as elsewhere:
        assert (await again.key_use(), await elsewhere.key_use()) == (known, "unknown")


async def test_one_request_guesses_and_the_others_wait(
    ledger: OwnerLedger, other: OwnerLedger, place: Place
) -> None:
    """Of all owners at the gateway; until all is learned from it, or nothing came of it for long."""
    cat, dog, cow = await posted(ledger), await posted(ledger, "dog"), await posted(other, "cow")
    assert await may_guess(ledger, cat.number)
    assert await may_guess(ledger, cat.number, 1)
    assert not await may_guess(ledger, dog.number, 2)
    assert not await may_guess(other, cow.number, 2)
    async with owned(place, gateway=OTHER_API) as elsewhere:
        assert await may_guess(elsewhere, (await posted(elsewhere)).number, 2)
    await ledger.mark_answered(cat.number, task(), EPOCH + 3)
    assert not await may_guess(other, cow.number, 4)
    await ledger.end_guess(cat.number)
    assert await may_guess(other, cow.number, 5)
    assert not await may_guess(ledger, dog.number, 5 + WITHIN - 1)
    assert await may_guess(ledger, dog.number, 5 + WITHIN)


@pytest.mark.parametrize("use", ["honoured", "ignored"])
async def test_nobody_guesses_what_is_known(ledger: OwnerLedger, use: KeyUse) -> None:
    """There is nothing to be learned."""
    entry = await posted(ledger)
    await ledger.learn_key_use(use)
    assert not await may_guess(ledger, entry.number)
    assert not (await ledger.rivals())[0].guessed


async def test_a_guess_that_was_lost_teaches_nothing(ledger: OwnerLedger) -> None:
    """When nobody works on it any more the next one may guess at once; it remembers its own guess."""
    cat, dog = await posted(ledger), await posted(ledger, "dog")
    assert await may_guess(ledger, cat.number)
    guessed = await ledger.mark_posted(cat.number, Post(EPOCH + 1, 0.0), BODY, guess=True)
    assert guessed.guessed
    assert len(guessed.posts) == 2
    await ledger.release(cat.number)
    assert await may_guess(ledger, dog.number, 2)
    claim = await ledger.claim(intent(), rules(EPOCH + 3))
    assert claim.entry == guessed


async def test_a_guess_is_counted_before_it_is_sent(ledger: OwnerLedger, place: Place) -> None:
    """A process that dies at this moment has guessed."""
    entry = await posted(ledger)
    await ledger.mark_posted(entry.number, Post(EPOCH + 1, 0.0), BODY, guess=True)
    async with owned(place) as restarted:
        assert [row.guessed for row in await restarted.rivals()] == [True]


async def test_a_guess_that_was_refused_does_not_count(ledger: OwnerLedger) -> None:
    """Another refused POST leaves it as it was."""
    entry = await posted(ledger)
    await ledger.mark_posted(entry.number, Post(EPOCH + 1, 0.0), BODY, guess=True)
    await ledger.mark_posted(entry.number, Post(EPOCH + 2, 0.0), BODY)
    assert (await ledger.drop_post(entry.number, guessed=False)).guessed
    assert await ledger.drop_post(entry.number, guessed=True) == entry


async def test_a_guess_of_the_future_is_waited_for_by_nobody(ledger: OwnerLedger) -> None:
    """The clock was set back."""
    cat, dog = await posted(ledger), await posted(ledger, "dog")
    assert await may_guess(ledger, cat.number, 9000)
    assert await may_guess(ledger, dog.number)


async def test_a_guess_by_a_clock_that_is_a_little_ahead_is_waited_for(
    ledger: OwnerLedger, other: OwnerLedger
) -> None:
    """The clocks of two servers with one ledger are corrected, but not to the millisecond."""
    cat, cow = await posted(ledger), await posted(other, "cow")
    assert await may_guess(ledger, cat.number, 0.5)
    assert not await may_guess(other, cow.number)


async def test_only_who_works_on_a_row_may_guess(ledger: OwnerLedger, other: OwnerLedger) -> None:
    """Whoever was overtaken, or has its answer already, stops."""
    entry = await claimed(ledger)
    with pytest.raises(TakenOver):
        await may_guess(other, entry.number)
    await ledger.mark_answered(entry.number, task(), EPOCH)
    with pytest.raises(TakenOver):
        await may_guess(ledger, entry.number)


async def test_the_key_use_is_no_secret_of_a_row(ledger: OwnerLedger, place: Place) -> None:
    """Forgetting the row from which it was learned does not unlearn it."""
    await ledger.learn_key_use("ignored")
    with opened(place) as database:
        database.execute("DELETE FROM entries")
    assert await ledger.key_use() == "ignored"
