"""What an error says: one bounded line, whom to ask, how long to wait; whatever the answer was."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.evolink.gateway import patient
from tests.evolink.test_http_errors import BY_CODE, NOON, SENTENCE, newer, older, read
from wan_mcp.errors import (
    EvolinkError,
    LostAnswer,
)
from wan_mcp.evolink.http_errors import Reply, error_of


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
        (b"<html>", "Evolink answered HTTP 500: the answer does not come from the API."),
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
    assert isinstance(error, LostAnswer) == (error.charged == "unknown") or not paid
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
