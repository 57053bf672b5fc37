"""The caps on credits, apart from any database."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from wan_mcp.errors import CapReached
from wan_mcp.evolink import prices
from wan_mcp.ledger.base import ClaimRules, Intent
from wan_mcp.ledger.policy import DAY

COUNTED_FOR = 2 * DAY
"""Seconds after which a row cannot count towards the daily cap any more, even if it was sent again late."""
TOLERANCE = 1e-6
"""Credits that are no difference: sums of decimals are not exact."""


@dataclass(frozen=True)
class Spending:
    """What one request cost, or may cost."""

    moment: float
    """When it was last sent, in Unix seconds: that may be the POST that was paid."""
    credits: float


def check_caps(spendings: Sequence[Spending], intent: Intent, rules: ClaimRules) -> None:
    """Refuse a request that would exceed a cap.

    Args:
        spendings: what counts, oldest first.
        intent: the request.
        rules: the caps and the time.

    Raises:
        CapReached: with the numbers, and when there is room for it.
    """
    priced = f"this video is estimated at {intent.estimate:g} (prices of {prices.AS_OF})"
    if rules.request_credits is not None and intent.estimate > rules.request_credits + TOLERANCE:
        raise CapReached(
            f"A request may cost {rules.request_credits:g} credits (WAN_MCP_REQUEST_CREDITS), and {priced}.",
            next_step="Request a shorter or smaller video, or raise the cap.",
        )
    cap = rules.daily_credits
    if cap is None:
        return
    recent = of_the_last_day(spendings, rules.now)
    if _fit(recent, intent.estimate, cap):
        return
    spent = math.fsum(spending.credits for spending in recent)
    raise CapReached(
        f"The daily cap of {cap:g} credits (WAN_MCP_DAILY_CREDITS) would be exceeded: {spent:g} were spent in"
        f" the last 24 hours, and {priced}.",
        next_step=_when_it_fits(recent, intent.estimate, cap),
    )


def of_the_last_day(spendings: Sequence[Spending], now: float) -> list[Spending]:
    """Those that count towards the daily cap now, in Unix seconds."""
    return [spending for spending in spendings if spending.moment > now - DAY]


def _fit(spendings: Sequence[Spending], estimate: float, cap: float) -> bool:
    return math.fsum(spending.credits for spending in spendings) + estimate <= cap + TOLERANCE


def _when_it_fits(spendings: Sequence[Spending], estimate: float, cap: float) -> str:
    """When enough of the spendings are a day old that there is room for the request."""
    for count, spending in enumerate(spendings, start=1):
        if _fit(spendings[count:], estimate, cap):
            free = datetime.fromtimestamp(math.ceil(spending.moment + DAY), UTC)
            return f"There is room for it from {free:%Y-%m-%d %H:%M:%S} UTC on, or raise the cap."
    return "It alone exceeds the cap: request a shorter or smaller video, or raise the cap."
