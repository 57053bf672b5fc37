"""The rules of paying once, as tables: no database, no network, no waiting."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import EPOCH
from tests.ledger.rows import DAY, HOUR, intent, prints, rules, task
from wan_mcp.errors import CapReached
from wan_mcp.evolink import Task
from wan_mcp.ledger import Entry, KeyUse, Post
from wan_mcp.ledger.caps import Spending, check_caps
from wan_mcp.ledger.policy import (
    REPEATED_FOR,
    Delays,
    Listed,
    Step,
    Verdict,
    age,
    assign,
    judge,
    next_step,
    paid_beside,
    since_last_post,
)

DELAYS = Delays()
IMAGE, TEXT = "wan2.5-image-to-video", "wan2.5-text-to-video"


def entry(number: int = 1, *posts: float, skew: float | None = 0.0, guessed: bool = False) -> Entry:
    """A row without an answer, whose POSTs were written so many seconds after the epoch."""
    made = tuple(Post(EPOCH + at, skew) for at in posts or (0.0,))
    facts: dict[str, Any] = dict.fromkeys(("body", "image", "task", "known_at", "completed_at", "saved"))
    return Entry(
        **facts,
        number=number,
        fingerprints=prints(),
        idempotency_key="wan-mcp-0123456789abcdef",
        asked_at=EPOCH,
        posts=made,
        guessed=guessed,
        prompt="",
        duration=5,
        quality="720p",
        estimate=25.5,
        take=1,
        untold=False,
        recovered=False,
    )


def of(model: str, number: int = 1, skew: float | None = 0.0) -> Entry:
    """A row without an answer, whose recorded body names this model."""
    return replace(entry(number, skew=skew), body={"model": model})


def made(after: float | None, name: str = "cat", model: str | None = None) -> Task:
    """A task that was created so many seconds after the epoch, by the gateway's clock."""
    return task(name, created=None if after is None else EPOCH + after, model=model)


def listed(*tasks: Task, complete: bool = True, skew: float | None = 0.0) -> Listed:
    return Listed(complete=complete, skew=skew, tasks=tasks)


@pytest.mark.parametrize(
    ("posts", "now", "alive", "verdict"),
    [
        ((), 0.0, True, "busy"),
        ((0.0,), DAY, True, "busy"),
        ((), 0.0, False, "drop"),
        ((), 9 * DAY, False, "drop"),
        ((0.0,), 0.0, False, "resume"),
        ((0.0,), DAY - 1, False, "resume"),
        ((0.0,), DAY, False, "expired"),
        ((0.0, DAY - 1), DAY, False, "expired"),
        ((0.0,), -9 * DAY, False, "resume"),
    ],
)
def test_whose_a_row_is(posts: tuple[float, ...], now: float, alive: bool, verdict: str) -> None:
    """A living worker comes first; what was never sent is dropped; a day after the first POST it is over."""
    found = tuple(Post(EPOCH + at, 0.0) for at in posts)
    assert judge(found, EPOCH + now, 0.0, alive=alive) == verdict


@pytest.mark.parametrize(
    ("now", "skew", "then", "expected"),
    [
        (60, 0.0, 0.0, 60),
        (-60, 0.0, 0.0, 0),
        (25 * HOUR, -24 * HOUR, 0.0, HOUR),
        (-47 * HOUR, 0.0, -48 * HOUR, HOUR),
        (25 * HOUR, None, 0.0, 25 * HOUR),
        (60, 0.0, None, 60),
        (-60, None, None, 0),
        (-30 * HOUR, None, None, REPEATED_FOR),
    ],
)
def test_how_old_a_request_is_says_the_gateways_clock(
    now: float, skew: float | None, then: float | None, expected: float
) -> None:
    """Where it is known; ours may have been set, and one that was far ahead tells nothing."""
    assert age((Post(EPOCH, then), Post(EPOCH + 50, then)), EPOCH + now, skew) == expected


def test_times_do_not_run_backwards() -> None:
    """Where the clock was set back, they count from now."""
    row = entry(1, 0, 50)
    assert [since_last_post(row, EPOCH + now) for now in (60, -60)] == [10, 0]


