"""Which host names and IP addresses are public: pure functions, no look-ups.

An address inside a private network must never be passed on to someone else's server
(``callback_url``), nor be connected to because a caller named it. The ranges are written out here:
``ipaddress.is_global`` counts ``64:ff9b::7f00:1``, ``3fff::1`` and, on older Pythons,
``2002:7f00:1::`` as global.
"""

import ipaddress
import re
import unicodedata
from urllib.parse import SplitResult, parse_qsl, urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NOT_A_URL = "is not a valid URL"
_NO_HOST = "has no valid host name"
_NOT_PUBLIC_4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # looks public, but is a cloud's own metadata service
            "169.254.0.0/16",  # link-local, metadata services
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_CARRIES_IPV4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # v4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, as a resolver in an IPv6-only network makes it
)
_LOCAL_NAMES = (
    *("localhost", "localdomain", "local", "internal", "intranet", "intra"),
    *("private", "lan", "home", "corp", "arpa", "onion"),
)
_SIGNED = frozenset(
    {
        *("signature", "sig", "token", "access_token", "expires", "expiry", "policy", "key-pair-id"),
        *("x-amz-signature", "x-amz-expires", "x-goog-signature", "x-goog-expires", "se", "hdnts", "hdnea"),
        *("x-oss-signature", "q-signature", "x-cos-security-token", "auth_key", "jwt", "oe", "hm"),
    }
)
_SIGNERS: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(signature), re.compile(removed, re.IGNORECASE))
    for signature, removed in (
        (("x-amz-signature",), r"x-amz-.*"),
        (("x-goog-signature",), r"x-goog-.*"),
        (("signature", "key-pair-id"), r"signature|key-pair-id|expires|policy|hash-algorithm"),
        (("signature", "awsaccesskeyid"), r"signature|awsaccesskeyid|expires|x-amz-.*"),
        (("signature", "googleaccessid"), r"signature|googleaccessid|expires"),
        (("sig", "sv"), r"sig|sv|s[terpisb]|sr[td]?|spr|sip|ss|sdd|ses|sk(oid|tid|[teasv])|s[a-z]oid|scid"),
        (("hm", "ex", "is"), r"hm|ex|is"),
    )
)
"""The parameters that show a storage service's signature, and all that the signature consists of: S3, Google
Cloud Storage, CloudFront, S3 and Google in their older forms, Azure, Discord."""
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_AMBIGUOUS = re.compile("[\u00df\u03c2\u200c\u200d]")
"""Letters that the older and the newer rules for international names encode as different hosts."""


def split(address: str) -> SplitResult:
    """Split a web address into its parts.

    Raises:
        ValueError: its text says what is wrong, without any part of the address.
    """
    if any(char.isspace() or unicodedata.category(char) == "Cc" or char == "\\" for char in address):
        raise ValueError("has white space, a backslash or a control character in it")
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  a property that raises
    except ValueError:
        raise ValueError(NOT_A_URL) from None
    if not parts.hostname:
        raise ValueError("has no host name")
    if "@" in parts.netloc:
        raise ValueError("has a user name or password in it")
    if ("[" in parts.netloc) != (":" in parts.hostname):
        raise ValueError(NOT_A_URL)
    return parts


def shown(address: str) -> str:
    """What a message or a log may show of an address: its host and path, nothing else."""
    try:
        parts = urlsplit(address)
        text = f"{parts.hostname or ''}{parts.path}"
    except ValueError:
        return "the address"
    return "".join(char for char in text if char.isprintable())[:200] or "the address"


def canonical_host(host: str) -> str:
    """The one spelling of a host: an IP address in its normal form, or a lower-case ASCII name.

    Raises:
        ValueError: when it is neither.
    """
    literal = None if "%" in host else parse_ip(host)  # a zone id makes sense on one machine only
    if literal is not None:
        if _read_as_decimal(host) not in (None, literal):
            raise ValueError("has an IP address that can be read in two ways; write it without leading zeros")
        return str(literal)
    name = _ascii_name(host)
    if parse_ip(name) is not None and name != host:  # full-width digits have become plain ones by now
        return canonical_host(name)
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.match, labels)) or _NUMBER.match(labels[-1]):
        raise ValueError(_NO_HOST)
    return name


def _ascii_name(host: str) -> str:
    if not host.isascii():
        if _AMBIGUOUS.search(host):
            raise ValueError("has a host name that can be read in two ways; write it in its xn-- form")
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(_NO_HOST) from None
    return host.lower().removesuffix(".")


def is_public_host(host: str) -> bool:
    """Whether ``host`` can be a public address: a global IP in any spelling, or a dotted name."""
    try:
        canonical = canonical_host(host)
    except ValueError:
        return False
    literal = parse_ip(canonical)
    if literal is None:
        return is_public_name(canonical)
    return is_public_ip(literal)


def is_public_name(host: str) -> bool:
    """Whether a name can be public: dotted, well-formed, not under a local top-level name."""
    try:
        name = canonical_host(host)
    except ValueError:
        return False
    if "." not in name or parse_ip(name) is not None:
        return False
    return not any(name == local or name.endswith("." + local) for local in _LOCAL_NAMES)


def parse_ip(host: str) -> IPAddress | None:
    """Read an IP address as a resolver would: also decimal, octal, hexadecimal and short spellings."""
    bare = host.strip("[]").split("%", 1)[0].removesuffix(".")
    if not bare.isascii() or len(bare) > 64:
        return None
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


def _read_as_decimal(host: str) -> IPAddress | None:
    """How 010.0.0.1 is read by a program that does not take a leading zero for octal."""
    plain = [part.lstrip("0") or "0" for part in host.split(".")]
    return parse_ip(".".join(plain)) if all(part.isdigit() for part in plain) else None


def is_this_machine(host: str) -> bool:
    """Whether a host name or IP address, in any spelling, is this machine itself."""
    address = parse_ip(host)
    if address is None:
        return host.lower().removesuffix(".") == "localhost"
    wrapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (wrapped or address).is_loopback


def is_public_ip(address: IPAddress) -> bool:
    """Whether an address, and any IPv4 address wrapped inside it, is globally reachable.

    Obsolete tunnels (6to4, Teredo, v4-compatible) count as not public.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if any(address in network for network in _CARRIES_IPV4):
        return is_public_ip(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_PUBLIC_6)


def looks_signed(query: bytes) -> bool:
    """Whether the query of an address looks like one that gives access for a limited time."""
    names = {name.lower() for name, _ in parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True)}
    return not _SIGNED.isdisjoint(names)


def without_signature(address: str) -> str:
    """An address without the signature of a known storage service: it names the same file."""
    bare, _, query = address.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    names = {pair.partition("=")[0].lower() for pair in pairs}
    for signature, removed in _SIGNERS:
        if signature <= names:
            pairs = [pair for pair in pairs if not removed.fullmatch(pair.partition("=")[0])]
            return f"{bare}?{'&'.join(pairs)}" if pairs else bare
    return address
