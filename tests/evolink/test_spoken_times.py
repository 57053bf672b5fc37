"""Moments as a person reads them."""

import pytest

from tests.clock import EPOCH, local_time
from wan_mcp.evolink.values import spoken

HOUR = 3600.0
DAY = 24 * HOUR
INDIA, NEWFOUNDLAND = "IST-5:30", "NST3:30"
CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.mark.parametrize(
    ("zone", "moment", "said"),
    [
        ("UTC", EPOCH, "today 14:13 UTC"),
        ("UTC", EPOCH - DAY, "yesterday 14:13 UTC"),
        ("UTC", EPOCH + DAY, "tomorrow 14:13 UTC"),
        ("UTC", EPOCH - 2 * DAY, "2026-09-19 14:13 UTC"),
        ("UTC", EPOCH - 14.25 * HOUR, "yesterday 23:58 UTC"),
        (INDIA, EPOCH, "today 19:43 UTC+05:30"),
        (INDIA, EPOCH + 5 * HOUR, "tomorrow 00:43 UTC+05:30"),
        (NEWFOUNDLAND, EPOCH, "today 10:43 UTC-03:30"),
        (CENTRAL_EUROPE, EPOCH, "today 16:13 UTC+02:00"),
        (CENTRAL_EUROPE, EPOCH + 90 * DAY, "2026-12-20 15:13 UTC+01:00"),
    ],
)
def test_a_moment_is_said_in_this_machines_time_zone(
    zone: str, moment: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offset is the one of that moment, since it changes with the season."""
    with local_time(monkeypatch, zone):
        assert spoken(moment, EPOCH) == said


@pytest.mark.parametrize(
    "moment",
    [None, float("inf"), float("-inf"), float("nan"), -1e300, 1e18, 253_402_300_799.0, -62_135_596_800.0],
)
def test_a_moment_that_no_calendar_has_is_not_said(
    moment: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises, also where only the local calendar does not have it."""
    for zone in (INDIA, NEWFOUNDLAND):
        with local_time(monkeypatch, zone):
            said = spoken(moment, EPOCH)
            assert said == "" or said.startswith(("9999", "1-", "0001"))
