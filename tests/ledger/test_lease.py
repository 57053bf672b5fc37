"""Who works on a request: a process that is alive, or nobody."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    BODY,
    HOUR,
    POSIX,
    Place,
    claimed,
    intent,
    lose,
    opened,
    owned,
    posted,
    rules,
    shared,
    sign_of_life,
    stand_still,
    task,
)
from wan_mcp.errors import TakenOver
from wan_mcp.ledger import Claim, OwnerLedger, Post
from wan_mcp.ledger.sqlite.store import LOCKS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(place: Place) -> AsyncIterator[OwnerLedger]:
    """The same ledger, opened once more: each gives signs of life of its own, as two processes do."""
    async with owned(place) as other:
        await other.open()
        yield other


def locks(folder: Path) -> set[str]:
    return {path.name for path in (folder / LOCKS).iterdir()}


def set_holder(place: Place, holder: str | None) -> None:
    with opened(place) as database:
        database.execute("UPDATE entries SET holder = ?", (holder,))


def holder_of(place: Place) -> str | None:
    with opened(place) as database:
        (holder,) = database.execute("SELECT holder FROM entries").fetchone()
    return holder if holder is None else str(holder)


async def test_only_one_of_two_holders_works_on_a_request(ledger: OwnerLedger, other: OwnerLedger) -> None:
    """For both it is busy until it is given up, and then whoever comes first has it."""
    entry = await posted(ledger)
    for either in (ledger, other):
        assert await either.claim(intent(), rules()) == Claim("busy", entry)
    await ledger.release(entry.number)
    assert await other.claim(intent(), rules()) == Claim("resume", entry)
    assert await ledger.claim(intent(), rules()) == Claim("busy", entry)


async def test_a_claim_that_is_given_up_unsent_is_anybodys(ledger: OwnerLedger, other: OwnerLedger) -> None:
    """It leaves no row."""
    entry = await claimed(ledger)
    assert (await other.claim(intent(), rules())).kind == "busy"
    await ledger.release(entry.number)
    assert await other.entries() == []
    assert (await other.claim(intent(), rules())).kind == "fresh"


async def test_a_ledger_that_is_closed_gives_up_what_it_held(place: Place, other: OwnerLedger) -> None:
    """After an orderly end its requests are gone on with at once."""
    async with owned(place) as ledger:
        await posted(ledger)
        assert (await other.claim(intent(), rules())).kind == "busy"
    assert (await other.claim(intent(), rules())).kind == "resume"


async def test_a_file_that_is_closed_leaves_no_lock(tmp_path: Path) -> None:
    """The folder of the locks is empty after an orderly end."""
    async with owned(tmp_path) as ledger:
        await posted(ledger)
        assert len(locks(tmp_path)) == 1
    assert locks(tmp_path) == set()


async def test_a_holder_without_a_sign_of_life_for_too_long_is_overtaken(
    ledger: OwnerLedger, other: OwnerLedger, place: Place
) -> None:
    """Also one that keeps its lock; what it writes is its sign of life, whatever the time of day."""
    entry = await claimed(ledger)
    await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), BODY)
    assert (await other.claim(intent(), rules(EPOCH + 5 * HOUR))).kind == "busy"
    stand_still(place, -5)
    for _ in range(2):
        assert (await other.claim(intent(), rules())).kind == "busy"
    stand_still(place, 1)
    await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), BODY)
    assert (await other.claim(intent(), rules())).kind == "busy"
    stand_still(place, 1)
    assert (await other.claim(intent(), rules())).kind == "resume"


async def test_a_look_is_no_sign_of_life(ledger: OwnerLedger, other: OwnerLedger, place: Place) -> None:
    """However often another process looks whether the holder is alive."""
    await posted(ledger)
    stand_still(place, -3)
    before = sign_of_life(place)
    assert (await other.claim(intent(), rules())).kind == "busy"
    assert sign_of_life(place) == before


async def test_whoever_was_overtaken_can_no_longer_send_or_give_up(
    ledger: OwnerLedger, other: OwnerLedger, place: Place
) -> None:
    """It stops at the next thing that it wants to write, and changes nothing of the other one's."""
    number = (await posted(ledger)).number
    stand_still(place, 1)
    assert (await other.claim(intent(), rules())).kind == "resume"
    theirs = await other.mark_posted(number, Post(EPOCH + 1, 0.0), BODY)
    with pytest.raises(TakenOver):
        await ledger.mark_posted(number, Post(EPOCH + 1, 0.0), BODY)
    with pytest.raises(TakenOver):
        await ledger.drop_post(number, guessed=False)
    with pytest.raises(TakenOver):
        await ledger.begin_guess(number, EPOCH + 1, 100)
    await ledger.release(number)
    assert await ledger.claim(intent(), rules()) == Claim("busy", theirs)


