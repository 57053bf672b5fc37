"""A row of the database as an entry: a damaged column does not break a list or hide a paid request."""

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wan_mcp.evolink import Task
from wan_mcp.ledger.entries import Entry, Image, Kept, Post, Saved
from wan_mcp.ledger.fingerprints import Fingerprints

logger = logging.getLogger(__name__)

T = TypeVar("T")
_IMAGE = TypeAdapter(Image)
_BODY = TypeAdapter(dict[str, Any])


def entry_of(row: Any) -> Entry:
    is_request = row["idempotency_key"] is not None
    return Entry(
        number=row["number"],
        fingerprints=Fingerprints(row["reference"], row["content"], row["address"]) if is_request else None,
        idempotency_key=row["idempotency_key"],
        asked_at=row["asked_at"],
        posts=_readable(row, "posts", _posts) or _bare_posts(row),
        guessed=bool(row["guessed"]),
        body=_readable(row, "body", _BODY.validate_json),
        prompt=row["prompt"],
        duration=row["duration"],
        quality=row["quality"],
        estimate=row["estimate"],
        take=row["take"],
        image=_readable(row, "image", _IMAGE.validate_json),
        untold=bool(row["untold"]),
        recovered=bool(row["recovered"]),
        # A request that has a task id is answered, whatever else is damaged: it must not be sent again.
        task=_readable(row, "task", Task.model_validate_json) or _bare_task(row),
        known_at=row["known_at"],
        completed_at=row["completed_at"],
        saved=_readable(row, "saved", lambda text: Saved(**json.loads(text))),
        kept=_readable(row, "kept", lambda text: Kept(**json.loads(text))),
        parent=row["parent"],
        part=row["part"],
    )


def _readable(row: Any, column: str, read: Callable[[str], T]) -> T | None:
    """A column as it was written; None where it is empty or damaged."""
    if not row[column]:
        return None
    try:
        return read(row[column])
    except (ValueError, TypeError, LookupError):
        logger.warning("row #%d of the ledger has a %s that cannot be read", row["number"], column)
        return None


def _bare_task(row: Any) -> Task | None:
    return Task(id=row["task_id"], status=row["status"]) if row["task_id"] else None


def _posts(text: str) -> tuple[Post, ...]:
    return tuple(Post(float(at), None if skew is None else float(skew)) for at, skew in json.loads(text))


def _bare_posts(row: Any) -> tuple[Post, ...]:
    """When a request was sent, where only that can be read: it must not count as one that was never sent."""
    moments = sorted({row["posted_at"], row["reposted_at"]} - {None})
    return tuple(Post(moment, None) for moment in moments)
