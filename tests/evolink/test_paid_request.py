"""The paid request: when it is sent again, and what is known of its outcome."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import now
from tests.evolink.gateway import (
    ARGUMENTS,
    ONCE,
    REQUEST,
    UNKNOWN,
    Outcome,
    account,
    moments,
    patient,
    submit,
)
from wan_mcp.errors import (
    Busy,
    ContentRefused,
    LedgerError,
    NotFound,
    OutcomeUnknown,
    OutOfCredits,
    Refused,
    Unauthorized,
)
from wan_mcp.evolink import Task, VideoRequest
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio
NO_ID: dict[str, Any] = {"status": "pending", "progress": 0}
SINGLE: dict[str, tuple[Fault, int, int, int, Outcome]] = {
    # fault; POSTs; tasks paid where the key is honoured, and where it is not; outcome
    "400": (Fault("submit", "status", status=400), 1, 0, 0, (Refused, "no")),
    "400 older": (Fault("submit", "status", status=400, older=True), 1, 0, 0, (Refused, "no")),
    "401": (Fault("submit", "status", status=401), 1, 0, 0, (Unauthorized, "no")),
    "402": (Fault("submit", "status", status=402), 1, 0, 0, (OutOfCredits, "no")),
    "403": (Fault("submit", "status", status=403), 1, 0, 0, (Unauthorized, "no")),
    "404": (Fault("submit", "status", status=404), 1, 0, 0, (NotFound, "no")),
    "409": (Fault("submit", "status", status=409), 1, 0, 0, UNKNOWN),
    "422": (Fault("submit", "status", status=422), 1, 0, 0, (Refused, "no")),
    "moderation": (
        Fault("submit", "status", status=400, code="content_filter"),
        1,
        0,
        0,
        (ContentRefused, "no"),
    ),
    "429": (Fault("submit", "status", status=429), 2, 1, 1, "pending"),
    "429 older": (Fault("submit", "status", status=429, older=True), 2, 1, 1, "pending"),
    "capacity": (Fault("submit", "capacity"), 2, 1, 1, "pending"),
    "capacity in words": (Fault("submit", "capacity", older=True), 2, 1, 1, "pending"),
    "capacity as 503": (
        Fault("submit", "status", status=503, code="NO_AVAILABLE_CHANNEL"),
        2,
        1,
        1,
        "pending",
    ),
    "408": (Fault("submit", "status", status=408), 1, 0, 0, UNKNOWN),
    "500": (Fault("submit", "status", status=500), 1, 0, 0, UNKNOWN),
    "500 too late": (Fault("submit", "status", status=500, carried_out=True), 1, 1, 1, UNKNOWN),
    "502": (Fault("submit", "status", status=502), 2, 1, 1, "pending"),
    "503": (Fault("submit", "status", status=503), 2, 1, 1, "pending"),
    "504": (Fault("submit", "status", status=504), 2, 1, 1, "pending"),
    "502 too late": (Fault("submit", "status", status=502, carried_out=True), 2, 1, 2, "pending"),
    "503 too late": (Fault("submit", "status", status=503, carried_out=True), 2, 1, 2, "pending"),
    "504 too late": (Fault("submit", "status", status=504, carried_out=True), 2, 1, 2, "pending"),
    "page of a gateway": (Fault("submit", "html", status=502), 2, 1, 2, "pending"),
    "page of a firewall": (
        Fault("submit", "html", status=403, carried_out=False),
        1,
        0,
        0,
        (Unauthorized, "no"),
    ),
    "page instead of a refusal": (Fault("submit", "html", status=400), 1, 1, 1, UNKNOWN),
    "lost": (Fault("submit", "lost"), 2, 1, 2, "pending"),
    "dropped": (Fault("submit", "dropped"), 2, 1, 1, "pending"),
    "cut": (Fault("submit", "cut"), 2, 1, 2, "pending"),
    "slow": (Fault("submit", "slow", seconds=20), 1, 1, 1, "pending"),
    "too slow": (Fault("submit", "slow", seconds=60), 2, 1, 2, "pending"),
    "garbage": (Fault("submit", "garbage"), 2, 1, 2, "pending"),
    "html": (Fault("submit", "html"), 2, 1, 2, "pending"),
    "empty": (Fault("submit", "empty"), 2, 1, 2, "pending"),
    "huge": (Fault("submit", "huge", size=2_000_000), 2, 1, 2, "pending"),
    "no id": (Fault("submit", "body", body=NO_ID), 2, 1, 2, "pending"),
    "an error as 200": (Fault("submit", "body", body={"error": {"code": "x"}}), 2, 1, 2, "pending"),
    "a list": (Fault("submit", "body", body=[]), 2, 1, 2, "pending"),
    "id of a wrong type": (Fault("submit", "patch", body={"id": 5}), 2, 1, 2, "pending"),
    "odd fields": (Fault("submit", "patch", body={"usage": 5, "created": []}), 1, 1, 1, "pending"),
    "failed at once": (Fault("submit", "fail", at_once=True), 1, 1, 1, "failed"),
    "fails": (Fault("submit", "fail"), 1, 1, 1, "pending"),
    "redirect": (Fault("submit", "redirect"), 1, 0, 0, UNKNOWN),
    "redirect too late": (Fault("submit", "redirect", status=307, carried_out=True), 1, 1, 1, UNKNOWN),
}


@pytest.mark.parametrize("case", SINGLE)
@pytest.mark.parametrize("honoured", [True, False], ids=["honoured", "not honoured"])
async def test_one_fault_never_makes_more_requests_than_promised(case: str, honoured: bool) -> None:
    """POSTs, payments and what is said of the money, for every fault; asking again is paid once."""
    fault, posts, paid, paid_without_key, outcome = SINGLE[case]
    world = account(honours_idempotency_key=honoured, faults=[fault])
    assert await submit(world.evolink()) == outcome
    assert world.records.posts == posts
    assert len(world.records.paid) == (paid if honoured else paid_without_key)
    assert {call.idempotency_key for call in world.records.calls} == {ONCE}
    if honoured:
        assert await submit(world.evolink()) in ("pending", "failed")
        assert len(world.records.paid) == 1


@pytest.mark.parametrize("case", [case for case, (_, _, one, two, _) in SINGLE.items() if two > one])
async def test_a_search_keeps_a_lost_answer_from_being_paid_twice(case: str) -> None:
    """Where the key is not honoured, the account's own list shows the task, and it is taken."""
    world = account(honours_idempotency_key=False, faults=[SINGLE[case][0]])
    evolink = world.evolink()
    looked: list[float] = []

    async def find() -> Task | None:
        looked.append(now())
        return next(iter((await evolink.tasks()).tasks), None)

    task = await evolink.submit(REQUEST, idempotency_key=ONCE, find_task=find)
    assert task.id == world.records.paid[0].task_id
    assert world.records.posts == len(world.records.paid) == len(looked) == 1
    assert looked[0] - moments(world, "submit")[0] >= 2


