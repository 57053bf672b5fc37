"""HTTP answers, and the errors that they stand for.

Two generations of error bodies are in use: the older one has the HTTP status as ``code``, the newer
one a word. Codes are in upper or lower case, capacity problems arrive as 400, and ``type`` can be empty.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from wan_mcp.errors import (
    Busy,
    Charged,
    ContentRefused,
    EvolinkError,
    LostAnswer,
    NotFound,
    OutOfCredits,
    Refused,
    ServerFault,
    Unauthorized,
    UnreadableAnswer,
)
from wan_mcp.evolink.redaction import tidy, without_key
from wan_mcp.evolink.responses import ASK_LATER
from wan_mcp.evolink.values import http_date

BALANCE = frozenset(
    ("insufficient_quota", "insufficient_user_quota", "quota_not_enough", "account_balance_insufficient")
)
KEY_LIMIT = frozenset(("insufficient_token_quota", "key_quota_exhausted"))
KEY_DAILY_LIMIT = frozenset(("token_daily_quota_exceeded", "key_daily_quota_exhausted"))
MODERATION = frozenset(
    (
        "content_policy_violation",
        "content_filter",
        "sensitive_content",
        "moderation_blocked",
        "input_moderation_failed",
    )
)
CAPACITY = frozenset(("no_available_channel",))
STILL_OPEN = "paid_outcome_unknown"
HONOURED = frozenset((STILL_OPEN, "idempotency_conflict"))
"""Codes by which a gateway shows that it knows an idempotency key from an earlier request."""

_REQUEST_ID = re.compile(r"\(request id: ([^()]{1,100})\)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read whole within bounds. ``payload`` is None where the body is not JSON.

    Args:
        status: the HTTP status.
        headers: its headers.
        body: as received. It may repeat the key; in ``payload``, only ids and links may repeat it.
        key: the API key of the request.
        arrived: when the headers arrived, by the event loop's clock.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    key: str = field(default="", repr=False)
    arrived: float = 0.0

    @cached_property
    def payload(self) -> Any:
        try:
            payload = json.loads(self.body)
            return without_key(payload, self.key) if self.key else payload
        except (ValueError, RecursionError):
            return None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class _Problem:
    """What an error body of either generation says."""

    status: int
    code: str
    message: str
    request_id: str | None
    retry_after: float | None
    documented: bool
    """Whether the body was an error object, and so came from the API itself."""


def error_of(reply: Reply, *, paid: bool, now: datetime | None = None) -> EvolinkError:
    """The error that an answer outside 2xx stands for.

    Args:
        reply: the answer.
        paid: whether the request costs credits when it is accepted.
        now: the moment of the answer, for a ``Retry-After`` that is a date.
    """
    problem = _problem(reply, now or datetime.now(UTC))
    kind, next_step = _kind(problem)
    charged = _charged(problem) if paid else "no"
    if charged == "unknown":
        kind = LostAnswer
    return kind(
        _sentence(problem),
        next_step=next_step,
        charged=charged,
        status=problem.status,
        code=problem.code or None,
        request_id=problem.request_id,
        retry_after=problem.retry_after,
    )


def _problem(reply: Reply, now: datetime) -> _Problem:
    payload = reply.payload
    error = payload.get("error") if isinstance(payload, dict) else None
    details = error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}
    code = details.get("code")
    text = details.get("message")
    message = text if isinstance(text, str) else ""
    inline = _REQUEST_ID.search(message)
    headers = {name.lower(): value for name, value in reply.headers.items()}
    request_id = (
        headers.get("x-request-id")
        or headers.get("x-oneapi-request-id")
        or details.get("request_id")
        or (inline and inline[1])
    )
    return _Problem(
        status=reply.status,
        code=tidy(code, 60).lower() if isinstance(code, str) else "",
        message=tidy(_REQUEST_ID.sub("", message)),
        request_id=tidy(request_id, 100) if isinstance(request_id, str) else None,
        retry_after=_retry_after(headers.get("retry-after", ""), now),
        documented=bool(details),
    )


def _retry_after(value: str, now: datetime) -> float | None:
    """Seconds, from a ``Retry-After`` of either form."""
    if value.strip().isdecimal() and len(value) < 12:
        return float(value)
    moment = http_date(value)
    return None if moment is None else max(moment - now.timestamp(), 0.0)


_DASHBOARD = "in the Evolink dashboard, https://evolink.ai/dashboard"
_TOP_UP = f"the user can add credits {_DASHBOARD}; then make the same request again."
RAISE_KEY_LIMIT = f"This key's own limit is used up: the user can raise it {_DASHBOARD}, or set another key."
KEYS_PAGE = "https://evolink.ai/dashboard/keys"
CHECK_KEY = f"Check EVOLINK_API_KEY, or the key that wan-mcp setup keeps; keys are at {KEYS_PAGE}."
_BY_CODE: list[tuple[frozenset[str], type[EvolinkError], str]] = [
    (BALANCE, OutOfCredits, f"The account's balance is too low: {_TOP_UP}"),
    (KEY_LIMIT, OutOfCredits, RAISE_KEY_LIMIT),
    (
        KEY_DAILY_LIMIT,
        OutOfCredits,
        f"This key's daily limit is used up: wait until tomorrow, or ask the user to raise it {_DASHBOARD}.",
    ),
    (frozenset(("key_disabled", "key_expired")), Unauthorized, CHECK_KEY),
    (
        frozenset(("key_model_not_allowed", "model_access_denied", "permission_denied")),
        Unauthorized,
        f"Allow this model for the key, or use another key: {KEYS_PAGE}.",
    ),
    (
        MODERATION,
        ContentRefused,
        "Change the prompt or the picture, if there is one; the same request will be refused again.",
    ),
    (CAPACITY, Busy, "Evolink has no capacity for this model right now: try again in a minute."),
]
_BY_STATUS: dict[int, tuple[type[EvolinkError], str]] = {
    401: (Unauthorized, CHECK_KEY),
    402: (OutOfCredits, f"There are too few credits: {_TOP_UP}"),
    403: (Unauthorized, CHECK_KEY),
    404: (NotFound, "Check the id with list_tasks; Evolink forgets finished tasks after some time."),
    429: (Busy, ASK_LATER),
    502: (LostAnswer, ASK_LATER),
    503: (LostAnswer, ASK_LATER),
    504: (LostAnswer, ASK_LATER),
}


def _kind(problem: _Problem) -> tuple[type[EvolinkError], str]:
    for codes, kind, next_step in _BY_CODE:
        if problem.code in codes:
            return kind, next_step
    if _is_capacity(problem):
        return Busy, _BY_CODE[-1][2]
    if problem.code == STILL_OPEN:
        return LostAnswer, ASK_LATER
    if problem.status in _BY_STATUS:
        return _BY_STATUS[problem.status]
    if problem.status >= 500:
        return ServerFault, ASK_LATER
    if 300 <= problem.status < 400:
        return UnreadableAnswer, "Redirects are not followed with a key: check EVOLINK_BASE_URL."
    return Refused, "Change the request as the message says."


def _charged(problem: _Problem) -> Charged:
    """Whether a submission that got this answer can have cost anything.

    It surely cost nothing where the code says so, at the rate limit, and where the API itself refused it.
    Any other answer may come from a proxy in between, after the API accepted the request.
    """
    if problem.code == STILL_OPEN:
        return "unknown"
    if (
        problem.status == 429
        or any(problem.code in codes for codes, _, _ in _BY_CODE)
        or _is_capacity(problem)
    ):
        return "no"
    refused = 400 <= problem.status < 500 and problem.status not in (408, 409, 425)
    return "no" if refused and problem.documented else "unknown"


def _is_capacity(problem: _Problem) -> bool:
    return problem.status == 400 and problem.message.lower().startswith("no available service")


def _sentence(problem: _Problem) -> str:
    reason = problem.message or (
        "no reason given" if problem.documented else "the answer does not come from the API"
    )
    label = f" {problem.code}" if problem.code else ""
    return f"Evolink answered HTTP {problem.status}{label}: {reason.rstrip('.')}."
