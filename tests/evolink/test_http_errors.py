"""From an answer outside 2xx to the error that it stands for: kind, money, what to do, whom to ask."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wan_mcp.errors import (
    Busy,
    ContentRefused,
    EvolinkError,
    LostAnswer,
    NotFound,
    OutcomeUnknown,
    OutOfCredits,
    Refused,
    ServerFault,
    Unauthorized,
    UnreadableAnswer,
)
from wan_mcp.evolink.http_errors import Reply, error_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENTENCE = "That did not work."
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""However busy the machine is."""


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
    **dict.fromkeys(range(300, 400), (UnreadableAnswer, OutcomeUnknown, OutcomeUnknown)),
    **dict.fromkeys(range(400, 500), (Refused, OutcomeUnknown, OutcomeUnknown)),
    **dict.fromkeys((400, 405, 413, 415, 422), (Refused, Refused, OutcomeUnknown)),
    401: (Unauthorized, Unauthorized, Unauthorized),
    402: (OutOfCredits, OutOfCredits, OutOfCredits),
    403: (Unauthorized, Unauthorized, Unauthorized),
    404: (NotFound, NotFound, OutcomeUnknown),
    429: (Busy, Busy, Busy),
    **dict.fromkeys(range(500, 600), (ServerFault, OutcomeUnknown, OutcomeUnknown)),
    **dict.fromkeys((502, 503, 504), (LostAnswer, LostAnswer, LostAnswer)),
}
CHARGED = {OutcomeUnknown: "unknown", LostAnswer: "unknown"}
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
        (409, "idempotency_conflict", Refused, OutcomeUnknown),
        (409, "paid_outcome_unknown", LostAnswer, LostAnswer),
        (400, "paid_outcome_unknown", LostAnswer, LostAnswer),
        (429, "rate_limit_exceeded", Busy, Busy),
        (500, "internal_error", ServerFault, OutcomeUnknown),
        (400, "never_heard_of", Refused, Refused),
        (418, "never_heard_of", Refused, OutcomeUnknown),
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
    assert kinds(status, b"")[1:] == (OutcomeUnknown, "unknown")


@pytest.mark.parametrize("message", ["no available service for model x", "No available service: try later."])
def test_missing_capacity_is_known_by_its_message_too(message: str) -> None:
    """The older generation has no code for it, and calls it a bad request."""
    assert kinds(400, older(400, message)) == (Busy, Busy, "no")
    assert kinds(400, newer("invalid_request", message)) == (Busy, Busy, "no")
    assert kinds(500, older(500, message)) == (ServerFault, OutcomeUnknown, "unknown")


def test_moderation_is_known_by_its_code_alone() -> None:
    """A message that speaks of it is no proof."""
    assert kinds(400, older(400, "content_policy_violation: sensitive content"))[0] is Refused


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (402, "insufficient_user_quota", "balance"),
        (402, "key_quota_exhausted", "key's own limit"),
        (402, "key_daily_quota_exhausted", "tomorrow"),
        (402, "", "get_credits"),
        (401, "", "EVOLINK_API_KEY"),
        (401, "KEY_EXPIRED", "https://evolink.ai/dashboard/keys"),
        (403, "KEY_MODEL_NOT_ALLOWED", "Allow this model"),
        (400, "content_filter", "Change the prompt or the picture"),
        (400, "no_available_channel", "no capacity"),
        (404, "task_not_found", "forgotten"),
        (429, "", "Wait"),
        (302, "", "EVOLINK_BASE_URL"),
        (400, "invalid_request", "Change the request"),
    ],
)
def test_each_kind_says_what_to_do(status: int, code: str, words: str) -> None:
    """The three kinds of 402, a key that is wrong and one that may not, waiting and changing."""
    assert words in read(status, newer(code)).next_step


def test_an_error_holds_all_that_the_answer_says() -> None:
    """Every attribute, for the two generations of bodies."""
    headers = {"Retry-After": "7", "X-Request-Id": "req-1"}
    for body, code in ((older(429), None), (newer("rate_limit_exceeded"), "rate_limit_exceeded")):
        error = error_of(Reply(429, headers, body), paid=True, now=NOON)
        assert vars(error) == {
            "message": f"Evolink answered HTTP 429{' ' + code if code else ''}: {SENTENCE}",
            "next_step": "Wait a little, then ask again.",
            "charged": "no",
            "status": 429,
            "code": code,
            "request_id": "req-1",
            "task_id": None,
            "retry_after": 7.0,
        }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (newer("x_y", "Broken."), "Evolink answered HTTP 500 x_y: Broken."),
        (newer("", "Broken"), "Evolink answered HTTP 500: Broken."),
        (newer("x", ""), "Evolink answered HTTP 500 x: no reason given."),
        (older(500, "  Two\r\nlines\t"), "Evolink answered HTTP 500: Two lines."),
        (older(500, "\u001b[31mred\u202e\ud800"), "Evolink answered HTTP 500: [31mred."),
        (b'{"error": "Broken"}', "Evolink answered HTTP 500: Broken."),
        (b'{"error": {"code": null, "message": 5}}', "Evolink answered HTTP 500: no reason given."),
        (b"<html>", "Evolink answered HTTP 500: the answer is not the API's own."),
        (
            older(500, "No file at https://a.example/b.png?sig=1&x='2'#frag, 'HTTPS://a.example/it's?c'."),
            "Evolink answered HTTP 500: No file at https://a.example/b.png?… 'HTTPS://a.example/it's?….",
        ),
        (older(500, "猫 " * 500), "Evolink answered HTTP 500: " + "猫 " * 199 + "猫…."),
    ],
)
def test_the_text_is_one_bounded_line(body: bytes, text: str) -> None:
    """Whatever upstream writes; addresses without their queries."""
    assert str(read(500, body)) == text


