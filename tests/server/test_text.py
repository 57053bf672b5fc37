"""Words for the model: what happened, whether it was charged, what to do next."""

from dataclasses import replace
from typing import Any, cast

import pytest
from mcp.server.mcpserver import Context

from wan_mcp.errors import CapReached, LostAnswer, OutcomeUnknown, SettingsError, VideoError, WanError
from wan_mcp.evolink import Credits, Task
from wan_mcp.generation.outcomes import Submitted
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import Entry, Saved
from wan_mcp.server.results import TaskView
from wan_mcp.server.text import balance_text, error_text, next_step
from wan_mcp.server.timeouts import KNOWN, UNKNOWN, wait_limits
from wan_mcp.settings import Settings

LINK = "https://media.example.com/v.mp4"


def snapshot(status: str, **facts: Any) -> TaskSnapshot:
    results = [LINK] if status == "completed" else []
    upstream = {"id": "task-unified-1-a", "status": status, "results": results}
    return replace(TaskSnapshot(Task.read(upstream | facts.pop("upstream", {}))), **facts)


def entry(take: int) -> Entry:
    """The row of a request, of which only its take counts here."""
    return Entry(
        number=1,
        fingerprints=None,
        idempotency_key="wan-mcp-0123456789abcdef",
        asked_at=0.0,
        posts=(),
        guessed=False,
        body=None,
        prompt="The cat yawns.",
        duration=5,
        quality="720p",
        estimate=25.5,
        take=take,
        image=None,
        untold=False,
        recovered=False,
        task=None,
        known_at=None,
        completed_at=None,
        saved=None,
    )


DONE = snapshot("completed", link_life=86400.0)
FAILED = {"error": {"code": "service_error", "message": "busy"}}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            snapshot("processing", time_left=70.4),
            "Call wait_for_task with task_id task-unified-1-a to go on waiting. About 70 s",
        ),
        (snapshot("processing", asked_to_wait=900.0), "900 s is more than one call may wait."),
        (snapshot("processing", read_error=LostAnswer("No answer.")), "The last read failed: No answer."),
        (snapshot("processing", known_at=1_790_000_000.0), "how the task was at 2026-09-21 14:13:20 UTC"),
        (
            snapshot("completed", upstream={"results": []}),
            "its link is not available yet; do not request it again",
        ),
        (snapshot("cancelled"), "cancelled and not charged"),
        (snapshot("failed", upstream=FAILED), "not charged; reserved credits go back. It may work later"),
        (snapshot("failed"), "probably fail again: change the prompt or the picture"),
        (
            snapshot("pending", submitted=Submitted(entry(take=3), repeated=True)),
            "nothing was charged again. For another version set take to 4.",
        ),
        (snapshot("pending", recovered=True), "was found in the account's list"),
        (
            snapshot("pending", notes=("The address looks signed.",)),
            "The address looks signed.",
        ),
        (DONE, "Its link works for about 24 h more. Call save_video"),
        (replace(DONE, link_life=11_000.0), "about 3 h more"),
        (replace(DONE, link_life=1800.0), "about 30 min more"),
        (replace(DONE, link_life=20.0), "about 1 min more"),
        (replace(DONE, link_life=-5.0), "has probably expired"),
        (replace(DONE, link_life=None), "works for 24 hours"),
        (replace(DONE, saved=Saved("/v/cat.mp4", 9, "ab")), "The video is saved: /v/cat.mp4."),
        (
            replace(DONE, save_error=VideoError("The disk is full.")),
            "Automatic saving failed: The disk is full.",
        ),
    ],
)
def test_the_next_step_fits_what_is_known(known: TaskSnapshot, said: str) -> None:
    """One or more sentences that a model can act on, in text and object alike."""
    assert said in next_step(known)
    assert TaskView.of(known).next == next_step(known)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SettingsError("No key.", next_step="Set one."), "No key. Set one. Nothing was sent or charged."),
        (CapReached("Over the cap."), "Over the cap. Nothing was sent or charged."),
        (WanError("Broke.", next_step="Retry."), "Broke. Retry. Nothing was charged."),
        (OutcomeUnknown("Lost.", charged="unknown"), "Lost. It is not known whether credits were charged."),
        (WanError("Odd.", charged="yes", request_id="r-1"), "Odd. (request id r-1) Credits were charged."),
    ],
)
def test_an_error_says_whether_it_was_charged(error: WanError, text: str) -> None:
    """What happened, what to do, and the money last."""
    assert error_text(error) == text


@pytest.mark.parametrize(
    ("credits", "text"),
    [
        (Credits(remaining=12.5), "The account has 12.5 credits left."),
        (
            Credits(remaining=-3, key_unlimited=True),
            "The account has -3 credits left. This key has no limit of its own.",
        ),
        (
            Credits(remaining=5, key_remaining=2),
            "The account has 5 credits left. This key may spend up to 2.",
        ),
    ],
)
def test_a_balance_is_a_sentence(credits: Credits, text: str) -> None:
    """The account's, and what limits the key."""
    assert balance_text(credits) == text


class Caller:
    """As much of a call's context as tells who calls."""

    def __init__(self, name: str | None) -> None:
        self.request_context = self
        self.session = self
        self.client_info = self
        self.name = name
        self.client_params = self if name is not None else None


@pytest.mark.parametrize(
    ("name", "environ", "expected"),
    [
        (None, {}, (45, 50)),
        ("somebody", {}, (45, 50)),
        ("claude-code", {}, (100, 110)),
        ("Visual Studio Code", {}, (120, 300)),
        ("codex-mcp-client/0.169 (linux)", {}, (120, 240)),
        ("claude-code", {"WAN_MCP_WAIT_SECONDS": "30", "WAN_MCP_MAX_WAIT_SECONDS": "40"}, (30, 40)),
        ("claude-code", {"WAN_MCP_MAX_WAIT_SECONDS": "60"}, (60, 60)),
    ],
)
def test_a_wait_fits_the_client_that_calls(
    name: str | None, environ: dict[str, str], expected: tuple[float, float]
) -> None:
    """A client whose limit is known waits longer in one call; the settings override that."""
    fitting = wait_limits(cast(Context[Any], Caller(name)), Settings.load(environ))
    assert (fitting.default, fitting.longest) == expected


def test_no_known_client_waits_longer_than_its_table_says() -> None:
    """Defaults do not exceed caps, and whoever is unknown ends well below a minute."""
    assert all(fitting.default <= fitting.longest for fitting in (*KNOWN.values(), UNKNOWN))
    assert UNKNOWN.longest < 60