OURS: dict[str, tuple[Entry, list[Entry], Listed, str, tuple[str, ...]]] = {
    "the only one": (entry(), [], listed(made(1)), "ours", ("cat",)),
    "at the earliest": (entry(), [], listed(made(-5)), "ours", ("cat",)),
    "too early": (entry(), [], listed(made(-5.5)), "none", ()),
    "at the latest": (entry(), [], listed(made(100)), "ours", ("cat",)),
    "too late": (entry(), [], listed(made(100.5)), "none", ()),
    "of a repeat": (entry(1, 0, 500), [], listed(made(590)), "ours", ("cat",)),
    "between two POSTs": (entry(1, 0, 500), [], listed(made(300)), "none", ()),
    "nothing": (entry(), [], listed(), "none", ()),
    "no list": (entry(), [], Listed(offered=False), "no list", ()),
    "not complete": (entry(), [], listed(made(1), complete=False), "cannot tell", ("cat",)),
    "nothing, not complete": (entry(), [], listed(complete=False), "cannot tell", ()),
    "two": (entry(), [], listed(made(1), made(2, "dog")), "cannot tell", ("cat", "dog")),
    "undated": (entry(), [], listed(made(None)), "cannot tell", ("cat",)),
    "one is undated": (entry(), [], listed(made(1), made(None, "dog")), "cannot tell", ("cat", "dog")),
    "clock ahead": (entry(skew=3600), [], listed(made(3601), skew=3600), "ours", ("cat",)),
    "a Date header ahead": (entry(skew=3600), [], listed(made(1), skew=3600), "cannot tell", ("cat",)),
    "a Date header ahead, later": (entry(skew=3600), [], listed(made(200), skew=3600), "none", ()),
    "clock drifts": (entry(), [], listed(made(1), skew=5), "ours", ("cat",)),
    "clock changed": (entry(), [], listed(made(1), skew=5.5), "cannot tell", ("cat",)),
    "clock changed, nothing": (entry(), [], listed(skew=-5.5), "cannot tell", ()),
    "clock unknown now": (entry(), [], listed(made(1), skew=None), "cannot tell", ("cat",)),
    "clock unknown then": (entry(skew=None), [], listed(made(1)), "cannot tell", ("cat",)),
    "clock never known": (entry(skew=None), [], listed(skew=None), "cannot tell", ()),
    "itself is no rival": (entry(), [entry()], listed(made(1)), "ours", ("cat",)),
    "a rival": (entry(), [entry(2, 50)], listed(made(60)), "cannot tell", ("cat",)),
    "a rival of another time": (entry(), [entry(2, 200)], listed(made(1)), "ours", ("cat",)),
    "a rival's task": (entry(), [entry(2, 200)], listed(made(210)), "none", ()),
    "a rival of unknown time": (
        entry(),
        [entry(2, 200, skew=None)],
        listed(made(1)),
        "cannot tell",
        ("cat",),
    ),
    "a rival of another model": (of(IMAGE), [of(TEXT, 2)], listed(made(1, model=IMAGE)), "ours", ("cat",)),
    "another model's task": (of(IMAGE), [], listed(made(1, model=TEXT)), "none", ()),
    "each model has its task": (
        of(TEXT),
        [of(IMAGE, 2, skew=None)],
        listed(made(1, model=TEXT), made(1, "dog", model=IMAGE)),
        "ours",
        ("cat",),
    ),
    "a task of no known model": (of(IMAGE), [of(TEXT, 2)], listed(made(1)), "cannot tell", ("cat",)),
    "a rival of no known model": (of(TEXT), [entry(2)], listed(made(1, model=TEXT)), "cannot tell", ("cat",)),
    "of no known model itself": (entry(), [of(TEXT, 2)], listed(made(1, model=IMAGE)), "ours", ("cat",)),
}


@pytest.mark.parametrize("case", OURS)
def test_to_which_request_a_task_belongs(case: str) -> None:
    """One task that fits, and fits nobody else, by clocks that are known: only then is it taken."""
    row, rivals, seen, kind, names = OURS[case]
    verdict = assign(row, rivals, seen, DELAYS)
    assert verdict.kind == kind
    assert tuple(found.id for found in verdict.candidates) == tuple(f"task-unified-{name}" for name in names)


