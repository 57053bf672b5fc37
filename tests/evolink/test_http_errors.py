"""From an answer outside 2xx to the error that it stands for: kind, money, what to do, whom to ask."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from wan_mcp.errors import (
    Busy,
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
from wan_mcp.evolink.http_errors import Reply, error_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENTENCE = "That did not work."


def older(status: int, message: str = SENTENCE, **more: object) -> bytes:
    """An error body whose code is the HTTP status."""
    details = {"code": status, "message": message, "type": "", "fallback_suggestion": "wait"} | more
    return json.dumps({"error": details}).encode()


def newer(code: str, message: str = SENTENCE, **more: object) -> bytes:
    """An error body whose code is a word."""
    return json.dumps({"error": {"code": code, "message": message, "type": "x_error"} | more}).encode()


def read(status: int, body: bytes, *, paid: bool = False, **headers: str) -> EvolinkError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    error = error_of(Reply(status, named, body), paid=paid, now=NOON)
    assert error.next_step
    assert error.status == status
    return error


def kinds(status: int, body: bytes) -> tuple[type[EvolinkError], type[EvolinkError], str]:
    """What the answer is to a free request, what it is to the paid one, and whether that was charged."""
    free, paid = read(status, body), read(status, body, paid=True)
    assert free.charged == "no"
    return type(free), type(paid), paid.charged


# Statuses: what a free request gets, and what the paid one gets where the body is the API's own,
# and where it is anybody's.

BY_STATUS: dict[int, tuple[type[EvolinkError], type[EvolinkError], type[EvolinkError]]] = {
    **dict.fromkeys(range(300, 400), (UnreadableAnswer, LostAnswer, LostAnswer)),
    **dict.fromkeys(range(400, 500), (Refused, Refused, LostAnswer)),
    **dict.fromkeys((408, 409, 425), (Refused, LostAnswer, LostAnswer)),
    401: (Unauthorized, Unauthorized, LostAnswer),
    402: (OutOfCredits, OutOfCredits, LostAnswer),
    403: (Unauthorized, Unauthorized, LostAnswer),
    404: (NotFound, NotFound, LostAnswer),
    429: (Busy, Busy, Busy),
    **dict.fromkeys(range(500, 600), (ServerFault, LostAnswer, LostAnswer)),
    **dict.fromkeys((502, 503, 504), (LostAnswer, LostAnswer, LostAnswer)),
}
CHARGED: dict[type[EvolinkError], str] = {LostAnswer: "unknown"}
BODIES: dict[str, Callable[[int], bytes]] = {
    "older": older,
    "newer": lambda status: newer("a_word"),
    "bare": lambda status: b'{"error": {"message": "No."}}',
    "a sentence": lambda status: b'{"error": "No."}',
}
NO_BODIES = {
    "empty": b"",
    "page": b"<!DOCTYPE html><html><title>Error 1010</title>",
    "text": b"upstream connect error",
    "bytes": b"\x00\xff\xfe{]",
    "truncated": newer("insufficient_quota")[:-9],
    "list": b'[{"error": {"code": "insufficient_quota"}}]',
    "null": b"null",
    "string": b'"error"',
    "without error": b'{"code": 400, "message": "No.", "detail": "No."}',
    "empty error": b'{"error": {}}',
    "error of another type": b'{"error": [400]}',
    "deep": b"[" * 100_000,
    "endless number": b'{"error": {"code": ' + b"1" * 10_000 + b"}}",
}


@pytest.mark.parametrize("body", BODIES)
def test_every_status_with_the_apis_own_words_is_one_kind_of_error(body: str) -> None:
    """A refusal in the API's own words cost nothing; a broken answer may have."""
    for status, (free, paid, _) in BY_STATUS.items():
        assert kinds(status, BODIES[body](status)) == (free, paid, CHARGED.get(paid, "no")), status


@pytest.mark.parametrize("body", NO_BODIES)
def test_every_status_without_the_apis_own_words_is_one_kind_of_error(body: str) -> None:
    """A machine in between may have answered, after the request had arrived."""
    for status in BY_STATUS if body not in ("deep", "endless number") else (400, 429, 500, 503):
        free, _, paid = BY_STATUS[status]
        assert kinds(status, NO_BODIES[body]) == (free, paid, CHARGED.get(paid, "no")), status
        assert read(status, NO_BODIES[body]).code is None


