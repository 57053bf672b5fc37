"""A connection that breaks anywhere in a call: before a statement arrives, or before its answer does."""

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from pydantic import SecretStr

from tests.clock import EPOCH
from tests.database_proxy import DatabaseProxy, When, database_proxy
from tests.ledger.rows import API, BODY, Place, answered, claimed, intent, opened, owned, posted, rules, task
from wan_mcp.errors import LedgerError
from wan_mcp.ledger import Claim, Entry, OwnerLedger, Post
from wan_mcp.ledger.postgres.store import PostgresLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Outcome = Literal["done", "failed"]


class Breaks:
    """Names of requests, one for each place in which the connection of a call can break."""

    def __init__(self, proxy: DatabaseProxy) -> None:
        self._proxy = proxy
        self._next: tuple[int, When] = (0, "before")
        self.names: list[str] = []
        self.outcomes: list[Outcome] = []

    def __iter__(self) -> Iterator[str]:
        for number in itertools.count(1):
            for when in ("before", "after"):
                self._next = (number, when)
                cuts = self._proxy.cuts
                self.names.append(f"cat-{number}-{when}")
                yield self.names[-1]
                if self._proxy.cuts == cuts:  # the call has no further statements
                    return

    @contextmanager
    def one(self) -> Iterator[None]:
        """Break the connection in the block."""
        self._proxy.cut_after(*self._next)
        try:
            yield
            self.outcomes.append("done")
        except LedgerError:
            self.outcomes.append("failed")
        finally:
            self._proxy.pass_all()


@pytest.fixture
def breaks(database_url: str) -> Iterator[tuple[Breaks, str]]:
    with database_proxy(database_url) as proxy:
        yield Breaks(proxy), proxy.url(database_url)


@pytest.fixture
async def ledger(breaks: tuple[Breaks, str]) -> AsyncIterator[OwnerLedger]:
    all_owners = PostgresLedger(SecretStr(breaks[1]), follows_at=API)
    ledger = all_owners.for_owner(API, "me")
    await ledger.digest()
    yield ledger
    await all_owners.aclose()


async def is_ours(ledger: OwnerLedger, name: str) -> tuple[str, Entry]:
    """The request is claimed by this program, whatever became of an earlier claim."""
    claim = await ledger.claim(intent(name), rules())
    assert claim.is_ours
    assert claim.entry is not None
    return claim.kind, claim.entry


def open_rows(url: Place, name: str) -> int:
    with opened(url) as database:
        query = "SELECT count(*) FROM entries WHERE prompt = ? AND task_id IS NULL AND closed = 0"
        (number,) = database.execute(query, (f"A {name} yawns.",)).fetchone()
    return int(number)


async def test_a_broken_claim_is_made_again_as_if_it_had_not_been(
    breaks: tuple[Breaks, str], ledger: OwnerLedger
) -> None:
    """It is not busy with a job that does not exist, and has one row."""
    for name in breaks[0]:
        claim = Claim("absent", None)
        with breaks[0].one():
            claim = await ledger.claim(intent(name), rules())
        if claim.kind == "fresh":
            assert (await ledger.claim(intent(name), rules())).kind == "busy"
        else:
            assert (await is_ours(ledger, name))[0] == "fresh"
        assert open_rows(breaks[1], name) == 1
    assert set(breaks[0].outcomes) == {"done", "failed"}


async def test_a_broken_record_of_a_post_is_no_lost_request(
    breaks: tuple[Breaks, str], ledger: OwnerLedger
) -> None:
    """What may have been sent is gone on with; what was surely not sent may be so, too."""
    for name in breaks[0]:
        entry = await claimed(ledger, name)
        with breaks[0].one():
            await ledger.mark_posted(entry.number, Post(EPOCH, 0.0), BODY)
        await ledger.release(entry.number)
        kind, again = await is_ours(ledger, name)
        was_recorded = kind == "resume"
        assert (len(again.posts), again.idempotency_key == entry.idempotency_key) == (
            was_recorded,
            was_recorded,
        )
        assert was_recorded or breaks[0].outcomes[-1] == "failed"
        assert open_rows(breaks[1], name) == 1
    assert set(breaks[0].outcomes) == {"done", "failed"}


async def test_a_broken_second_post_is_still_the_same_request(
    breaks: tuple[Breaks, str], ledger: OwnerLedger
) -> None:
    """A repeat under the same key; the row of the first POST stays."""
    for name in breaks[0]:
        entry = await posted(ledger, name)
        with breaks[0].one():
            await ledger.mark_posted(entry.number, Post(EPOCH + 9, 0.0), BODY)
        await ledger.release(entry.number)
        kind, again = await is_ours(ledger, name)
        assert (kind, again.idempotency_key) == ("resume", entry.idempotency_key)
        assert len(again.posts) == 2 or breaks[0].outcomes[-1] == "failed"


async def test_a_broken_answer_is_recorded_when_it_is_told_again(
    breaks: tuple[Breaks, str], ledger: OwnerLedger
) -> None:
    """The paid task is its request's, once, and one job follows it."""
    for name in breaks[0]:
        entry = await posted(ledger, name)
        with breaks[0].one():
            await ledger.mark_answered(entry.number, task(name), EPOCH)
        if breaks[0].outcomes[-1] == "failed":
            assert (await ledger.claim(intent(name), rules())).kind in ("busy", "repeat")
        done = await answered(ledger, entry.number, task(name), EPOCH)
        assert (done.number, done.task) == (entry.number, task(name))
        assert await ledger.claim(intent(name), rules()) == Claim("repeat", done)
        assert await ledger.find(task(name).id) == done
        assert open_rows(breaks[1], name) == 0
    with opened(breaks[1]) as database:
        jobs = database.execute("SELECT args->>'task_id' FROM procrastinate_jobs ORDER BY id").fetchall()
    assert [task_id for (task_id,) in jobs] == [task(name).id for name in breaks[0].names]
    assert set(breaks[0].outcomes) == {"done", "failed"}


@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_broken_release_can_be_repeated(
    breaks: tuple[Breaks, str], ledger: OwnerLedger, is_sent: bool
) -> None:
    """Until then the row is not another program's; afterwards it is anybody's."""
    async with owned(breaks[1]) as other:
        for name in breaks[0]:
            entry = await (posted if is_sent else claimed)(ledger, name)
            with breaks[0].one():
                await ledger.release(entry.number)
            if breaks[0].outcomes[-1] == "failed":
                await ledger.release(entry.number)
            assert (await is_ours(other, name))[0] == ("resume" if is_sent else "fresh")
            assert open_rows(breaks[1], name) == 1
    assert set(breaks[0].outcomes) == {"done", "failed"}


async def test_a_broken_take_over_can_be_repeated(breaks: tuple[Breaks, str], ledger: OwnerLedger) -> None:
    """The row is neither busy with a job that does not exist nor lost."""
    for name in breaks[0]:
        entry = await posted(ledger, name)
        await ledger.release(entry.number)
        with opened(breaks[1]) as database:
            database.execute("UPDATE entries SET holder = 'dead' WHERE number = ?", (entry.number,))
        taken: list[Entry | None] = []
        with breaks[0].one():
            taken.append(await ledger.take_over(entry.number))
        if not taken:
            taken.append(await ledger.take_over(entry.number))
        assert taken == [entry]
        assert await ledger.take_over(entry.number) is None
        assert (await ledger.claim(intent(name), rules())).kind == "busy"
    assert set(breaks[0].outcomes) == {"done", "failed"}