moments = st.integers(-300, 900).map(lambda half: half / 2)
skews = st.none() | st.sampled_from([-5.5, -5.0, 0.0, 2.0, 5.0, 5.5, 3600.0])
rows = st.builds(
    lambda number, posts: replace(entry(number), posts=tuple(Post(EPOCH + at, skew) for at, skew in posts)),
    st.integers(2, 5),
    st.lists(st.tuples(moments, skews), min_size=1, max_size=3),
)
seen_tasks = st.lists(st.none() | moments, max_size=4).map(
    lambda created: tuple(made(after, str(number)) for number, after in enumerate(created))
)
searches = st.builds(Listed, offered=st.just(True), complete=st.booleans(), skew=skews, tasks=seen_tasks)


def fits(found: Task, row: Entry, *skews: float) -> bool:
    """As the rules say it: created when one of the POSTs can have made it, by one of the clocks."""
    assert found.created is not None
    return any(
        post.at + ahead - 5 <= found.created <= post.at + ahead + 100
        for post in row.posts
        for ahead in (*skews, post.skew)
        if ahead is not None
    )


@settings(deadline=None, max_examples=500)
@given(rows.map(lambda row: replace(row, number=1)), st.lists(rows, max_size=3), searches)
def test_a_task_is_taken_only_if_it_can_be_nobody_elses(
    row: Entry, rivals: list[Entry], seen: Listed
) -> None:
    """Neither ours nor none where a time, a page or a clock is missing; ours only if alone and unrivalled."""
    verdict = assign(row, [row, *rivals], seen, DELAYS)
    steady = seen.skew is not None and all(
        post.skew is not None and abs(post.skew - seen.skew) <= 5 for post in row.posts
    )
    if not steady or not seen.complete or any(found.created is None for found in seen.tasks):
        assert verdict.kind == "cannot tell"
        return
    assert seen.skew is not None
    possible = [found for found in seen.tasks if fits(found, row, seen.skew, 0.0)]  # by either clock
    assert list(verdict.candidates) == possible
    assert (verdict.kind == "none") is (not possible)
    if verdict.kind == "ours":
        assert len(possible) == 1
        assert fits(possible[0], row, seen.skew)  # by the gateway's
        assert not any(fits(possible[0], rival, seen.skew, 0.0) for rival in rivals)


@pytest.mark.parametrize(
    ("rivals", "seen", "names"),
    [
        ([], listed(made(1)), ("cat",)),
        ([], listed(), ()),
        ([], listed(made(300)), ()),
        ([], listed(made(None)), ()),
        ([], listed(made(1), complete=False), ("cat",)),
        ([entry(2, 10)], listed(made(1)), ("cat",)),
        ([entry(2, 3)], listed(made(1)), ()),
        ([entry(2, 3)], listed(made(1), made(2, "dog")), ("cat", "dog")),
        ([entry(2, 3), entry(3, 4)], listed(made(1), made(2, "dog")), ()),
        ([entry(2, 500, skew=None)], listed(made(1)), ()),
        ([entry(1, 0, 30)], listed(made(1)), ("cat",)),
    ],
)
def test_a_key_was_ignored_where_more_was_made_than_was_lost(
    rivals: list[Entry], seen: Listed, names: tuple[str, ...]
) -> None:
    """More tasks without a row than rows without an answer to which they could belong."""
    answered = replace(entry(1, 0, 30), task=task("its-own"))
    found = paid_beside(answered, rivals, seen, DELAYS)
    assert tuple(other.id for other in found) == tuple(f"task-unified-{name}" for name in names)


@pytest.mark.parametrize(("count", "learned"), [(0, 0), (1, 0), (2, 2), (3, 3)])
def test_a_repeat_without_an_answer_shows_it_by_a_second_task(count: int, learned: int) -> None:
    """One of the tasks is the request's own."""
    seen = listed(*(made(number + 1, f"cat{number}") for number in range(count)))
    assert len(paid_beside(entry(1, 0, 30), [entry(1, 0, 30)], seen, DELAYS)) == learned