BY_CODE: dict[type[EvolinkError], tuple[str, ...]] = {
    OutOfCredits: (
        "insufficient_quota",
        "insufficient_user_quota",
        "quota_not_enough",
        "account_balance_insufficient",
        "insufficient_token_quota",
        "key_quota_exhausted",
        "token_daily_quota_exceeded",
        "key_daily_quota_exhausted",
    ),
    Unauthorized: (
        "key_disabled",
        "key_expired",
        "key_model_not_allowed",
        "model_access_denied",
        "permission_denied",
    ),
    ContentRefused: (
        "content_policy_violation",
        "content_filter",
        "sensitive_content",
        "moderation_blocked",
        "input_moderation_failed",
    ),
    Busy: ("no_available_channel",),
}


@pytest.mark.parametrize(
    ("kind", "code"), [(kind, code) for kind, codes in BY_CODE.items() for code in codes]
)
def test_a_known_code_counts_more_than_the_status(kind: type[EvolinkError], code: str) -> None:
    """In either case, at any status; all of these prove that nothing was charged."""
    for status in (400, 401, 402, 403, 404, 409, 429, 500, 503):
        for spelling in (code, code.upper(), code.title()):
            assert kinds(status, newer(spelling)) == (kind, kind, "no"), (status, spelling)
            assert read(status, newer(spelling)).code == code


@pytest.mark.parametrize(
    ("status", "code", "free", "paid"),
    [
        (400, "invalid_request", Refused, Refused),
        (400, "invalid_task_id", Refused, Refused),
        (401, "unauthorized", Unauthorized, Unauthorized),
        (402, "quota_exceeded", OutOfCredits, OutOfCredits),
        (404, "task_not_found", NotFound, NotFound),
        (409, "idempotency_conflict", Refused, LostAnswer),
        (409, "paid_outcome_unknown", LostAnswer, LostAnswer),
        (400, "paid_outcome_unknown", LostAnswer, LostAnswer),
        (429, "paid_outcome_unknown", LostAnswer, LostAnswer),
        (429, "rate_limit_exceeded", Busy, Busy),
        (500, "internal_error", ServerFault, LostAnswer),
        (400, "never_heard_of", Refused, Refused),
        (418, "never_heard_of", Refused, Refused),
        (425, "never_heard_of", Refused, LostAnswer),
    ],
)
def test_the_other_documented_codes_follow_their_status(
    status: int, code: str, free: type[EvolinkError], paid: type[EvolinkError]
) -> None:
    """In either case."""
    for spelling in (code, code.upper()):
        assert kinds(status, newer(spelling)) == (free, paid, CHARGED.get(paid, "no"))


@pytest.mark.parametrize("status", [600, 999, 100, 101, 199])
def test_a_status_from_outside_of_every_range_is_not_trusted(status: int) -> None:
    """Nobody knows what became of a paid request that is answered like this."""
    assert kinds(status, b"")[1:] == (LostAnswer, "unknown")


@pytest.mark.parametrize("message", ["no available service for model x", "No available service: try later."])
def test_missing_capacity_is_known_by_its_message_too(message: str) -> None:
    """The older generation has no code for it, and calls it a bad request."""
    assert kinds(400, older(400, message)) == (Busy, Busy, "no")
    assert kinds(400, newer("invalid_request", message)) == (Busy, Busy, "no")
    assert kinds(500, older(500, message)) == (ServerFault, LostAnswer, "unknown")


def test_moderation_is_known_by_its_code_alone() -> None:
    """A message that speaks of it is no proof."""
    assert kinds(400, older(400, "content_policy_violation: sensitive content"))[0] is Refused


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (402, "insufficient_user_quota", "balance"),
        (402, "key_quota_exhausted", "key's own limit"),
        (402, "key_daily_quota_exhausted", "tomorrow"),
        (402, "", "add credits"),
        (401, "", "EVOLINK_API_KEY"),
        (401, "KEY_EXPIRED", "https://evolink.ai/dashboard/keys"),
        (403, "KEY_MODEL_NOT_ALLOWED", "Allow this model"),
        (400, "content_filter", "Change the prompt or the picture"),
        (400, "no_available_channel", "no capacity"),
        (404, "task_not_found", "forgets"),
        (429, "", "Wait"),
        (302, "", "EVOLINK_BASE_URL"),
        (400, "invalid_request", "Change the request"),
    ],
)
def test_each_kind_says_what_to_do(status: int, code: str, words: str) -> None:
    """The three kinds of 402, a key that is wrong and one that may not, waiting and changing."""
    assert words in read(status, newer(code)).next_step
