"""When to poll an unfinished task again: pure functions.

A poll costs the gateway a request to its provider; a late poll costs the user time. How long a video
takes is uncertain by a factor, not by seconds, so its duration is modelled as log-normal around the best
estimate. That begins with the API's estimate, is corrected by how long the last tasks of the same kind
took, and becomes more certain with each percentage that the task reports. The density of the polls is
proportional to the square root of the chance that the task ends at that moment: few while it cannot be
done yet, many around the expected end, fewer again when it is late. For a fixed number of polls this
minimises the average delay.
"""

import math
import random
from collections.abc import Sequence
from statistics import NormalDist

from wan_mcp.evolink.responses import USUAL_DURATION

MIN_PAUSE = 2.0
"""Seconds between two polls at least."""
MAX_PAUSE = 20.0
"""Seconds between two polls at most."""
USUAL_SPREAD = 0.3
"""How far durations differ from an estimate, as the standard deviation of their logarithm."""
PROGRESS_SPREAD = 0.25
"""The same for a duration that is computed from a percentage, which is only a hint."""
EAGERNESS = 1.1
"""Square of the number of polls for each unit of chance: more means more polls and less delay."""
MIN_DURATIONS = 3
"""Earlier tasks that are needed to correct the estimate."""
MAX_HAZARD = 2.5
"""Bound on the chance of an end within one expected duration: the estimate of a late task is likely wrong."""
_NORMAL = NormalDist()


def next_poll(
    elapsed: float,
    estimate: float | None = None,
    progress: float | None = None,
    durations: Sequence[float] = (),
) -> float:
    """Seconds until the next poll, from 2 to 20.

    Args:
        elapsed: seconds since the task was created.
        estimate: seconds that the task takes in all, as the API estimated.
        progress: percent, as last reported.
        durations: seconds that the last tasks of the same kind took.
    """
    centre, spread = _expectation(elapsed, estimate, progress, durations)
    chance, pause = 0.0, 0.0
    while chance < 1 and pause < MAX_PAUSE:
        chance += math.sqrt(EAGERNESS * _hazard(elapsed + pause + 0.5, centre, spread))
        pause += 1
    return min(max(pause, MIN_PAUSE), MAX_PAUSE)


def jittered(pause: float) -> float:
    """A pause with jitter, so that tasks made together are not all read at the same time."""
    return min(max(pause * random.uniform(0.9, 1.1), MIN_PAUSE), MAX_PAUSE)


def expected_duration(
    elapsed: float, estimate: float | None, progress: float | None, durations: Sequence[float]
) -> float:
    """The best estimate of the seconds that a task takes in all."""
    return math.exp(_expectation(elapsed, estimate, progress, durations)[0])


def _expectation(
    elapsed: float, estimate: float | None, progress: float | None, durations: Sequence[float]
) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the duration."""
    centre, spread = math.log(max(estimate or USUAL_DURATION, 1.0)), USUAL_SPREAD
    if len(durations) >= MIN_DURATIONS:
        logs = [math.log(max(duration, 1.0)) for duration in durations]
        centre = (centre + sum(logs)) / (1 + len(logs))
        mean = sum(logs) / len(logs)
        spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1))
        spread = min(max(spread, 0.15), 0.6)
    if progress is None or progress < 3 or elapsed <= 0:
        return centre, spread
    prior, hint = spread**-2, PROGRESS_SPREAD**-2
    told = math.log(elapsed * 100 / min(progress, 99))  # at 100 % it is not over yet: the link is missing
    return (centre * prior + told * hint) / (prior + hint), (prior + hint) ** -0.5


def _hazard(moment: float, centre: float, spread: float) -> float:
    """The chance per second that a task that is still running ends at ``moment``."""
    z = (math.log(moment) - centre) / spread
    # For a large z, both are too small to divide; the ratio of density to remaining chance approaches z.
    ratio = _NORMAL.pdf(z) / (1 - _NORMAL.cdf(z)) if z < 5 else z
    return min(ratio / (spread * moment), MAX_HAZARD / math.exp(centre))
