"""Which host names and IP addresses are public: pure functions, no look-ups.

An address inside a private network must never be handed to someone else's server
(``callback_url``), nor be connected to on a caller's word.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "arpa")
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")


def split(address: str) -> SplitResult:
    """Take a web address apart.

    Raises:
        ValueError: with what is wrong, in words, and nothing of the address in it.
    """
    if any(char.isspace() or ord(char) < 0x20 or char in "\\\x7f" for char in address):
        raise ValueError("has white space, a backslash or a control character in it")
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  a property that raises
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if not parts.hostname:
        raise ValueError("has no host name")
    if "@" in parts.netloc:
        raise ValueError("has a user name or password in it")
    return parts


def is_public_host(host: str) -> bool:
    """Whether ``host`` can be a public address: a global IP in any spelling, or a dotted name."""
    literal = parse_ip(host)
    if literal is not None:
        return is_public_ip(literal)
    return is_public_name(host)


def is_public_name(host: str) -> bool:
    """Whether a name can be public: dotted, well-formed, not under a local top-level name."""
    try:
        name = (
            host.rstrip(".").encode("idna").decode().lower()
            if not host.isascii()
            else host.rstrip(".").lower()
        )
    except UnicodeError:
        return False
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        return False
    if _NUMBER.match(labels[-1]):  # a broken spelling of an IP address, not a name
        return False
    return not any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES)


def parse_ip(host: str) -> IPAddress | None:
    """Read an IP address as a resolver would: also decimal, octal, hexadecimal and short spellings."""
    bare = host.strip("[]").split("%", 1)[0].rstrip(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return _loose_ipv4(bare)


def _loose_ipv4(host: str) -> ipaddress.IPv4Address | None:
    """``inet_aton`` spellings: one to four numbers, the last of which fills the remaining bytes."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.match(part) for part in parts):
        return None
    try:
        *leading, last = [_number(part) for part in parts]
    except ValueError:
        return None
    room = 8 * (4 - len(leading))
    if any(number > 255 for number in leading) or last >= 1 << room:
        return None
    value = 0
    for number in leading:
        value = value << 8 | number
    return ipaddress.IPv4Address(value << room | last)


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if len(text) > 1 and text.startswith("0") else int(text)


def is_public_ip(address: IPAddress) -> bool:
    """Whether an address is globally reachable, and so is every IPv4 address wrapped inside it."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return _is_public_nat64(address)
    return all(is_public_ip(inner) for inner in _wrapped(address))


def _is_public_nat64(address: IPAddress) -> bool:
    """64:ff9b::/96 counts as reserved in some Python versions; what counts is the address inside."""
    if address.version == 4 or address not in _NAT64:
        return False
    return is_public_ip(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))


def _wrapped(address: IPAddress) -> list[ipaddress.IPv4Address]:
    if address.version == 4:
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [found for found in inner if found is not None]
