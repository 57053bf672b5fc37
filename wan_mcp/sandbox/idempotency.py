"""Idempotency keys: for one API key, the same key with the same content gets the same answer."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from wan_mcp.sandbox.problems import Problem

KEY = re.compile(r"[A-Za-z0-9._-]{16,96}")
KEPT_SECONDS = 24 * 3600

Answer = TypeVar("Answer")


@dataclass
class Record(Generic[Answer]):
    """A request made under a key: `open` until it is answered, and unknown until `effective_at`."""

    content: object
    time: float
    open: bool = True
    answer: Answer | None = None
    effective_at: float = 0.0


class Keys(Generic[Answer]):
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[tuple[str, str], Record[Answer]] = {}

    @contextmanager
    def hold(self, api_key: str, key: str | None, content: object) -> Iterator[Record[Answer]]:
        """The record of the key: an answered one, or a new one that is open inside the `with` block."""
        if key is None:
            yield Record(content, self._clock())
            return
        known = self._known(api_key, key, content)
        if known is not None:
            yield known
            return
        record = self._records[api_key, key] = Record[Answer](content, self._clock())
        try:
            yield record
        finally:
            record.open = False
            if record.answer is None:
                del self._records[api_key, key]

    def _known(self, api_key: str, key: str, content: object) -> Record[Answer] | None:
        if KEY.fullmatch(key) is None:
            raise Problem(400, f"Idempotency-Key must match ^{KEY.pattern}$.", param="Idempotency-Key")
        record = self._records.get((api_key, key))
        if record is None or self._clock() >= record.time + KEPT_SECONDS:
            return None
        if record.content != content:
            raise Problem(409, "This Idempotency-Key was used with another request.")
        if record.open or self._clock() < record.effective_at:
            message = "The first request with this Idempotency-Key is not answered yet."
            raise Problem(409, message, code="paid_outcome_unknown")
        return record
