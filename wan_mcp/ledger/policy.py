"""The rules of paying once, without database, network or waiting.

A request's row is claimed, then posted, then answered. What is decided here: whose a row is, to which
request a task of the account's list belongs, and what is done after an answer was lost.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wan_mcp.evolink import Task, values
from wan_mcp.ledger.base import KeyUse
from wan_mcp.ledger.entries import Entry, Post

DAY = 24 * 3600.0
REPEATED_FOR = 23 * 3600.0
"""Seconds after its first POST in which a request may be sent again, as in the vendor's own client."""
CREATED_BEFORE = 5.0
"""Seconds before a POST in which its task can be dated: dates are whole seconds, and clocks differ."""
MAX_SKEW_CHANGE = 5.0
"""Seconds by which the two clocks may move apart after a POST; beyond that, its time means nothing."""
_TIME_IN_ID = re.compile(r"task-unified-(\d+)-")


@dataclass(frozen=True)
class Delays:
    """How long a submission waits at each point, in seconds."""

    searches: tuple[float, ...] = (5, 15, 40, 100)
    """After the last POST: when the account's list is read. The last search decides."""
    repeats: tuple[float, ...] = (2, 5, 10, 15)
    """Between two POSTs under a key that is honoured; the last pause is used from then on."""
    repeating: float = 600
    """For how long such a request is repeated before its callers are told."""
    joining: float = 0.25
    """Between two checks of a row that another process works on."""
    rewriting: float = 5
    """Between two attempts to record an answer in a ledger that cannot be written."""

    def scaled(self, factor: float) -> "Delays":
        """The same rules, faster or slower."""
        return Delays(
            searches=tuple(factor * moment for moment in self.searches),
            repeats=tuple(factor * pause for pause in self.repeats),
            repeating=factor * self.repeating,
            joining=self.joining,
            rewriting=factor * self.rewriting,
        )

    @property
    def listed_within(self) -> float:
        """Seconds after a POST by which its task is in the list, if there is one."""
        return self.searches[-1]


def judge(
    posts: Sequence[Post], now: float, skew: float | None, *, alive: bool
) -> Literal["busy", "drop", "resume", "expired"]:
    """What to do about an equal request without an answer.

    Returns:
        ``busy``: a process is working on it. ``drop``: the process that claimed it died before sending
        anything. ``resume``: a POST may have arrived. ``expired``: a POST may have arrived, but too long ago
        for its task to be found.
    """
    if alive:
        return "busy"
    if not posts:
        return "drop"
    return "expired" if age(posts, now, skew) >= DAY else "resume"


def age(posts: Sequence[Post], now: float, skew: float | None) -> float:
    """Seconds since the first POST: by the gateway's clock where it is known, since ours may have been set.

    Args:
        posts: those of the request.
        now: Unix seconds by this machine's clock.
        skew: seconds by which the gateway's clock is ahead of it now; None where that is not known.
    """
    first = posts[0]
    if skew is not None and first.skew is not None:
        return max(now + skew - first.at - first.skew, 0.0)
    if first.at - now >= REPEATED_FOR:  # sent with a clock that was far ahead: it may be long ago
        return REPEATED_FOR
    return max(now - first.at, 0.0)


# The account's list.


@dataclass(frozen=True)
class Listed:
    """What one search of the account's list showed."""

    offered: bool = True
    """Whether the gateway has such a list."""
    complete: bool = False
    """Whether all of the time in question was seen."""
    skew: float | None = None
    """Seconds by which the gateway's clock is ahead now; None where that is not known."""
    tasks: tuple[Task, ...] = ()
    """Those of the request's model that do not answer any request of the ledger."""
    seen: frozenset[str] = frozenset()
    """The ids of all tasks of that model."""


@dataclass(frozen=True)
class Verdict:
    """To which task a request belongs, as far as a search of the list can tell."""

    kind: Literal["ours", "none", "cannot tell", "no list"]
    candidates: tuple[Task, ...] = ()
    """Tasks that may be the request's."""


def assign(entry: Entry, rivals: Sequence[Entry], listed: Listed, delays: Delays) -> Verdict:
    """Judge a search of the list.

    Args:
        entry: the request without an answer.
        rivals: all requests that may have a task of the list, of every owner, whether or not somebody works
            on them: those without an answer, and those that were sent again before they had one.
        listed: what the list showed.
        delays: within which time a task is listed.
    """
    if not listed.offered:
        return Verdict("no list")
    possible = tuple(task for task in listed.tasks if _could_be(task, entry, listed, delays))
    undated = any(task.created is None for task in listed.tasks)
    if undated or not listed.complete or not _is_steady(entry.posts, listed.skew):
        return Verdict("cannot tell", possible)
    if not possible:
        return Verdict("none")
    [first, *more] = possible
    alone = not more and not _rivals_for([first], entry, rivals, listed, delays)
    # By the gateway's clock alone: either clock is enough to suspect a task, but only this one to accept it.
    fits = _fits(first, entry.posts, delays, [listed.skew or 0.0])
    return Verdict("ours" if alone and fits else "cannot tell", possible)