@pytest.mark.parametrize("case", ["dropped", "502", "503", "504", "cut", "garbage"])
async def test_a_search_that_finds_nothing_lets_the_request_be_sent_once_more(case: str) -> None:
    """After two seconds and one search, under the same key."""
    world = account(faults=[SINGLE[case][0]])
    looked: list[float] = []

    async def find() -> Task | None:
        looked.append(now())
        return None

    task = await world.evolink().submit(REQUEST, idempotency_key=ONCE, find_task=find)
    first, second = moments(world, "submit")
    assert [first + 2 <= moment <= second for moment in looked] == [True]
    assert second - first < 40
    assert [payment.task_id for payment in world.records.paid] == [task.id]


@pytest.mark.parametrize("case", ["429", "capacity", "slow", "401", "500", "redirect", "failed at once"])
async def test_without_a_lost_answer_there_is_no_search(case: str) -> None:
    """What was surely not accepted needs none, and after any other error none would tell."""
    world = account(faults=[SINGLE[case][0]])

    async def find() -> Task | None:
        raise AssertionError("looked")

    assert await submit(world.evolink(), find_task=find) == SINGLE[case][4]


@pytest.mark.parametrize("error", [LedgerError("The record is locked."), Unauthorized("no"), Busy("later")])
async def test_a_search_that_fails_does_not_make_the_outcome_known(error: Exception) -> None:
    """Its own error says that nothing was charged, which is not true of the submission."""
    world = account(faults=[Fault("submit", "lost")])

    async def find() -> Task | None:
        raise error

    with pytest.raises(OutcomeUnknown, match=str(error)) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE, find_task=find)
    assert caught.value.charged == "unknown"
    assert world.records.posts == 1


async def test_a_search_has_the_last_word_where_it_cannot_tell() -> None:
    """Its own unknown outcome reaches the caller as it is."""
    world = account(faults=[Fault("submit", "lost")])
    verdict = OutcomeUnknown("Which of these?", next_step="Check them.", charged="unknown")

    async def find() -> Task | None:
        raise verdict

    with pytest.raises(OutcomeUnknown) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE, find_task=find)
    assert caught.value is verdict


