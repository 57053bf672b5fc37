"""The forms in which the API may write a time."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

Dates = Literal["seconds", "milliseconds", "iso", "local"]
LOCAL = timezone(timedelta(hours=8))
"""The vendor's time zone: a "local" date is in it, but does not say so."""


def written(time: float, dates: Dates) -> int | str:
    """A time in Unix seconds, in one of these forms."""
    match dates:
        case "seconds":
            return int(time)
        case "milliseconds":
            return round(time * 1000)
        case "iso":
            return iso(time)
        case "local":
            return datetime.fromtimestamp(int(time), LOCAL).replace(tzinfo=None).isoformat()


def iso(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).isoformat().replace("+00:00", "Z")
