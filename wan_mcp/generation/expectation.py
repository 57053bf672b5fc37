"""When one unfinished task is expected to end, judged by its answers: for the next poll and the time left."""

from collections.abc import Sequence
from dataclasses import dataclass

from wan_mcp.evolink import Task
from wan_mcp.generation.schedule import expected_duration, next_poll

MAX_UNKNOWN_PAUSE = 7.2
"""Seconds between two polls at most where it is not known how long a task takes: 8 with jitter, as in the
vendor's clients."""
CORRECTION = 1.25
"""The factor by which the time left must rise to be corrected."""
ROUNDING = 1.2
"""Seconds by which the time left must rise in addition, so that the rounded figures rise by a quarter too."""
MIN_CORRECTION = 5.0
"""Seconds by which the time left must rise at least."""


@dataclass
class Expectation:
    """What the answers about one task have shown so far."""

    durations: Sequence[float] = ()
    """Seconds that the last tasks of the same kind took."""
    _percent: float | None = None
    _percent_moves: bool = False
    """Whether the percentage has changed: one that never changes says nothing."""
    _moved_at: float | None = None
    """Seconds from the creation to the first answer with the present percentage."""
    _end: float | None = None
    """When the task is expected to end, in Unix seconds."""
    _told: float = 0.0
    """The seconds left as callers were last told."""

    def learn(self, task: Task, elapsed: float | None, now: float) -> None:
        """Take in an answer.

        Args:
            task: the task as the API answered it.
            elapsed: seconds since the task was created; None where that is not known.
            now: when the answer came, in Unix seconds.
        """
        if task.progress is not None and task.progress != self._percent:
            self._percent_moves = self._percent is not None
            self._percent, self._moved_at = task.progress, elapsed
        if elapsed is None or not (task.estimated_time or self.durations or self._percent_moves):
            return
        duration = expected_duration(
            self._moved_at or elapsed, task.estimated_time, self._hint, self.durations
        )
        left = max(duration - elapsed, 0.0)
        before = left if self._end is None else max(self._end - now, 0.0)
        if left <= before or left > max(self._told * CORRECTION + ROUNDING, before + MIN_CORRECTION):
            self._end = now + left

    def left(self, now: float) -> float | None:
        """Seconds until the expected end. They only fall, except for a correction of more than a quarter."""
        if self._end is None:
            return None
        self._told = max(self._end - now, 0.0)
        return self._told

    def pause(self, task: Task, elapsed: float | None) -> float:
        """Seconds until the next poll."""
        estimate = task.estimated_time
        pause = next_poll(elapsed or 0.0, estimate, self._hint, self.durations)
        known = elapsed is not None and (estimate is not None or self._percent_moves)
        return pause if known else min(pause, MAX_UNKNOWN_PAUSE)

    @property
    def _hint(self) -> float | None:
        return self._percent if self._percent_moves else None
