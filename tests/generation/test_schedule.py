"""When to poll again: what the pure function promises."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.generation.schedule import MAX_PAUSE, MIN_PAUSE, expected_duration, jittered, next_poll

SECONDS = st.floats(0, 1e6)
MAYBE = st.none() | st.floats(-1e3, 1e6)


@given(SECONDS, MAYBE, st.none() | st.floats(-10, 200), st.lists(st.floats(-10, 1e6), max_size=12))
def test_a_pause_is_always_within_its_bounds(
    elapsed: float, estimate: float | None, progress: float | None, durations: list[float]
) -> None:
    """With any values from the API, the next poll comes after 2 to 20 seconds, with or without jitter."""
    pause = next_poll(elapsed, estimate, progress, durations)
    assert MIN_PAUSE <= pause <= MAX_PAUSE
    assert MIN_PAUSE <= jittered(pause) <= MAX_PAUSE


def test_polls_are_rare_at_first_and_dense_when_the_end_is_due() -> None:
    """At a third of the expected time the pause is long, at the expected time short."""
    assert next_poll(40, 120) == MAX_PAUSE
    assert next_poll(120, 120) < 8


def test_a_task_that_is_far_too_late_is_still_polled_often() -> None:
    """An estimate that was far too short does not make the polls rare."""
    assert next_poll(30, 1) == MIN_PAUSE
    assert next_poll(300, 120) < 10


def test_short_tasks_are_polled_more_often_than_long_ones() -> None:
    """The pauses are in proportion to the duration, within their bounds."""
    assert next_poll(6, 8) < next_poll(90, 120) < next_poll(450, 600)


def test_a_percentage_corrects_the_estimate() -> None:
    """A task that is nearly done is polled sooner than its estimate says, a slow one later."""
    assert next_poll(60, 120, 95) < next_poll(60, 120) < MAX_PAUSE
    assert next_poll(110, 120, 30) > next_poll(110, 120)


def test_earlier_durations_correct_a_wrong_estimate() -> None:
    """When the last tasks took twice the estimate, that duration is expected."""
    expected = expected_duration(0, 60, None, [118.0, 120.0, 121.0, 125.0])
    assert 95 < expected < 125


def test_two_durations_are_too_few_to_learn_from() -> None:
    """One outlier does not overturn the estimate."""
    assert math.isclose(expected_duration(0, 60, None, [600.0, 600.0]), 60)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
def test_the_schedule_needs_fewer_polls_than_a_fixed_pause_of_eight_seconds(factor: float) -> None:
    """For tasks that report a rough percentage: fewer reads, and with a right estimate no more delay."""
    rng = random.Random(7)
    durations = [median * math.exp(rng.gauss(0, 0.35)) for median in (60, 90, 120, 180) for _ in range(25)]
    estimates = [median * factor for median in (60, 90, 120, 180) for _ in range(25)]
    ours = [polls(duration, estimate) for duration, estimate in zip(durations, estimates, strict=True)]
    fixed = [(math.ceil(duration / 8), 8 - duration % 8) for duration in durations]
    assert sum(reads for reads, _ in ours) < sum(reads for reads, _ in fixed)
    assert sum(delay for _, delay in ours) <= sum(delay for _, delay in fixed) * (1 if factor == 1 else 2)


def polls(duration: float, estimate: float) -> tuple[int, float]:
    """The number of reads of one task, and the delay with which its end is seen."""
    elapsed, reads, progress = 0.0, 0, None
    while elapsed < duration:
        elapsed += next_poll(elapsed, estimate, progress)
        reads, progress = reads + 1, round(20 * elapsed / duration) * 5.0
    return reads, elapsed - duration