def paid_beside(entry: Entry, rivals: Sequence[Entry], listed: Listed, delays: Delays) -> tuple[Task, ...]:
    """Tasks that show that the gateway ignored an idempotency key, after a request was repeated.

    The gateway did if the list has more tasks without a request than there are unanswered requests to which
    they could belong. The repeated request counts as one of these, unless it has its task. A time that the
    list does not tell is taken from the task's id, and the gateway's clock from the request's own task.
    """
    dated = [task for task in map(_dated_by_id, listed.tasks) if task.created is not None]
    if listed.skew is None and entry.task is not None and entry.task.created is not None:
        listed = replace(listed, skew=entry.task.created - entry.posts[-1].at)
    found = [task for task in dated if _could_be(task, entry, listed, delays)]
    others = _rivals_for(found, entry, rivals, listed, delays)
    unanswered = sum(other.task is None for other in others) + (entry.task is None)
    return tuple(found) if len(found) > unanswered else ()


def _dated_by_id(task: Task) -> Task:
    made = _TIME_IN_ID.match(task.id)
    if task.created is not None or made is None:
        return task
    return task.model_copy(update={"created": values.time(made[1])})


def _rivals_for(
    tasks: Sequence[Task], entry: Entry, rivals: Sequence[Entry], listed: Listed, delays: Delays
) -> list[Entry]:
    """The other requests to which one of the tasks may belong.

    A request with a POST of the same day for which the gateway's time is not known may have any task of
    its model.
    """
    return [
        other
        for other in rivals
        if other.number != entry.number
        and any(
            _could_be(task, other, listed, delays)
            or (_is_of_its_model(task, other) and _is_undated_near(other.posts, entry.posts))
            for task in tasks
        )
    ]


def _is_of_its_model(task: Task, request: Entry) -> bool:
    """Whether the task and the request may be of the same model."""
    return task.model is None or request.model in (None, task.model)


def _is_undated_near(posts: Sequence[Post], others: Sequence[Post]) -> bool:
    """Whether the gateway's time of a POST is not known, and it was within a day of one of the others."""
    undated = [post for post in posts if post.skew is None]
    return any(abs(post.at - other.at) < DAY for post in undated for other in others)


def _is_steady(posts: Sequence[Post], skew: float | None) -> bool:
    """Whether the two clocks differ as they did at each of the POSTs."""
    return skew is not None and all(
        post.skew is not None and abs(skew - post.skew) <= MAX_SKEW_CHANGE for post in posts
    )


def _could_be(task: Task, request: Entry, listed: Listed, delays: Delays) -> bool:
    """Whether a task may be a request's: by either clock, since a ``Date`` header can be wrong, too."""
    if not _is_of_its_model(task, request):
        return False
    if task.created is None:
        return True
    return _fits(task, request.posts, delays, [0.0] if listed.skew is None else [0.0, listed.skew])


def _fits(task: Task, posts: Sequence[Post], delays: Delays, skews: Sequence[float]) -> bool:
    """Whether a task was created when one of the POSTs can have made it."""
    made = task.created or 0.0
    moments = [post.at + skew for post in posts for skew in (post.skew, *skews) if skew is not None]
    return any(moment - CREATED_BEFORE <= made <= moment + delays.listed_within for moment in moments)


# After a lost answer.

Step = Literal["found", "wait", "repeat", "guess", "stop"]
"""Take the task that was found, search again later, send the request again because it surely did not arrive,
send it again once without knowing that, or send nothing more."""


def next_step(use: KeyUse, verdict: Verdict, entry: Entry, *, old: bool, last_search: bool) -> Step:
    """What to do after a search of the list, while it is not known that the gateway honours the key.

    Args:
        use: what is known of the gateway.
        verdict: what the search showed.
        entry: the request.
        old: whether it is too old to be sent again, after 23 hours.
        last_search: whether a task would be listed by now.
    """
    if verdict.kind == "ours":
        return "found"
    if verdict.kind != "no list" and not last_search:
        return "wait"
    if old:
        return "stop"
    if verdict.kind == "none":
        return "repeat"
    return "guess" if use == "unknown" and not entry.guessed else "stop"


def since_last_post(entry: Entry, now: float) -> float:
    """Seconds since the last POST; 0 where the clock was set back: then they count from now on."""
    return max(now - entry.posts[-1].at, 0.0)