REQUEST_IDS: list[tuple[dict[str, str], dict[str, Any], str | None]] = [
    ({"x_request_id": "a"}, {}, "a"),
    ({"X_Request_Id": "a"}, {}, "a"),
    ({"x_oneapi_request_id": "b"}, {}, "b"),
    ({}, {"request_id": "c"}, "c"),
    ({}, {"message": f"{SENTENCE} (request id: d)"}, "d"),
    ({}, {"message": f"{SENTENCE} (Request ID: d 1) "}, "d 1"),
    (
        {"x_request_id": "a", "x_oneapi_request_id": "b"},
        {"request_id": "c", "message": "(request id: d)"},
        "a",
    ),
    ({"x_oneapi_request_id": "b"}, {"request_id": "c", "message": "(request id: d)"}, "b"),
    ({}, {"request_id": "c", "message": "(request id: d)"}, "c"),
    ({"x_request_id": ""}, {"request_id": "", "message": "(request id: d)"}, "d"),
    ({}, {"message": "(request id: d) and more"}, None),
    ({}, {"request_id": 5}, None),
    ({}, {}, None),
    ({"x_request_id": "x" * 5000}, {}, "x" * 99 + "…"),
]


@pytest.mark.parametrize(("headers", "details", "found"), REQUEST_IDS)
def test_the_request_id_is_found_in_each_of_four_places(
    headers: dict[str, str], details: dict[str, Any], found: str | None
) -> None:
    """Two headers, the body, the end of the message, in this order."""
    for body in (older(400, **details), newer("x", **details)):
        assert read(400, body, paid=True, **headers).request_id == found


def test_a_request_id_is_told_apart_from_the_message() -> None:
    """It is an attribute then, not a part of the sentence."""
    error = read(400, older(400, "No. (request id: 2026abc)"))
    assert (error.message, error.request_id) == ("Evolink answered HTTP 400: No.", "2026abc")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("99999999999", 99999999999),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30),
        ("Sun Mar  1 12:00:30 2026", 30),
        ("Sun, 01 Mar 2026 11:59:30 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("", None),
        (" ", None),
        ("-7", None),
        ("7.5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("9" * 5000, None),
        ("²", None),
        ("Sun, 01 Mar 99999999999999 12:00:30 GMT", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
        ("Sun, 01 Mar 2026 12:00:30 +999999999999999", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    """Seconds or a date; never negative; what is neither is absent."""
    for status in (400, 429, 503):
        assert read(status, older(status), retry_after=value).retry_after == seconds


@pytest.mark.parametrize(
    "message",
    [
        "http://" * 140_000,
        " " * 1_000_000 + "x",
        "(request id: " * 75_000,
        "https://a?" * 100_000,
        "(" * 1_000_000,
    ],
    ids=["addresses", "spaces", "request ids", "queries", "brackets"],
)
def test_a_long_message_is_no_long_work(message: str) -> None:
    """A pattern that looks back from every place would take hours here."""
    assert len(str(read(500, older(500, message)))) < 500


# Anything at all

WORDS = [code for codes in BY_CODE.values() for code in codes]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ADDRESS = st.builds(
    "{}://a.example{}{}sig=SECRET{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    st.text("/a.é'()%-", max_size=9),
    st.sampled_from("?#"),
    st.text("a/?#&='()%[]{}~é-.,;!$*+:@|^`", max_size=9),
)
MESSAGE = st.lists(st.text(st.characters()) | ADDRESS | st.just("(request id: x)")).map(" ".join)
ERROR = st.fixed_dictionaries(
    {},
    optional={
        "code": JSON | st.sampled_from(WORDS) | MESSAGE,
        "message": MESSAGE | JSON,
        "type": JSON,
        "request_id": JSON | MESSAGE,
    },
)
BODY = st.binary() | (JSON | st.fixed_dictionaries({"error": ERROR | MESSAGE | JSON})).map(
    lambda value: json.dumps(value).encode()
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "Retry-After", "x-request-id", "X-OneAPI-Request-Id", "location"]),
    st.text(st.characters()) | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S GMT}".format) | MESSAGE,
)


@patient
@given(st.integers(100, 999).filter(lambda status: not 200 <= status < 300), BODY, HEADERS, st.booleans())
@example(400, b"\xff\xfe", {}, True)
@example(400, b'{"error": {"message": "\\ud800"}}', {"x-request-id": "\udcff"}, False)
def test_any_answer_is_an_error_that_can_be_shown(
    status: int, body: bytes, headers: dict[str, str], paid: bool
) -> None:
    """Never another exception; texts are bounded, printable, one line, and hold no query of an address."""
    error = error_of(Reply(status, headers, body), paid=paid)
    assert isinstance(error, EvolinkError)
    assert error.status == status
    assert error.charged in (("no", "unknown") if paid else ("no",))
    assert isinstance(error, OutcomeUnknown | LostAnswer) == (error.charged == "unknown") or not paid
    assert error.retry_after is None or error.retry_after >= 0
    for text in (error.message, error.next_step, error.code or "-", error.request_id or "-"):
        assert 0 < len(text) < 550
        assert text.isprintable()
        assert "SECRET" not in text


@patient
@given(st.binary())
def test_any_body_has_a_payload_or_none(body: bytes) -> None:
    """What is no JSON is None."""
    payload = Reply(200, {}, body).payload
    assert payload is None or isinstance(payload, dict | list | str | int | float)
