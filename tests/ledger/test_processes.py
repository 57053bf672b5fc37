"""Several processes share one ledger."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest

from tests.clock import EPOCH
from tests.ledger.processes import go_on, other_process, word
from tests.ledger.rows import HOUR, POSIX, Place, build, intent, opened, rules, stand_still
from wan_mcp.errors import CapReached
from wan_mcp.ledger import OwnerLedger, Post
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_processes_that_open_a_fresh_file_at_once_share_it(tmp_path: Path) -> None:
    """Each of many new ledgers is made once, and no process is refused or loses its row."""
    folders = [tmp_path / str(number) for number in range(30)]
    names = ("cat", "dog", "cow")
    with (
        other_process("claim", names[0], *folders) as one,
        other_process("claim", names[1], *folders) as two,
        other_process("claim", names[2], *folders) as three,
    ):
        for process in (one, two, three):
            go_on(process)
        assert [word(process) for process in (one, two, three)] == ["fresh"] * 3
    for folder in folders:
        with opened(folder) as database:
            prompts = {prompt for (prompt,) in database.execute("SELECT prompt FROM entries")}
        assert prompts == set(names)


async def test_a_fresh_file_that_another_process_is_at_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite itself does not wait, the ledger does, and goes on when the other one is done."""
    build(tmp_path, schema.VERSION)
    ledger = SqliteLedger(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("wan_mcp.ledger.sqlite.database.time.sleep", lambda seconds: other.rollback())
        assert len(await ledger.entries()) == 1
    await ledger.aclose()


@POSIX
async def test_a_process_at_work_is_waited_for_and_a_killed_one_is_not(
    ledger: OwnerLedger, place: Place
) -> None:
    """Its lock is free as soon as it is dead, before anybody has asked how it ended.

    Programs on other machines cannot tell that: they wait for its next sign of life."""
    with other_process("post", "cat", place) as process:
        go_on(process)
        assert word(process) == "fresh"
        assert (await ledger.claim(intent(), rules())).kind == "busy"
        process.kill()
        # Dead, but nobody has asked how it ended.
        await anyio.to_thread.run_sync(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if isinstance(place, str):
            assert (await ledger.claim(intent(), rules())).kind == "busy"
            stand_still(place, 1)
        claim = await ledger.claim(intent(), rules())
    assert claim.kind == "resume"
    assert claim.entry is not None
    assert (claim.entry.posts, claim.entry.body) == ((Post(EPOCH, 0.0),), {"prompt": "a"})


async def test_a_process_that_died_before_it_sent_anything_leaves_nothing(
    ledger: OwnerLedger, place: Place
) -> None:
    """Its claim is judged anew: it is asked for now, and the cap of now counts."""
    with other_process("claim", "cat", place) as process:
        go_on(process)
        assert word(process) == "fresh"
        with pytest.raises(CapReached):
            await ledger.claim(intent("dog"), rules(daily_credits=50))
        go_on(process)
        process.wait()
    if isinstance(place, str):
        stand_still(place, 1)
    with pytest.raises(CapReached):
        await ledger.claim(intent(), rules(EPOCH + HOUR, daily_credits=1))
    claim = await ledger.claim(intent(), rules(EPOCH + HOUR, daily_credits=50))
    assert claim.kind == "fresh"
    assert claim.entry is not None
    assert claim.entry.asked_at == EPOCH + HOUR
