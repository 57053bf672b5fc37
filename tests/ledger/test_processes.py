"""Several processes share one ledger."""

import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.clock import EPOCH
from tests.ledger.rows import (
    BODY,
    HOUR,
    POSIX,
    build,
    intent,
    opened,
    rules,
)
from wan_mcp.errors import CapReached, LedgerError
from wan_mcp.ledger import OwnerLedger
from wan_mcp.ledger.lease import LEASE
from wan_mcp.ledger.sqlite import schema
from wan_mcp.ledger.sqlite.store import FILE_NAME, SqliteLedger

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


PROGRAM = """
import os, sys
from pathlib import Path

import anyio

from wan_mcp.ledger import Intent, ClaimRules
from wan_mcp.ledger.sqlite.store import SqliteLedger


async def main():
    do, name, now, *folders = sys.argv[1:]
    intent, rules = Intent("print of " + name, name, 5, "720p", 25.5), ClaimRules(float(now), 3600)
    print("ready", flush=True)
    sys.stdin.readline()
    for folder in folders:
        ledger = SqliteLedger(Path(folder)).for_owner("me")
        claim = await ledger.claim(intent, rules)
        if do == "post":
            await ledger.mark_posted(claim.entry.number, {"prompt": "a"}, rules.now)
    print(claim.kind, flush=True)
    if do != "open":
        sys.stdin.readline()
        os._exit(0)  # as one that is killed: nothing is given up


anyio.run(main)
"""


@contextmanager
def other_process(do: str, name: str, *folders: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready to claim a request when it gets a line, and ends with the next one."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, do, name, str(EPOCH), *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def word(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def test_processes_that_open_a_fresh_file_at_once_share_it(tmp_path: Path) -> None:
    """Each of many new ledgers is made once, and no process is refused or loses its row."""
    folders = [tmp_path / str(number) for number in range(30)]
    names = ("cat", "dog", "cow")
    with (
        other_process("open", names[0], *folders) as one,
        other_process("open", names[1], *folders) as two,
        other_process("open", names[2], *folders) as three,
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


async def test_a_process_that_is_at_it_is_waited_for_and_a_dead_one_is_not(
    ledger: OwnerLedger, tmp_path: Path
) -> None:
    """While the other one lives the request is busy; when it is dead, its request is gone on with."""
    with other_process("post", "cat", tmp_path / "data") as process:
        go_on(process)
        assert word(process) == "fresh"
        claim = await ledger.claim(intent(), rules())
        assert claim.kind == "busy"
        go_on(process)
        process.wait()
    claim = await ledger.claim(intent(), rules(), waited_for=claim.entry.number)
    assert claim.kind == "resume"
    assert claim.entry.body == {"prompt": "a"}


async def test_a_process_that_died_before_it_sent_anything_leaves_nothing(
    ledger: OwnerLedger, tmp_path: Path
) -> None:
    """Its claim is judged anew: it is asked for now, and the cap of now counts."""
    with other_process("claim", "cat", tmp_path / "data") as process:
        go_on(process)
        assert word(process) == "fresh"
        go_on(process)
        process.wait()
    with pytest.raises(CapReached):
        await ledger.claim(intent(), rules(EPOCH + HOUR, daily_credits=1))
    claim = await ledger.claim(intent(), rules(EPOCH + HOUR))
    assert claim.kind == "fresh"
    assert claim.entry.asked_at == EPOCH + HOUR


HERE, PID = platform.node(), os.getpid()


@pytest.mark.parametrize(
    ("holder", "after", "kind"),
    [
        (f"{HERE}|{PID}|0123456789abcdef", 1, "resume"),
        (f"{HERE}|{2**22 + 1}|0123456789abcdef", 1, "resume"),
        (f"elsewhere|{2**22 + 1}|0123456789abcdef", 1, "busy"),
        ("else|where|1|0123456789abcdef", LEASE, "busy"),
        ("elsewhere|1|0123456789abcdef", LEASE + 1, "resume"),
        (f"{HERE}|{os.getppid()}|0123456789abcdef", LEASE, "busy"),
        (f"{HERE}|{os.getppid()}|0123456789abcdef", LEASE + 1, "resume"),
        (None, 1, "resume"),
    ],
    ids=[
        *("an earlier process of this number", "a dead process", "another machine", "a strange machine"),
        *("another machine too long ago", "a living process", "a living one too long ago", "nobody"),
    ],
)
@POSIX
async def test_who_holds_a_request_decides_who_may_go_on(
    ledger: OwnerLedger, tmp_path: Path, holder: str | None, after: float, kind: str
) -> None:
    """An earlier process of our id and a dead one are gone; another machine or a living one has its time."""
    claim = await ledger.claim(intent(), rules())
    await ledger.mark_posted(claim.entry.number, BODY, EPOCH)
    with opened(tmp_path / "data") as database:
        database.execute("UPDATE entries SET holder = ?", (holder,))
    assert (await ledger.claim(intent(), rules(EPOCH + after))).kind == kind


async def test_a_request_that_we_are_at_is_busy_until_it_takes_too_long(ledger: OwnerLedger) -> None:
    """The time counts from the last sending, so that a slow one is not overtaken."""
    claim = await ledger.claim(intent(), rules())
    assert (await ledger.claim(intent(), rules(EPOCH + LEASE))).kind == "busy"
    await ledger.mark_posted(claim.entry.number, BODY, EPOCH + LEASE)
    assert (await ledger.claim(intent(), rules(EPOCH + 2 * LEASE))).kind == "busy"
    assert (await ledger.claim(intent(), rules(EPOCH + 2 * LEASE + 1))).kind == "resume"


async def test_whoever_was_overtaken_can_no_longer_send_or_give_up(
    ledger: OwnerLedger, tmp_path: Path
) -> None:
    """A process that slept beyond its time finds that another one has its request."""
    number = (await ledger.claim(intent(), rules())).entry.number
    await ledger.mark_posted(number, BODY, EPOCH)
    with opened(tmp_path / "data") as database:
        database.execute("UPDATE entries SET holder = 'elsewhere|1|0123456789abcdef'")
    with pytest.raises(LedgerError, match="took over this request"):
        await ledger.mark_posted(number, BODY, EPOCH + 1)
    await ledger.release(number, sent=True)
    await ledger.release(number, sent=False)
    assert (await ledger.claim(intent(), rules())).kind == "busy"