async def test_whoever_was_overtaken_before_it_sent_anything_is_told_so(
    ledger: OwnerLedger, other: OwnerLedger, place: Place
) -> None:
    """Its row is not simply gone, as one that the user has removed."""
    number = (await claimed(ledger)).number
    stand_still(place, 1)
    assert (await other.claim(intent(), rules())).kind == "fresh"
    with pytest.raises(TakenOver):
        await ledger.mark_posted(number, Post(EPOCH, 0.0), BODY)


async def test_whoever_was_overtaken_can_still_tell_its_answer(
    ledger: OwnerLedger, other: OwnerLedger, place: Place
) -> None:
    """The task is the request's; the other one finds that out when it wants to send."""
    number = (await posted(ledger)).number
    stand_still(place, 1)
    await other.claim(intent(), rules())
    await ledger.mark_answered(number, task(), EPOCH)
    with pytest.raises(TakenOver):
        await other.mark_posted(number, Post(EPOCH, 0.0), BODY)
    assert (await other.claim(intent(), rules())).kind == "repeat"


@pytest.mark.parametrize("holder", ["0123456789abcdef.lock", "host|1|0123456789abcdef", "../ledger.sqlite3"])
async def test_a_holder_that_nobody_knows_is_dead(ledger: OwnerLedger, place: Place, holder: str) -> None:
    """Its lock is gone, or it is of a version that had no locks."""
    entry = await lose(ledger)
    set_holder(place, holder)
    assert await ledger.claim(intent(), rules()) == Claim("resume", entry)


async def test_a_holder_whose_lock_is_free_is_dead(tmp_path: Path) -> None:
    """A process that was killed leaves its file behind; however young that is, nobody holds it."""
    async with owned(tmp_path) as ledger:
        entry = await lose(ledger)
        (tmp_path / LOCKS / "0123456789abcdef.lock").touch()
        set_holder(tmp_path, "0123456789abcdef.lock")
        assert await ledger.claim(intent(), rules()) == Claim("resume", entry)


async def test_dead_locks_are_removed_and_living_ones_are_not(tmp_path: Path) -> None:
    """By the next process that works on a request; other files are left alone."""
    async with owned(tmp_path) as ledger, owned(tmp_path) as other:
        await claimed(ledger)
        alive = locks(tmp_path)
        for name in ("0123456789abcdef.lock", "notes.txt"):
            (tmp_path / LOCKS / name).touch()
        await claimed(other, "dog")
        assert locks(tmp_path) > alive | {"notes.txt"}
        assert len(locks(tmp_path)) == 3
        assert (await other.claim(intent(), rules())).kind == "busy"


@POSIX
async def test_locks_are_private(tmp_path: Path) -> None:
    """Nobody else on the machine can hold them."""
    async with owned(tmp_path) as ledger:
        await claimed(ledger)
        folder = tmp_path / LOCKS
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


async def test_a_row_that_we_hold_without_a_job_is_gone_on_with(ledger: OwnerLedger, place: Place) -> None:
    """Giving it up could not be written: the row still names us, but nobody here works on it."""
    entry = await posted(ledger)
    own = holder_of(place)
    await ledger.release(entry.number)
    set_holder(place, own)
    assert await ledger.claim(intent(), rules()) == Claim("resume", entry)
    assert await ledger.claim(intent(), rules()) == Claim("busy", entry)


async def test_owners_of_one_process_share_its_lock(tmp_path: Path) -> None:
    """There is one for the process, however many keys it works for."""
    async with shared(tmp_path) as ledger:
        for key in ("me", "you"):
            await claimed(ledger.for_owner("https://api.example", key))
        assert len(locks(tmp_path)) == 1
