"""Single values of an answer, read leniently: what cannot be used counts as absent, and nothing raises."""

import logging
import math
import re
from datetime import UTC, datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from wan_mcp.evolink.redaction import tidy

logger = logging.getLogger(__name__)

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
_SYNONYMS: dict[Status, str] = {
    "pending": "queued queueing submitted created accepted waiting scheduled notstarted inqueue",
    "processing": "running inprogress started starting generating working active",
    "completed": "complete succeeded succeed success successful done finished",
    "failed": "fail failure error errored rejected expired timeout timedout",
    "cancelled": "cancel canceled aborted terminated stopped",
}
_STATUS = {word: status for status, words in _SYNONYMS.items() for word in (status, *words.split())}
"""The documented words, and those of other generations of the API and of its providers, see ``status``."""
_TASK_ID = re.compile(r"task-[A-Za-z0-9_-]+")
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""No task was made before the first of these, or will be after the second."""
_MILLISECONDS = 1e11
"""Larger times are in milliseconds: as seconds, this one would be in the year 5138."""


def status(value: object) -> Status:
    """A status, in any case and with spaces, dashes or underscores; an unknown one is ``processing``."""
    known = _STATUS.get(re.sub(r"[\s_-]", "", value[:100].lower())) if isinstance(value, str) else None
    if known is None:
        name = tidy(value, 40) if isinstance(value, str) else type(value).__name__
        logger.warning("unknown task status, read as processing: %r", name)
    return known or "processing"


def number(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or abs(value) > 1e15
        or math.isnan(value)
    ):
        return None
    return value


def duration(value: object) -> float | None:
    """Seconds, above zero and at most a day; None for anything else, because no task takes longer."""
    found = number(value)
    return found if found is not None and 0 < found <= 86_400 else None


def first_number(*values: object) -> float | None:
    return next((found for value in values if (found := number(value)) is not None), None)


def percent(value: object) -> float | None:
    found = number(value)
    return None if found is None else min(max(found, 0), 100)


def time(value: object) -> float | None:
    """A time in Unix seconds, from seconds, milliseconds, or ISO 8601 with a zone.

    A text without a zone is not used: it is the local time of an unknown place, and may be hours off.
    """
    seconds = number(value)  # first: a row of digits can be read as a date, too
    if seconds is None and (moment := iso_moment(value)) is not None and moment.tzinfo is not None:
        seconds = moment.timestamp()
    if seconds is not None and seconds > _MILLISECONDS:
        seconds /= 1000
    return seconds if seconds is not None and EARLIEST <= seconds <= LATEST else None


def iso_moment(value: object) -> datetime | None:
    """A moment, from ISO 8601."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def http_date(value: str) -> float | None:
    """A moment in Unix seconds, from a ``Date`` header."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def utc(seconds: float | None) -> datetime | None:
    """Unix seconds as a moment in UTC; None where no calendar has it, as for infinity or the year 57652."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC; None where no calendar has it."""
    moment = utc(seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None


def spoken(seconds: float | None, now: float) -> str:
    """A moment for a person, in this machine's time zone, as in ``today 14:05 UTC+01:00``.

    Empty where no calendar has it.

    Args:
        seconds: the moment, in Unix seconds.
        now: the present, which tells what today is.
    """
    moment, present = _local(seconds), _local(now)
    if moment is None or present is None:
        return ""
    days = (moment.date() - present.date()).days
    day = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(days, f"{moment:%Y-%m-%d}")
    # Each moment has its own offset: it changes with the season.
    return f"{day} {moment:%H:%M} {timezone(moment.utcoffset() or UTC.utcoffset(None)).tzname(None)}"


def _local(seconds: float | None) -> datetime | None:
    moment = utc(seconds)
    try:
        return moment and moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def string(value: object) -> str | None:
    """A line of printable text, else None: other characters break lines, or cannot be encoded as UTF-8."""
    return value if isinstance(value, str) and value and value.isprintable() else None


def display(value: object) -> str:
    """Text as it may be shown, from a text or a number."""
    return tidy(str(value)) if value and isinstance(value, str | int) else ""


def links(value: object) -> tuple[str, ...]:
    """URL strings, or objects with one under ``video_url`` or ``url``, or both; each address once."""
    found: dict[str, None] = {}
    for item in value if isinstance(value, list | tuple) else [value]:
        for name in (item.get("video_url"), item.get("url")) if isinstance(item, dict) else (item,):
            if (link := string(name)) and link.lower().startswith(("https://", "http://")):
                found[link] = None
    return tuple(found)


def is_task_id(value: str) -> bool:
    """Whether a text can be the id of a task."""
    return _TASK_ID.fullmatch(value) is not None


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
