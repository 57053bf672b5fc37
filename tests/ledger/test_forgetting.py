"""Which rows are old enough to be removed, and that a search for them reads no others."""

from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import API, BODY, DAY, Place, answered, claimed, make, opened, posted, shared, task
from wan_mcp.ledger import Entry, OwnerLedger, Post
from wan_mcp.ledger.sqlite.store import SqliteLedger

pytestmark = pytest.mark.anyio

NOW = EPOCH + 400 * DAY
YEAR_AGO = NOW - 365 * DAY


async def asked(ledger: OwnerLedger) -> Entry:
    return await claimed(ledger, now=YEAR_AGO - 1)


async def unanswered(ledger: OwnerLedger) -> Entry:
    return await posted(ledger, now=YEAR_AGO - 1)


async def running(ledger: OwnerLedger) -> Entry:
    return await make(ledger, now=YEAR_AGO - 1)


async def read_now(ledger: OwnerLedger) -> Entry:
    await completed(ledger)
    return await ledger.observe(task(status="completed", results=("https://a/b.mp4",)), NOW)


async def completed(ledger: OwnerLedger, at: float = YEAR_AGO) -> Entry:
    entry = await posted(ledger, now=YEAR_AGO - 1)
    return await answered(ledger, entry.number, task(status="completed"), at)


async def made_elsewhere(ledger: OwnerLedger) -> Entry:
    return await ledger.observe(task(created=YEAR_AGO - 1), YEAR_AGO)


@pytest.mark.parametrize("row", [asked, unanswered, running, read_now, completed, made_elsewhere])
async def test_a_row_is_old_when_it_was_asked_for_too_long_ago(
    ledger: OwnerLedger, place: Place, row: object
) -> None:
    """Whatever became of it, and whoever still reads it: its prompt is not kept longer."""
    assert callable(row)
    old = await row(ledger)
    await make(ledger, "young", YEAR_AGO + 1)
    async with shared(place) as all_owners:
        assert [entry.number for entry in await all_owners.expired(YEAR_AGO, NOW, limit=10)] == [old.number]


async def test_a_row_that_may_still_answer_an_equal_request_stays(ledger: OwnerLedger, place: Place) -> None:
    """Asked for, sent again or completed within two days, whatever the setting says."""
    await make(ledger, "young", NOW - DAY)
    entry = await posted(ledger, "again", NOW - 3 * DAY)
    await ledger.mark_posted(entry.number, Post(NOW - DAY, 0.0), BODY)
    async with shared(place) as all_owners:
        assert await all_owners.expired(NOW, NOW, limit=10) == []
        later = NOW + 1.5 * DAY
        old = [*await all_owners.named("#1"), *await all_owners.named("#2")]
        assert await all_owners.expired(NOW, later, limit=10) == old
        assert await all_owners.expired(NOW, later, limit=1) == old[:1]


async def test_what_is_removed_is_gone_and_a_repeat_is_a_new_request(
    ledger: OwnerLedger, place: Place
) -> None:
    """Also for this process, which remembers rows; removing twice is no error."""
    await make(ledger, now=YEAR_AGO - 1)
    await ledger.observe(task(status="processing"), YEAR_AGO)
    await ledger.record_upload("digest", "https://files/a.png", YEAR_AGO)
    async with shared(place) as all_owners:
        rows = await all_owners.expired(YEAR_AGO, NOW, limit=10)
        await all_owners.remove(rows)
        await all_owners.remove(rows)
        await all_owners.remove_uploads(NOW)
        assert await all_owners.count() == 0
    assert (await claimed(ledger, now=NOW)).number == 2
    with opened(place) as database:
        assert database.execute("SELECT count(*) FROM uploads").fetchone() == (0,)


async def test_the_index_alone_tells_that_no_row_is_old(tmp_path: Path) -> None:
    """Of a hundred thousand rows none is read then, so that nobody waits for the search."""
    statements: list[str] = []
    all_owners = SqliteLedger(tmp_path)
    await make(all_owners.for_owner(API, "me"))
    connection = all_owners._file._open()
    connection.set_trace_callback(statements.append)
    await all_owners.expired(YEAR_AGO, NOW, limit=500)
    await all_owners.aclose()
    with opened(tmp_path) as database:
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statements[-1]}"))
    assert "SEARCH entries USING COVERING INDEX entries_by_age" in plan
    assert "SCAN" not in plan
