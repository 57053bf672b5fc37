"""Another process that uses a ledger."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clock import EPOCH
from tests.ledger.rows import API, Place

PROGRAM = f"""
import os, sys
from pathlib import Path

import anyio

from wan_mcp.errors import CapReached
from wan_mcp.ledger import ClaimRules, Fingerprints, Image, Intent, Post


def ledger_at(place):
    if "://" in place:
        from pydantic import SecretStr
        from wan_mcp.ledger.postgres.store import PostgresLedger

        return PostgresLedger(SecretStr(place))
    from wan_mcp.ledger.sqlite.store import SqliteLedger

    return SqliteLedger(Path(place))


async def main():
    do, name, now, owner, total, *places = sys.argv[1:]
    rules = ClaimRules(float(now), 3600, total_daily_credits=float(total))
    prints = Fingerprints(f"name of {{name}}", f"content of {{name}}")
    intent = Intent(prints, name, 5, "720p", 25.5, image=Image())
    print("ready", flush=True)
    sys.stdin.readline()
    for place in places:
        ledger = ledger_at(place).for_owner("{API}", owner)
        try:
            claim = await ledger.claim(intent, rules)
        except CapReached:
            print("refused", flush=True)
            return
        if do == "post":
            await ledger.mark_posted(claim.entry.number, Post(float(now), 0.0), {{"prompt": "a"}})
    print(claim.kind, flush=True)
    sys.stdin.readline()
    os._exit(0)  # nothing is given up


anyio.run(main)
"""


@contextmanager
def other_process(
    do: str, name: str, *places: Place, owner: str = "me", total: float = float("inf")
) -> Iterator["subprocess.Popen[str]"]:
    """A process that is ready to claim a request when it gets a line, and ends with the next one.

    Args:
        do: ``claim``, or ``post`` to record a POST as well.
        name: the request's.
        places: those of the ledgers.
        owner: whose request it is.
        total: the cap over 24 hours for all owners together.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, do, name, str(EPOCH), owner, str(total), *map(str, places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert word(process) == "ready"
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
