"""The schedule of polls beside fixed pauses, simulated: ``python tests/benchmarks/schedule.py``.

Durations are log-normal (medians 60 to 180 s, sigma 0.2 to 0.5). For each way to be told an estimate
it prints, for each task, the polls and the delay between completion and its being seen, and how both
stand to those of a fixed pause of 8 s. Percentages, where tasks report them, are bent by a random
exponent and rounded to 5 %. "Learned" tasks come after ten of the same kind.
"""

# ruff: noqa: T201  a benchmark prints its results

import math
import random
import statistics
from collections.abc import Callable, Sequence

from wan_mcp.generation.schedule import jittered, next_poll

MEDIANS = (60, 90, 120, 150, 180)
SIGMAS = (0.2, 0.35, 0.5)
TASKS = 200
BENT = 0.3

Reads = tuple[int, float]
Pause = Callable[[float, float | None, float | None, Sequence[float]], float]


def one_task(
    duration: float, estimate: float | None, bend: float | None, past: list[float], pause: Pause
) -> Reads:
    """Reads of one task, and the delay with which its end is seen."""
    elapsed, polls, progress = 0.0, 0, None
    while elapsed < duration:
        elapsed += pause(elapsed, estimate, progress, past)
        polls += 1
        if bend is not None and elapsed < duration:
            progress = 5.0 * round(20 * (elapsed / duration) ** bend)
    return polls, elapsed - duration


def all_tasks(factor: float | None, pause: Pause, *, percentages: bool, learned: bool) -> list[Reads]:
    rng, found = random.Random(1), []
    for median in MEDIANS:
        for sigma in SIGMAS:
            for _ in range(TASKS):
                past = [median * math.exp(rng.gauss(0, sigma)) for _ in range(10)] if learned else []
                bend = math.exp(rng.gauss(0, BENT)) if percentages else None
                duration = median * math.exp(rng.gauss(0, sigma))
                found.append(one_task(duration, factor and median * factor, bend, past, pause))
    return found


def ours(elapsed: float, estimate: float | None, progress: float | None, past: Sequence[float]) -> float:
    return jittered(next_poll(elapsed, estimate, progress, past))


def fixed(seconds: float) -> Pause:
    return lambda elapsed, estimate, progress, past: seconds


def row(name: str, found: list[Reads], beside: list[Reads]) -> None:
    reads, delays = [polls for polls, _ in found], [delay for _, delay in found]
    late = statistics.quantiles(delays, n=20)[-1]
    more_reads = statistics.mean(reads) / statistics.mean(polls for polls, _ in beside)
    more_delay = statistics.mean(delays) / statistics.mean(delay for _, delay in beside)
    figures = f"{statistics.mean(reads):6.2f} {statistics.mean(delays):6.2f} {late:6.2f}"
    print(f"{name:<44} {figures}   {more_reads:5.2f} {more_delay:5.2f}")


def main() -> None:
    print(f"{'':<44}  reads  delay    95%   x8reads x8delay")
    eight = all_tasks(1, fixed(8), percentages=False, learned=False)
    for seconds in (5, 8, 15):
        row(f"fixed {seconds} s", all_tasks(1, fixed(seconds), percentages=False, learned=False), eight)
    estimates = ((1.0, "right"), (0.6, "x0.6"), (1.6, "x1.6"), (None, "absent"))
    for percentages, learned in ((True, False), (False, False), (False, True), (True, True)):
        told = ", ".join(
            word for word, is_so in (("percentages", percentages), ("learned", learned)) if is_so
        )
        for factor, name in estimates:
            found = all_tasks(factor, ours, percentages=percentages, learned=learned)
            row(f"estimate {name}; {told or 'nothing else known'}", found, eight)


if __name__ == "__main__":
    main()
