"""Processes are killed around the paid request: the short form of ``crash.py``."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.generation import crash
from tests.generation.crash import PROMISED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the processes are forked"),
]
KILLS = 33
SECONDS = 12
"""Seconds after which no further request is begun, even on a slow machine."""


@pytest.fixture(scope="module")
def verdicts() -> dict[str, dict[str, Any]]:
    """All forms at the same time, since most of the time is the pause before a search."""
    options = ["--form", "promised", "--kills", str(KILLS), "--seconds", str(SECONDS), "--customers", "15"]
    command = [sys.executable, crash.__file__, "--json", "--servers", "0.04", *options]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    found = map(json.loads, run.stdout.splitlines())
    return {verdict["form"]: verdict for verdict in found}


@pytest.mark.parametrize("form", PROMISED)
def test_whoever_is_killed_each_request_is_paid_once(verdicts: dict[str, dict[str, Any]], form: str) -> None:
    """Every request gets its task, paid once, or is said to be undecided, and no task is lost.

    Where the key is ignored, one request of each ledger is paid twice at most: that is how it is learned.
    """
    verdict = verdicts[form]
    promised = {name: verdict[name] for name in ("missing", "wrong", "unanswered")}
    assert promised == dict.fromkeys(promised, 0)
    assert verdict["twice"] <= (verdict["ledgers"] if form == "list" else 0)
    assert verdict["paid"] + verdict["undecided"] >= verdict["requests"]
    assert verdict["kills"] > 0


@pytest.mark.parametrize("form", PROMISED)
def test_eight_equal_calls_in_eight_processes_are_one_request(
    verdicts: dict[str, dict[str, Any]], form: str
) -> None:
    """One of them sends the request, and all of them get the task."""
    assert verdicts[form]["crowd"] == 1
