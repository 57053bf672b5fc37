"""The rules of a claim, apart from any database: what decides whether a request is paid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from wan_mcp.errors import CapReached
from wan_mcp.evolink import prices
from wan_mcp.ledger.base import ClaimRules, Intent
from wan_mcp.ledger.lease import LEASE, is_alive

RESUMED_FOR = 23 * 3600.0
"""Seconds for which a request without an answer is resumed: the idempotency key's life at the vendor."""
DAY = 24 * 3600.0
COUNTED_FOR = DAY + RESUMED_FOR + LEASE
"""Seconds after which a row cannot count towards the daily cap any more, even if it was resumed late."""
TOLERANCE = 1e-6
"""Credits that are no difference: sums of decimals are not exact."""


@dataclass(frozen=True)
class OpenRequest:
    """The latest equal request that has no answer."""

    number: int
    posted_at: float | None
    holder: str | None
    held_until: float | None


@dataclass(frozen=True)
class Spending:
    """What one request of the last 24 hours cost, or may cost."""

    moment: float
    """When it was last sent, in Unix seconds: that may be the POST that was paid."""
    credits: float


def judge(
    request: OpenRequest, waited_for: int | None, now: float
) -> Literal["busy", "unknown", "drop", "resume"]:
    """What to do about an equal request without an answer.

    It is judged before ``new_take``: a client that repeats a broken call repeats that argument too.

    Returns:
        ``busy``: somebody is working on it. ``unknown``: the caller waited for it, and it ended without an
        answer. ``drop``: its process died before anything was sent, so it is judged anew, the cap included.
        ``resume``: its POST may have arrived.
    """
    if is_alive(request.holder, request.held_until, now):
        return "busy"
    if request.number == waited_for and request.holder is None:
        return "unknown"
    return "drop" if request.posted_at is None else "resume"


def check_cap(spendings: Sequence[Spending], intent: Intent, rules: ClaimRules) -> None:
    """Refuse a request that would exceed the daily cap.

    Args:
        spendings: what counts, oldest first.
        intent: the request.
        rules: the cap and the time.

    Raises:
        CapReached: with the numbers, and when there is room for it.
    """
    cap = rules.daily_credits
    if cap is None:
        return
    recent = [spending for spending in spendings if spending.moment > rules.now - DAY]
    if _fits(recent, intent.estimate, cap):
        return
    spent = math.fsum(spending.credits for spending in recent)
    raise CapReached(
        f"The daily cap of {cap:g} credits (WAN_MCP_DAILY_CREDITS) would be exceeded: {spent:g} were spent in"
        f" the last 24 hours, and this video is estimated at {intent.estimate:g} (prices of {prices.AS_OF}).",
        next_step=_when_it_fits(recent, intent.estimate, cap),
    )


def _fits(spendings: Sequence[Spending], estimate: float, cap: float) -> bool:
    return math.fsum(spending.credits for spending in spendings) + estimate <= cap + TOLERANCE


def _when_it_fits(spendings: Sequence[Spending], estimate: float, cap: float) -> str:
    """When enough of the spendings are a day old that there is room for the request."""
    for count, spending in enumerate(spendings, start=1):
        if _fits(spendings[count:], estimate, cap):
            free = datetime.fromtimestamp(math.ceil(spending.moment + DAY), UTC)
            return f"There is room for it from {free:%Y-%m-%d %H:%M:%S} UTC on, or raise the cap."
    return "It alone exceeds the cap: request a shorter or smaller video, or raise the cap."
