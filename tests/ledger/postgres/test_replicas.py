"""Which programs are alive, by the database's clock alone."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from tests.clock import EPOCH
from tests.ledger.rows import API, BODY, claimed, intent, opened, owned, posted, rules, shared, stand_still
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Entry, OwnerLedger, Post
from wan_mcp.ledger.postgres import replicas
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WRONG = 30.0
"""Seconds by which a clock is ahead."""
AGO = "clock_timestamp() - make_interval(secs => ?)"


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[OwnerLedger]:
    async with owned(database_url) as ledger:
        yield ledger


@pytest.fixture
async def judge(database_url: str) -> AsyncIterator[PostgresLedger]:
    """Another program, which has been there for long."""
    async with shared(database_url) as judge:
        assert isinstance(judge, PostgresLedger)
        await judge.open()
        yield judge


async def kind_for(judge: PostgresLedger) -> str:
    """What a claim of the request is to another program."""
    mine = judge.for_owner(API, "me")
    claim = await mine.claim(intent(), rules())
    if claim.is_ours and claim.entry:
        await mine.release(claim.entry.number)
    return claim.kind


async def test_a_program_that_has_just_come_judges_by_what_the_others_saw(
    ledger: OwnerLedger, database_url: str
) -> None:
    """Where some program gave signs of life all the time, one that gave none is dead."""
    await posted(ledger)
    stand_still(database_url, 1)
    async with shared(database_url) as new:
        assert isinstance(new, PostgresLedger)
        assert await kind_for(new) == "resume"


async def test_after_an_interruption_nobody_takes_others_for_dead(
    ledger: OwnerLedger, judge: PostgresLedger, database_url: str
) -> None:
    """Neither before the first sign of life that arrives again, nor in the 20 seconds after it."""
    await posted(ledger)
    with opened(database_url) as database:
        database.execute(f"UPDATE replicas SET seen_at = {AGO}", (30,))
        database.execute(f"UPDATE pulse SET since = {AGO}, seen_at = {AGO}", (3600, 30))
        assert await kind_for(judge) == "busy"
        await judge._postgres.beat()
        assert await kind_for(judge) == "busy"
        database.execute(f"UPDATE pulse SET since = {AGO}", (replicas.DEAD_AFTER - 5,))
        assert await kind_for(judge) == "busy"
        database.execute(f"UPDATE pulse SET since = {AGO}", (replicas.DEAD_AFTER + 1,))
        assert await kind_for(judge) == "resume"


async def test_signs_of_life_that_are_a_little_late_are_no_interruption(
    ledger: OwnerLedger, judge: PostgresLedger, database_url: str
) -> None:
    """A program that was busy for ten seconds goes on judging."""
    await posted(ledger)
    stand_still(database_url, 1)
    with opened(database_url) as database:
        database.execute(f"UPDATE pulse SET seen_at = {AGO}", (10,))
    await judge._postgres.beat()
    assert await kind_for(judge) == "resume"


async def test_a_machine_whose_clock_is_wrong_is_as_alive_as_the_others(
    database_url: str, judge: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its times are corrected, and what it works on is busy for others."""
    right = time.time
    monkeypatch.setattr(replicas, "time", SimpleNamespace(time=lambda: right() + WRONG))
    async with shared(database_url) as wrong:
        assert isinstance(wrong, PostgresLedger)
        await wrong.open()
        corrected = wrong.clock(lambda: 1000.0 + WRONG)()
        assert corrected == pytest.approx(1000, abs=WRONG / 3)
        await posted(wrong.for_owner(API, "me"))
        assert await kind_for(judge) == "busy"
        stand_still(database_url, 1)
        assert await kind_for(judge) == "resume"


async def test_an_answer_that_took_long_does_not_change_the_time(
    judge: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows in which of its ten seconds the database looked at its clock."""
    now = judge.clock(time.time)()
    moments = iter([now, now + 10])
    monkeypatch.setattr(replicas, "time", SimpleNamespace(time=lambda: next(moments)))
    await judge._postgres.beat()
    assert judge.clock(lambda: now)() == pytest.approx(now, abs=1)


async def test_a_request_is_sent_only_with_a_sign_of_life_that_outlasts_it(
    ledger: OwnerLedger, database_url: str
) -> None:
    """A POST can be 12 seconds late after its record: nobody else goes on with the request before that."""
    entry = await claimed(ledger)
    with opened(database_url) as database:
        database.execute(f"UPDATE replicas SET seen_at = {AGO}", (replicas.DEAD_AFTER - 12,))
        await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), BODY)
        old = database.execute(f"SELECT 1 FROM replicas WHERE seen_at < {AGO}", (5,)).fetchone()
        assert old is None


@pytest.mark.parametrize(("make", "kind"), [(claimed, "fresh"), (posted, "resume")])
async def test_a_claim_whose_answer_was_lost_is_freed_by_the_next_sign_of_life(
    judge: PostgresLedger, database_url: str, make: Callable[[OwnerLedger], Awaitable[Entry]], kind: str
) -> None:
    """It was written, but its program does not know that it holds the row; what it works on stays its own."""
    async with shared(database_url) as program:
        assert isinstance(program, PostgresLedger)
        mine = program.for_owner(API, "me")
        dog = await posted(mine, "dog")
        entry = await make(mine)
        program._postgres.working.remove(entry.number)
        assert await kind_for(judge) == "busy"
        await program._postgres.beat()
        posted_ones = [number for _, number in await judge.abandoned(API)]
        assert posted_ones == ([entry.number] if kind == "resume" else [])
        assert await kind_for(judge) == kind
        assert (await mine.mark_posted(dog.number, Post(EPOCH + 1, 0.0), BODY)).number == dog.number


async def test_a_program_that_was_removed_as_dead_comes_back_with_its_next_request(
    ledger: OwnerLedger, judge: PostgresLedger, database_url: str
) -> None:
    """Its row is removed a day after its last sign of life, as of a suspended machine."""
    await ledger.open()
    with opened(database_url) as database:
        database.execute("DELETE FROM replicas WHERE id <> ?", (judge._postgres.replica.name,))
    await claimed(ledger)
    assert await kind_for(judge) == "busy"


def with_secret(url: str, secret: str | None) -> PostgresLedger:
    return PostgresLedger(SecretStr(url), secret=secret and SecretStr(secret))  # type: ignore[arg-type]


async def test_a_server_with_another_secret_is_refused_while_the_other_is_alive(database_url: str) -> None:
    """Each would refuse the links of the other. Programs without links do not count."""
    first, same, plain = (with_secret(database_url, secret) for secret in ("one", "one", None))
    for ledger in (first, same, plain):
        await ledger.open()
    other = with_secret(database_url, "two")
    for _ in range(2):
        with pytest.raises(LedgerError, match="another WAN_MCP_SECRET") as raised:
            await other.open()
    assert "Give all of them the same" in raised.value.next_step
    with opened(database_url) as database:
        assert database.execute("SELECT count(*) FROM replicas").fetchone() == (3,)
        await same.aclose()
        # The first one was killed.
        database.execute(
            f"UPDATE replicas SET seen_at = {AGO} WHERE secret IS NOT NULL", (replicas.DEAD_AFTER + 1,)
        )
    await other.open()
    for ledger in (other, plain, first):
        await ledger.aclose()
