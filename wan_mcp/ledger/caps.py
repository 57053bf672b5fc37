"""The caps on credits, independent of any database."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from wan_mcp.errors import CapReached
from wan_mcp.evolink import prices, values
from wan_mcp.evolink.prices import cost_text, estimate_text
from wan_mcp.ledger.claim import ClaimRules, Intent
from wan_mcp.ledger.policy import DAY

COUNTED_FOR = 2 * DAY
"""Seconds after which a row can no longer count towards the daily cap, even if it was sent again late."""
_RAISED = "whoever runs this server can raise the cap and restart it."
TOLERANCE = 1e-6
"""A difference in credits that does not count, because sums of decimals are not exact."""


@dataclass(frozen=True)
class Spending:
    """What one request cost, or may cost."""

    moment: float
    """When it was last sent, in Unix seconds: that may be the POST that was paid."""
    credits: float


def check_caps(
    own: Sequence[Spending], of_all: Sequence[Spending], intent: Intent, rules: ClaimRules
) -> None:
    """Refuse a request that would exceed a cap.

    Args:
        own: what the owner's requests cost, oldest first.
        of_all: what the requests of all owners cost, oldest first.
        intent: the request.
        rules: the caps and the time.

    Raises:
        CapReached: with the owner's numbers, never those of others, and when the cap will allow the request.
    """
    priced = f"this video is estimated at {estimate_text(intent.estimate, from_text=intent.from_text)}"
    if rules.request_credits is not None and intent.estimate > rules.request_credits + TOLERANCE:
        raise CapReached(
            f"A request may cost {cost_text(rules.request_credits)} at most (WAN_MCP_REQUEST_CREDITS), "
            f"and {priced}.",
            next_step=_below(rules.request_credits, intent.duration),
        )
    recent = of_the_last_day(own, rules.now)
    cap = rules.daily_credits
    if cap is not None and not _fit(recent, intent.estimate, cap):
        spent = math.fsum(spending.credits for spending in recent)
        raise CapReached(
            f"The daily cap of {cost_text(cap)} (WAN_MCP_DAILY_CREDITS) would be exceeded: "
            f"{cost_text(spent)} were spent in the last 24 hours, and {priced}.",
            next_step=_advice(recent, intent, cap, rules.now),
        )
    recent = of_the_last_day(of_all, rules.now)
    cap = rules.total_daily_credits
    if cap is not None and not _fit(recent, intent.estimate, cap):
        raise CapReached(
            "The server's daily cap for all callers together (WAN_MCP_TOTAL_DAILY_CREDITS) would be "
            f"exceeded: {priced}.",
            next_step=_advice(recent, intent, cap, rules.now),
        )


def of_the_last_day(spendings: Sequence[Spending], now: float) -> list[Spending]:
    """Those that count towards the daily cap now, in Unix seconds."""
    return [spending for spending in spendings if spending.moment > now - DAY]


def _fit(spendings: Sequence[Spending], estimate: float, cap: float) -> bool:
    return math.fsum(spending.credits for spending in spendings) + estimate <= cap + TOLERANCE


def _when_it_fits(spendings: Sequence[Spending], estimate: float, cap: float) -> float | None:
    """When enough spendings are a day old for the cap to allow the request; None: never."""
    for count, spending in enumerate(spendings, start=1):
        if _fit(spendings[count:], estimate, cap):
            return spending.moment + DAY
    return None


def _advice(spendings: Sequence[Spending], intent: Intent, cap: float, now: float) -> str:
    """When a cap over 24 hours will allow the request, or what can be done where it never will."""
    free = _when_it_fits(spendings, intent.estimate, cap)
    if free is None:
        return _below(cap, intent.duration)
    # The text is precise to the minute: the next whole one.
    moment = values.spoken(math.ceil(free / 60) * 60, now)
    return f"The cap allows it from {moment} on, or {_RAISED}"


def _below(cap: float, duration: int) -> str:
    """What can be done where a request alone exceeds a cap."""
    choices = itertools.product((5, 10), prices.FACTORS)
    costs = [(prices.estimate(seconds, quality), seconds, quality) for seconds, quality in choices]
    fitting = [choice for choice in costs if choice[0] <= cap + TOLERANCE]
    if not fitting:
        return f"No video costs so little; {_RAISED}"
    cost, seconds, quality = max(fitting, key=lambda choice: (choice[0], choice[1] == duration))
    return f"{seconds} s at {quality} would cost {cost_text(cost)}. Or {_RAISED}"
