"""Which hosts are public, told without asking anybody."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.net.hostile import LITERAL, NAMES, RANGES, SPELLINGS
from wan_mcp.net import addresses
from wan_mcp.net.addresses import canonical_host, is_public_host, is_public_ip, parse_ip, shown, split

PUBLIC = [
    ("93.184.215.14", "93.184.215.14"),
    ("1572394766", "93.184.215.14"),
    ("0x5db8d70e", "93.184.215.14"),
    ("[2606:4700:4700::1111]", "2606:4700:4700::1111"),
    ("::ffff:93.184.215.14", "::ffff:93.184.215.14"),
    ("64:ff9b::5db8:d70e", "64:ff9b::5db8:d70e"),
    ("pics.example", "pics.example"),
    ("PICS.Example.", "pics.example"),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("\uff42\uff55\u3002example", "bu.example"),
    ("my_bucket.s3-eu.example", "my_bucket.s3-eu.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("local.example", "local.example"),
]


@pytest.mark.parametrize(("host", "canonical"), PUBLIC)
def test_public_hosts_are_public_and_have_one_spelling(host: str, canonical: str) -> None:
    assert is_public_host(host)
    assert parse_ip(canonical_host(host)) == parse_ip(canonical)
    assert canonical_host(canonical) == canonical_host(host)


@pytest.mark.parametrize("address", [*SPELLINGS, *RANGES, *NAMES])
def test_private_hosts_are_not_public_in_any_spelling(address: str) -> None:
    host = address.removeprefix("http://").partition("/")[0]

    assert not is_public_host(host)


@pytest.mark.parametrize("address", LITERAL)
def test_a_hostile_address_is_either_no_url_or_not_public(address: str) -> None:
    try:
        parts = split(address)
    except ValueError as error:
        assert str(error)  # noqa: PT017  one of two good outcomes
        return
    assert len(address) > 8192 or parts.port == 0 or not is_public_host(parts.hostname or "")


EDGES = [
    *("0.255.255.255", "9.255.255.255", "10.255.255.255", "100.63.255.255", "100.127.255.255"),
    *("126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "191.255.255.255"),
    *("192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
]
PRIVATE_EDGES = {"0.255.255.255", "10.255.255.255", "100.127.255.255"}


@pytest.mark.parametrize("text", EDGES)
def test_a_private_range_ends_where_it_ends(text: str) -> None:
    address = ipaddress.ip_address(text)

    assert is_public_ip(address) == (text not in PRIVATE_EDGES)
    assert is_public_ip(ipaddress.ip_address(f"::ffff:{text}")) == (text not in PRIVATE_EDGES)


@given(st.ip_addresses())
def test_no_address_is_public_that_the_standard_library_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public_ip(address) and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert not (address.is_private and address not in ipaddress.ip_network("::ffff:0:0/96"))
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_every_numeric_spelling_is_the_same_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    a, b, c, d = address.packed
    for text in (
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{c << 8 | d}",
    ):
        assert parse_ip(text) == address


@given(st.text(max_size=80))
def test_any_text_is_a_host_or_is_refused(text: str) -> None:
    assert is_public_host(text) in (True, False)
    assert addresses.shown(text).isprintable()


def test_an_address_is_shown_without_what_gives_access() -> None:
    assert (
        shown("https://me:word@pics.example/a/cat.png?X-Amz-Signature=5ecret#x") == "pics.example/a/cat.png"
    )
    assert shown("https://[") == "the address"


@pytest.mark.parametrize(
    "host", ["256.0.0.1", "1.256.1", "4294967296", "1.2.3.256", "1.16777216", "0x100.0.0.1"]
)
def test_a_number_that_is_too_large_is_no_address(host: str) -> None:
    """Not an address, and no name either."""
    assert parse_ip(host) is None
    assert not is_public_host(host)


@pytest.mark.parametrize("host", ["8.8.8.8%1", "2606:4700::1111%eth0", "[2606:4700::1111%25eth0]"])
def test_a_zone_makes_an_address_local(host: str) -> None:
    """It names an interface of one machine, which nobody else has."""
    assert not is_public_host(host)


def test_full_width_digits_are_digits() -> None:
    """They become the plain address, which is then judged like any other."""
    assert canonical_host("\uff18.\uff18.\uff18.\uff18") == "8.8.8.8"
    assert not is_public_host("\uff11\uff12\uff17.0.0.1")


@pytest.mark.parametrize(
    "name", ["db.private", "printer.lan", "a.localdomain", "x.corp", "y.onion", "nas.home"]
)
def test_a_name_of_a_private_network_is_not_public(name: str) -> None:
    """Whatever it may resolve to somewhere."""
    assert not is_public_host(name)


@pytest.mark.parametrize("char", ["\x01", "\x7f", "\x85", "\x00", "\n", " ", "\\"])
def test_an_address_with_a_hidden_character_is_refused(char: str) -> None:
    """Readers of addresses differ in what they make of these."""
    with pytest.raises(ValueError, match="white space, a backslash or a control character"):
        split(f"https://example.com/a{char}b")
