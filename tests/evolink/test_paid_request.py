"""The paid request: one POST, and what its answer says about the money."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evolink.gateway import ARGUMENTS, LOST, ONCE, REQUEST, Outcome, account, patient, submit
from wan_mcp.errors import (
    Busy,
    ContentRefused,
    LostAnswer,
    NotFound,
    OutOfCredits,
    Refused,
    Unauthorized,
)
from wan_mcp.evolink import ImageToVideoRequest
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio
NO_ID: dict[str, Any] = {"status": "pending", "progress": 0}


def status(number: int, **details: Any) -> Fault:
    return Fault("submit", "status", status=number, **details)


ACCEPTED: dict[str, tuple[Fault, str]] = {
    "slow": (Fault("submit", "slow", seconds=59), "pending"),
    "odd fields": (Fault("submit", "patch", body={"usage": 5, "created": []}), "pending"),
    "failed at once": (Fault("submit", "fail", at_once=True), "failed"),
    "fails": (Fault("submit", "fail"), "pending"),
}
REFUSED: dict[str, tuple[Fault, Outcome]] = {
    "400": (status(400), (Refused, "no")),
    "400 older": (status(400, older=True), (Refused, "no")),
    "401": (status(401), (Unauthorized, "no")),
    "402": (status(402), (OutOfCredits, "no")),
    "403": (status(403), (Unauthorized, "no")),
    "404": (status(404), (NotFound, "no")),
    "418": (status(418), (Refused, "no")),
    "422": (status(422), (Refused, "no")),
    "moderation": (status(400, code="content_filter"), (ContentRefused, "no")),
    "moderation as 500": (status(500, code="content_filter"), (ContentRefused, "no")),
    "quota as 409": (status(409, code="insufficient_quota"), (OutOfCredits, "no")),
    "429": (status(429), (Busy, "no")),
    "429 older": (status(429, older=True), (Busy, "no")),
    "429 as a page": (Fault("submit", "html", status=429, carried_out=False), (Busy, "no")),
    "capacity": (Fault("submit", "capacity"), (Busy, "no")),
    "capacity in words": (Fault("submit", "capacity", older=True), (Busy, "no")),
    "capacity as 503": (status(503, code="NO_AVAILABLE_CHANNEL"), (Busy, "no")),
}
LOST_ANSWERS: dict[str, tuple[Fault, int]] = {
    # fault; whether it is paid nevertheless
    "408": (status(408), 0),
    "409": (status(409), 0),
    "425": (status(425), 0),
    "still open": (status(409, code="paid_outcome_unknown"), 0),
    "still open as 400": (status(400, code="paid_outcome_unknown"), 0),
    "another request": (status(409, code="idempotency_conflict"), 0),
    "500": (status(500), 0),
    "500 too late": (status(500, carried_out=True), 1),
    "502": (status(502), 0),
    "503": (status(503), 0),
    "503 too late": (status(503, carried_out=True), 1),
    "504 older": (status(504, older=True), 0),
    "page of a gateway": (Fault("submit", "html", status=502), 1),
    "page of a firewall": (Fault("submit", "html", status=403, carried_out=False), 0),
    "page instead of a refusal": (Fault("submit", "html", status=400), 1),
    "JSON of somebody else": (Fault("submit", "body", status=422, body={"detail": "No."}), 1),
    "lost": (Fault("submit", "lost"), 1),
    "dropped": (Fault("submit", "dropped"), 0),
    "cut": (Fault("submit", "cut"), 1),
    "too slow": (Fault("submit", "slow", seconds=71), 1),
    "garbage": (Fault("submit", "garbage"), 1),
    "html": (Fault("submit", "html"), 1),
    "empty": (Fault("submit", "empty"), 1),
    "huge": (Fault("submit", "huge", size=2_000_000), 1),
    "no id": (Fault("submit", "body", body=NO_ID), 1),
    "an error as 200": (Fault("submit", "body", body={"error": {"code": "x"}}), 1),
    "a list": (Fault("submit", "body", body=[]), 1),
    "id of a wrong type": (Fault("submit", "patch", body={"id": 5}), 1),
    "redirect": (Fault("submit", "redirect"), 0),
    "redirect too late": (Fault("submit", "redirect", status=307, carried_out=True), 1),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_is_accepted_is_one_task(case: str) -> None:
    """However slow within a minute, and whatever becomes of the task."""
    fault, task_status = ACCEPTED[case]
    world = account(honours_idempotency_key=False, faults=[fault])
    assert await submit(world.evolink()) == task_status
    assert (world.records.posts, len(world.records.paid)) == (1, 1)


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_surely_refused_is_said_to_cost_nothing(case: str) -> None:
    """By the API itself, by a code that proves it, and always at the rate limit."""
    fault, outcome = REFUSED[case]
    world = account(faults=[fault])
    assert await submit(world.evolink()) == outcome
    assert (world.records.posts, len(world.records.paid)) == (1, 0)


@pytest.mark.parametrize("case", LOST_ANSWERS)
async def test_what_may_have_been_accepted_is_a_lost_answer(case: str) -> None:
    """Whoever may have answered, and however: it is not sent again here, and says what to do."""
    fault, paid = LOST_ANSWERS[case]
    world = account(faults=[fault])
    with pytest.raises(LostAnswer) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    assert caught.value.charged == "unknown"
    assert caught.value.next_step
    assert (world.records.posts, len(world.records.paid)) == (1, paid)


KINDS = [*ACCEPTED, *REFUSED, *LOST_ANSWERS]
FAULTS = {case: entry[0] for table in (ACCEPTED, REFUSED, LOST_ANSWERS) for case, entry in table.items()}


@patient
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.booleans())
async def test_no_run_of_faults_breaks_a_promise(cases: list[str], honoured: bool) -> None:
    """One POST a call, one payment under an honoured key, and never a wrong word about the money."""
    world = account(
        honours_idempotency_key=honoured, faults=[Fault(**vars_of(FAULTS[case])) for case in cases]
    )
    evolink = world.evolink()
    for number in range(1, len(cases) + 1):
        before = len(world.records.paid)
        outcome = await submit(evolink)
        made = len(world.records.paid) - before
        assert world.records.posts == number
        assert {call.idempotency_key for call in world.records.calls} == {ONCE}
        if isinstance(outcome, str):
            assert len(world.records.paid) >= 1
        elif outcome[1] == "no":
            assert made == 0
        else:
            assert outcome == LOST
    if honoured:
        assert len(world.records.paid) <= 1


def vars_of(fault: Fault) -> dict[str, Any]:
    return {"at": fault.at, "kind": fault.kind, **fault.details}


async def test_a_lost_answer_keeps_the_facts() -> None:
    """Those that support would ask for."""
    world = account(faults=[status(503, message="Upstream is down.")])
    with pytest.raises(LostAnswer) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    error = caught.value
    assert error.message == "Evolink answered HTTP 503 service_unavailable: Upstream is down."
    assert (error.charged, error.status, error.code) == ("unknown", 503, "service_unavailable")
    assert error.request_id is not None
    assert error.task_id is None


async def test_a_repeat_while_the_first_is_open_is_told_so() -> None:
    """By a code that proves that the gateway knows the key; it is paid once."""
    world = account(faults=[Fault("submit", "slow", seconds=5)])
    outcomes: list[Outcome] = []

    async def ask() -> None:
        outcomes.append(await submit(world.evolink()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(1)
        with pytest.raises(LostAnswer) as caught:
            await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    assert (caught.value.status, caught.value.code) == (409, "paid_outcome_unknown")
    assert outcomes == ["pending"]
    assert len(world.records.paid) == 1


async def test_another_request_under_a_used_key_is_a_lost_answer() -> None:
    """A conflict is no proof that nothing was accepted."""
    world = account()
    evolink = world.evolink()
    await evolink.submit(REQUEST, idempotency_key=ONCE)
    other = ImageToVideoRequest.model_validate(ARGUMENTS | {"prompt": "The dog yawns."})
    with pytest.raises(LostAnswer, match="idempotency_conflict"):
        await evolink.submit(other, idempotency_key=ONCE)
    assert len(world.records.paid) == 1
