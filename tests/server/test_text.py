"""Text for the model: what happened, whether it was charged, what to do next."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.server.mcpserver import Context

from tests.clock import EPOCH
from wan_mcp.errors import (
    CapReached,
    LinkFailed,
    LostAnswer,
    OutcomeUnknown,
    SettingsError,
    StillUnderWay,
    VideoError,
    WanError,
)
from wan_mcp.evolink import Credits, Task
from wan_mcp.generation.outcomes import Submitted, balance_text
from wan_mcp.generation.owners import LOCAL
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import Entry, Saved
from wan_mcp.server.results import TaskView
from wan_mcp.server.text import error_text, next_step
from wan_mcp.server.timeouts import KNOWN, UNKNOWN, wait_limits
from wan_mcp.settings import Settings

LINK = "https://media.example.com/v.mp4"


def snapshot(status: str, **facts: Any) -> TaskSnapshot:
    results = [LINK] if status == "completed" else []
    upstream = {"id": "task-unified-1-a", "status": status, "results": results}
    return replace(TaskSnapshot(Task.read(upstream | facts.pop("upstream", {}))), **facts)


def entry(take: int) -> Entry:
    """The row of a request; only its take matters here."""
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


DONE = snapshot("completed", now=EPOCH, expires_at=EPOCH + 86400)
PAID = replace(DONE, task=snapshot("completed", upstream={"usage": {"credits_used": 25.5}}).task)
DEAD = replace(DONE, expires_at=EPOCH - 3600)
MINE = replace(DONE, entry=entry(take=1))
VIDEOS = Path("/v")
READY = "Tell the user: the video is ready at https://media.example.com/v.mp4"
GONE = "Tell the user: the video is gone: its link expired today 13:13 UTC, and it is not saved here."
FAILED = {"error": {"code": "service_error", "message": "busy"}}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            snapshot("processing", time_left=70.4),
            "Call wait_for_task with task_id task-unified-1-a to wait for it. About 70 s are left.",
        ),
        (
            snapshot("processing", waited=45.0),
            "Call wait_for_task with task_id task-unified-1-a to go on waiting.",
        ),
        (snapshot("processing", asked_to_wait=900.0), "900 s is more than one call may wait."),
        (snapshot("processing", read_error=LostAnswer("No answer.")), "The last read failed: No answer."),
        (snapshot("processing", now=EPOCH, known_at=EPOCH), "This is how the task was today 14:13 UTC."),
        (
            snapshot("completed", upstream={"results": []}),
            "its link is not available yet; do not request it again",
        ),
        (snapshot("cancelled"), "cancelled and not charged"),
        (
            snapshot("failed", upstream=FAILED),
            "Tell the user: the generation failed and was not charged. Evolink says: service_error: busy. "
            "It may work later: call generate_video with the same arguments in a minute or two.",
        ),
        (snapshot("failed"), "probably fail again: change the prompt or the picture"),
        (
            snapshot("pending", submitted=Submitted(entry(take=3), repeated=True)),
            "nothing was charged again. For another version, set take to 4.",
        ),
        (snapshot("pending", recovered=True), "was found in the account's list"),
        (
            snapshot("pending", notes=("The address looks signed.",)),
            "The address looks signed.",
        ),
        (
            DONE,
            f"{READY} (the link works until tomorrow 14:13 UTC). Call save_video with task_id "
            "task-unified-1-a to keep it on this machine.",
        ),
        (replace(DONE, expires_at=EPOCH + 1), f"{READY} (the link works until today 14:13 UTC)."),
        (DEAD, f"{GONE} generate_video with another take makes a new one, which costs as much again"),
        (
            replace(DEAD, entry=entry(take=1)),
            f"{GONE} generate_video with another take makes a new one, which costs about 25.5 credits "
            "($0.38). Ask the user first.",
        ),
        (
            replace(DEAD, entry=replace(entry(take=1), missing="/v/cat.mp4")),
            "its link expired today 13:13 UTC, and it is not at /v/cat.mp4 any more. generate_video with",
        ),
        (
            replace(DEAD, saved=Saved("/v/cat.mp4", 9, "ab")),
            "Tell the user: the video is saved at /v/cat.mp4. Its link expired today 13:13 UTC.",
        ),
        (replace(DONE, expires_at=None), "the link works for 24 hours after the completion"),
        (
            replace(DONE, saved=Saved("/v/cat.mp4", 9, "ab")),
            "Tell the user: the video is saved at /v/cat.mp4. Its link works until tomorrow 14:13 UTC.",
        ),
        (
            replace(PAID, saved=Saved("/v/cat.mp4", 9, "ab", remark="It is a MOV file.")),
            "saved at /v/cat.mp4. It is a MOV file. It cost 25.5 credits ($0.38). Its link works until",
        ),
        (PAID, f"{READY} (the link works until tomorrow 14:13 UTC). It cost 25.5 credits ($0.38). Call"),
        (
            replace(DONE, save_error=VideoError("The disk is full.")),
            "Automatic saving failed: The disk is full. Call save_video with task_id task-unified-1-a to try",
        ),
        (
            replace(DONE, save_error=VideoError("Broke.", next_step="Call save_video again later.")),
            "Automatic saving failed: Broke. Call save_video again later.",
        ),
        (
            replace(DONE, save_error=LinkFailed("The video's link answers HTTP 404.", next_step="Call sa")),
            "Tell the user: the video is made, but its link https://media.example.com/v.mp4 did not deliver "
            "it just now. Automatic saving failed: The video's link answers HTTP 404. Call sa",
        ),
        (
            replace(DONE, save_error=StillUnderWay("The video is still being saved.")),
            "It is still being saved. Call wait_for_task with task_id task-unified-1-a for its path.",
        ),
        (
            replace(DONE, read_error=LostAnswer("No answer."), known_at=EPOCH),
            f"{READY} (the link works until tomorrow 14:13 UTC).",
        ),
    ],
)
@pytest.mark.usefixtures("in_utc")
def test_the_next_step_fits_what_is_known(known: TaskSnapshot, said: str) -> None:
    """One or more sentences that a model can act on, in text and object alike."""
    assert said in next_step(known, LOCAL)
    assert TaskView.of(known, LOCAL).next == next_step(known, LOCAL)
    is_over = known.task.is_over
    assert next_step(known, LOCAL).startswith("Tell the user: ") is is_over


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            replace(MINE, task=snapshot("processing").task, expires_at=None),
            "Call wait_for_task with task_id task-unified-1-a to wait for it. "
            f"The server follows it in any case, and saves the video to {VIDEOS}.",
        ),
        (
            snapshot("processing"),
            "Call wait_for_task with task_id task-unified-1-a to wait for it.",
        ),
        (
            MINE,
            f"{READY} (the link works until tomorrow 14:13 UTC). It is still being saved. "
            "Call wait_for_task with task_id task-unified-1-a for its path.",
        ),
        (
            DONE,
            f"{READY} (the link works until tomorrow 14:13 UTC). "
            "Call save_video with task_id task-unified-1-a to keep it on this machine.",
        ),
    ],
)
@pytest.mark.usefixtures("in_utc")
def test_a_server_that_saves_by_itself_says_so_of_what_was_requested_here(
    known: TaskSnapshot, said: str
) -> None:
    """Nobody is told to save what is saved automatically; a task that was made elsewhere is not."""
    assert next_step(known, replace(LOCAL, saves_to=VIDEOS)) == said


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
    assert error_text(error, LOCAL) == text


@pytest.mark.parametrize(
    ("credits", "text"),
    [
        (Credits(remaining=12.5, key_remaining=12.5), "The account has 12.5 credits ($0.18) left."),
        (
            Credits(remaining=-3, key_unlimited=True),
            "The account has -3 credits (-$0.04) left. This key has no separate limit.",
        ),
        (
            Credits(remaining=5, key_remaining=2),
            "The account has 5 credits ($0.07) left. This key may spend up to 2 credits ($0.03).",
        ),
    ],
)
def test_a_balance_is_a_sentence(credits: Credits, text: str) -> None:
    """The credits of the account, and the limit of the key."""
    assert balance_text(credits) == text


class Caller:
    """The part of a call's context that names the client."""

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
    """Defaults do not exceed the longest wait, and an unknown client's wait ends well below a minute."""
    assert all(fitting.default <= fitting.longest for fitting in (*KNOWN.values(), UNKNOWN))
    assert UNKNOWN.longest < 60