@pytest.mark.parametrize(
    ("faults", "posts", "paid", "outcome"),
    [
        (["429*always"], 3, 0, (Busy, "no")),
        (["capacity*always"], 3, 0, (Busy, "no")),
        (["502*always"], 2, 0, UNKNOWN),
        (["503*always"], 2, 0, UNKNOWN),
        (["504*always"], 2, 0, UNKNOWN),
        (["503,carried_out=true*always"], 2, 1, UNKNOWN),
        (["lost*always"], 2, 1, UNKNOWN),
        (["dropped*always"], 2, 0, UNKNOWN),
        (["cut*always"], 2, 1, UNKNOWN),
        (["slow=60*always"], 2, 1, UNKNOWN),
        (["garbage*always"], 2, 1, UNKNOWN),
        (["html*always"], 2, 1, UNKNOWN),
        (["empty*always"], 2, 1, UNKNOWN),
        (["lost", "429*always"], 4, 1, UNKNOWN),
        (["dropped", "401"], 2, 0, UNKNOWN),
        (["lost", "402"], 2, 1, UNKNOWN),
        (["lost", "500"], 2, 1, UNKNOWN),
        (["lost", "status=409,code=paid_outcome_unknown"], 2, 1, UNKNOWN),
        (["status=409,code=paid_outcome_unknown"], 2, 1, "pending"),
        (["429*2", "lost", "429*2", "503*always"], 6, 1, UNKNOWN),
        (["429*2", "dropped", "capacity*2"], 6, 1, "pending"),
    ],
)
async def test_several_faults_never_make_more_requests_than_promised(
    faults: list[str], posts: int, paid: int, outcome: Outcome
) -> None:
    """At most two requests that may have been accepted; after the first, nothing is certain any more."""
    world = account(faults=[Fault.parse(f"submit:{fault}") for fault in faults])
    assert await submit(world.evolink()) == outcome
    assert (world.records.posts, len(world.records.paid)) == (posts, paid)
    assert {call.idempotency_key for call in world.records.calls} == {ONCE}


KINDS = ["429", "capacity", "500", "502", "503,carried_out=true", "lost", "dropped", "cut", "slow=31"]
KINDS += ["garbage", "html,status=504", "empty", "401", "400", "redirect", "slow=5", "status=409", "fail"]


@patient
@given(st.lists(st.sampled_from(KINDS), max_size=8), st.booleans())
async def test_no_run_of_faults_breaks_a_promise(faults: list[str], honoured: bool) -> None:
    """Bounded requests, one payment under an honoured key, and never a wrong word about the money."""
    world = account(
        honours_idempotency_key=honoured, faults=[Fault.parse(f"submit:{fault}") for fault in faults]
    )
    outcome = await submit(world.evolink())
    accepted = len(world.records.paid)
    assert world.records.posts <= 6
    assert accepted <= (1 if honoured else 2)
    if isinstance(outcome, str):
        assert accepted >= 1
    elif outcome[1] == "no":
        assert accepted == 0
    else:
        assert outcome == UNKNOWN


async def test_an_unknown_outcome_says_what_happened_and_that_asking_again_is_safe() -> None:
    """And keeps the facts that support would ask for."""
    world = account(faults=[Fault("submit", "status", None, status=503, message="Upstream is down.")])
    with pytest.raises(OutcomeUnknown) as caught:
        await world.evolink().submit(REQUEST, idempotency_key=ONCE)
    error = caught.value
    assert error.message == (
        "It is not known whether Evolink accepted the request. "
        "Evolink answered HTTP 503 service_unavailable: Upstream is down."
    )
    assert "Make exactly the same request again in a minute: that is safe" in error.next_step
    assert (error.charged, error.status, error.code) == ("unknown", 503, "service_unavailable")
    assert error.request_id is not None
    assert error.task_id is None


@pytest.mark.parametrize(("seconds", "second"), [(1, "pending"), (25, UNKNOWN)])
async def test_two_submissions_under_one_key_are_paid_once(seconds: float, second: Outcome) -> None:
    """The later one is told that the first is still open; it searches, asks once more, and then says so."""
    world = account(faults=[Fault("submit", "slow", seconds=seconds)])
    outcomes: list[Outcome] = []

    async def ask() -> None:
        outcomes.append(await submit(world.evolink()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.5)
        tasks.start_soon(ask)
    assert sorted(outcomes, key=str) == sorted(["pending", second], key=str)
    assert (world.records.posts, len(world.records.paid)) == (3, 1)


async def test_another_request_under_a_used_key_is_an_unknown_outcome() -> None:
    """A conflict is no proof that nothing was accepted."""
    world = account()
    evolink = world.evolink()
    await evolink.submit(REQUEST, idempotency_key=ONCE)
    other = VideoRequest.model_validate(ARGUMENTS | {"prompt": "The dog yawns."})
    with pytest.raises(OutcomeUnknown, match="idempotency_conflict"):
        await evolink.submit(other, idempotency_key=ONCE)
    assert len(world.records.paid) == 1
