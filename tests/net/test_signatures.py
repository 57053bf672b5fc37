"""Signed addresses name what they name without their signature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.net.addresses import without_signature

PLACE = "https://pictures.example.com/a%20cat.png"
SIGNED = {
    "S3": (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260301&X-Amz-Date=20260301T120000Z"
        "&X-Amz-Expires=900&X-Amz-Security-Token=t%2Bx&X-Amz-SignedHeaders=host&X-Amz-Signature={}"
    ),
    "S3 as it was": "AWSAccessKeyId=AKIA&Expires=1790000000&Signature={}",
    "Google Cloud Storage": (
        "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%40b&X-Goog-Date=20260301T120000Z"
        "&X-Goog-Expires=900&X-Goog-SignedHeaders=host&X-Goog-Signature={}"
    ),
    "Google as it was": "GoogleAccessId=a%40b&Expires=1790000000&Signature={}",
    "CloudFront": "Expires=1790000000&Signature={}~-_&Key-Pair-Id=APKA",
    "CloudFront with a policy": "Policy=eyJ~&Signature={}~&Key-Pair-Id=APKA&Hash-Algorithm=SHA256",
    "Azure": (
        "sp=r&st=2026-03-01T12:00:00Z&se=2026-03-01T20:00:00Z&spr=https&sv=2024-11-04&sr=b&sip=1.2.3.4"
        "&skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=2024-11-04&sig={}"
    ),
    "Discord": "ex=66aa&is=66bb&hm={}",
}
cases = pytest.mark.parametrize("signer", SIGNED)


@cases
def test_a_signature_does_not_count(signer: str) -> None:
    """Each time it is another one, and the same picture."""
    for signature in ("abc", "def%3D"):
        assert without_signature(f"{PLACE}?{SIGNED[signer].format(signature)}") == PLACE


@cases
def test_what_else_is_in_the_query_counts(signer: str) -> None:
    """In its order and as it is written, wherever the signature stands between."""
    query = SIGNED[signer].format("abc")
    for signed in (f"width=300&{query}&b=%20", f"width=300&b=%20&{query}", f"{query}&width=300&b=%20&"):
        assert without_signature(f"{PLACE}?{signed}") == f"{PLACE}?width=300&b=%20"


@cases
def test_names_are_read_in_any_case(signer: str) -> None:
    """Some programs change it."""
    query = SIGNED[signer].format("abc")
    assert without_signature(f"{PLACE}?{query.upper()}") == PLACE
    assert without_signature(f"{PLACE}?{query.lower()}") == PLACE


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Expires=900&X-Amz-Date=20260301T120000Z",
        "X-Goog-Expires=900",
        "Signature=abc",
        "Signature=abc&Expires=1",
        "Key-Pair-Id=a&Expires=1",
        "sig=abc",
        "sv=2024-11-04&sr=b",
        "ex=66aa&is=66bb",
        "token=abc",
        "expires=1&policy=2",
        "v=1",
        "",
        "a=1&&b=2",
    ],
)
def test_without_a_whole_signature_every_parameter_counts(query: str) -> None:
    """It may be what tells one picture from another."""
    assert without_signature(f"{PLACE}?{query}") == f"{PLACE}?{query}"


@given(st.text(), st.sampled_from(["", *SIGNED.values()]), st.lists(st.sampled_from(["a=1", "b"])))
def test_taking_a_signature_away_twice_changes_no_more(place: str, signed: str, others: list[str]) -> None:
    """And the place stays as it is, whatever it is."""
    address = "?".join((place, "&".join([*others, signed.format("abc")])))
    once = without_signature(address)
    assert without_signature(once) == once
    assert once.startswith(place.partition("?")[0])