@pytest.mark.parametrize(
    ("use", "kind", "last_search", "guessed", "old", "step"),
    [
        ("unknown", "ours", False, False, False, "found"),
        ("ignored", "ours", False, True, True, "found"),
        ("unknown", "none", False, False, False, "wait"),
        ("unknown", "cannot tell", False, False, False, "wait"),
        ("ignored", "cannot tell", False, False, True, "wait"),
        ("unknown", "no list", False, False, False, "guess"),
        ("unknown", "none", True, False, False, "repeat"),
        ("unknown", "none", True, True, False, "repeat"),
        ("ignored", "none", True, False, False, "repeat"),
        ("unknown", "cannot tell", True, False, False, "guess"),
        ("unknown", "cannot tell", True, True, False, "stop"),
        ("unknown", "no list", False, True, False, "stop"),
        ("ignored", "cannot tell", True, False, False, "stop"),
        ("ignored", "no list", False, False, False, "stop"),
        ("unknown", "none", True, False, True, "stop"),
        ("unknown", "no list", True, False, True, "stop"),
        ("ignored", "none", True, False, True, "stop"),
    ],
)
def test_what_is_done_after_a_search(
    use: KeyUse, kind: Any, last_search: bool, guessed: bool, old: bool, step: Step
) -> None:
    """Ours and no list count at once, the others at the last search; one guess; nothing after 23 hours."""
    row = entry(guessed=guessed)
    assert next_step(use, Verdict(kind), row, old=old, last_search=last_search) == step


def test_delays_are_scaled_together() -> None:
    """The order of things stays; what is waited for on this machine is not scaled."""
    assert DELAYS.scaled(1) == DELAYS
    faster = DELAYS.scaled(0.1)
    assert (faster.listed_within, faster.repeating, faster.joining) == (10, 60, DELAYS.joining)


@pytest.mark.parametrize(
    ("cap", "estimate", "says"),
    [
        (25.49, 25.5, "5 s at 480p would cost 12.75 credits ($0.19). Or whoever runs this server can raise "),
        (25.5, 51, "5 s at 720p would cost 25.5 credits ($0.38). Or whoever runs this server can raise the"),
        (60, 85.17, "10 s at 720p would cost 51 credits ($0.75). Or whoever runs this server can raise the"),
        (0, 0.1, "No video costs so little; whoever runs this server can raise the cap and restart it."),
    ],
)
def test_one_request_has_a_cap_of_its_own(cap: float, estimate: float, says: str) -> None:
    """Whatever was spent before; the refusal names the setting, both numbers, and what fits."""
    with pytest.raises(CapReached, match="WAN_MCP_REQUEST_CREDITS") as raised:
        check_caps([], [], intent(estimate=estimate), rules(request_credits=cap))
    assert f"estimated at {estimate:g} credits (" in raised.value.message
    assert f"{cap:g} credits ($" in raised.value.message
    assert says in raised.value.next_step


@pytest.mark.parametrize(("cap", "estimate"), [(None, 85.17), (25.5, 25.5), (0.3, 0.1 + 0.2)])
def test_one_request_may_cost_as_much_as_its_cap(cap: float | None, estimate: float) -> None:
    """And any sum where there is none; what decimals are in a computer does not matter."""
    check_caps([], [], intent(estimate=estimate), rules(request_credits=cap))


@pytest.mark.parametrize(
    ("spent", "says"),
    [
        ([], None),
        ([(DAY, 100.0)], None),
        ([(DAY - 1, 4.5)], None),
        ([(DAY - 1, 4.6)], "from today 14:14 UTC on"),
        ([(DAY - 1, 1.0), (DAY - 9, 9.0)], "from today 14:14 UTC on"),
        ([(60.0, 30.0)], "from tomorrow 14:13 UTC on, or whoever runs this server can raise the cap"),
    ],
)
@pytest.mark.usefixtures("in_utc")
def test_the_day_has_a_cap(spent: list[tuple[float, float]], says: str | None) -> None:
    """What was spent in the last 24 hours and this one; the refusal names the minute from which it fits."""
    spendings = [Spending(EPOCH - ago, credits) for ago, credits in spent]
    if says is None:
        check_caps(spendings, [], intent(), rules(daily_credits=30))
        return
    with pytest.raises(CapReached, match="WAN_MCP_DAILY_CREDITS") as raised:
        check_caps(spendings, [], intent(), rules(daily_credits=30))
    assert says in raised.value.next_step
    with pytest.raises(CapReached) as alone:
        check_caps(spendings, [], intent(estimate=31), rules(daily_credits=30))
    assert "5 s at 720p would cost 25.5 credits" in alone.value.next_step
