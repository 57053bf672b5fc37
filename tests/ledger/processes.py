"""Another process that uses a ledger."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clock import EPOCH
from tests.ledger.rows import API

PROGRAM = f"""
import os, sys
from pathlib import Path

import anyio

from wan_mcp.ledger import ClaimRules, Fingerprints, Image, Intent, Post
from wan_mcp.ledger.sqlite.store import SqliteLedger


async def main():
    do, name, now, *folders = sys.argv[1:]
    prints = Fingerprints(f"name of {{name}}", f"content of {{name}}")
    intent = Intent(prints, name, 5, "720p", 25.5, image=Image())
    print("ready", flush=True)
    sys.stdin.readline()
    for folder in folders:
        ledger = SqliteLedger(Path(folder)).for_owner("{API}", "me")
        claim = await ledger.claim(intent, ClaimRules(float(now), 3600))
        if do == "post":
            await ledger.mark_posted(claim.entry.number, Post(float(now), 0.0), {{"prompt": "a"}})
    print(claim.kind, flush=True)
    sys.stdin.readline()
    os._exit(0)  # nothing is given up


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
