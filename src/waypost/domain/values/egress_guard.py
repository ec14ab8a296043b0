"""The egress guard: which network addresses a user-supplied URL may reach, and its normal form."""

import re
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

from waypost.errors import Invalid

Networks = tuple[IPv4Network | IPv6Network, ...]

LONGEST_URL = 2048
LONGEST_NAME = 253
DEFAULT_PORTS = {"http": 80, "https": 443}

# The first match gives the reason, so a single address precedes the range that contains it.
# Sources: the IANA special-purpose address registries and the metadata services of the clouds.
FORBIDDEN_IPV4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("169.254.169.254", "cloud metadata address"),
        ("169.254.170.2", "cloud metadata address"),
        ("169.254.170.23", "cloud metadata address"),
        ("100.100.100.200", "cloud metadata address"),
        ("192.0.0.192", "cloud metadata address"),
        ("168.63.129.16", "cloud metadata address"),
        ("255.255.255.255", "broadcast address"),
        ("0.0.0.0/32", "unspecified address"),
        ("0.0.0.0/8", "address of this network"),
        ("10.0.0.0/8", "private address"),
        ("100.64.0.0/10", "carrier-grade NAT address"),
        ("127.0.0.0/8", "loopback address"),
        ("169.254.0.0/16", "link-local address"),
        ("172.16.0.0/12", "private address"),
        ("192.0.0.0/24", "protocol assignment address"),
        ("192.0.2.0/24", "documentation address"),
        ("192.88.99.0/24", "6to4 relay address"),
        ("192.168.0.0/16", "private address"),
        ("198.18.0.0/15", "benchmarking address"),
        ("198.51.100.0/24", "documentation address"),
        ("203.0.113.0/24", "documentation address"),
        ("224.0.0.0/4", "multicast address"),
        ("240.0.0.0/4", "reserved address"),
    )
)
FORBIDDEN_IPV6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("fd00:ec2::254", "cloud metadata address"),
        ("fd00:ec2::23", "cloud metadata address"),
        ("fd20:ce::254", "cloud metadata address"),
        ("::", "unspecified address"),
        ("::1", "loopback address"),
        # The operator picks the prefix length inside this block (RFC 8215), so what its translator reads is not known.
        ("64:ff9b:1::/48", "local NAT64 address"),
        ("100::/64", "discard address"),
        ("2001::/32", "Teredo address"),
        ("2001::/23", "protocol assignment address"),
        ("2001:db8::/32", "documentation address"),
        ("3fff::/20", "documentation address"),
        ("5f00::/16", "segment routing address"),
        ("fc00::/7", "private address"),
        ("fe80::/10", "link-local address"),
        ("fec0::/10", "site-local address"),
        ("ff00::/8", "multicast address"),
    )
)
# IPv6 networks that embed an IPv4 address, and how many bits follow that address.
CARRIERS = tuple(
    (IPv6Network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),  # IPv4-mapped
        ("::ffff:0:0:0/96", 0),  # IPv4-translated
        ("::/96", 0),  # IPv4-compatible
        ("64:ff9b::/96", 0),  # NAT64
        ("64:ff9b:1::/48", 0),  # local NAT64, in its usual /96 layout
        ("2002::/16", 80),  # 6to4
    )
)
# Everything else is unallocated, so it is refused without being listed.
GLOBAL_IPV6 = IPv6Network("2000::/3")

URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.ASCII | re.IGNORECASE)
AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([^:]*))?")
PORT = re.compile(r"0*([0-9]{1,5})")
NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
ZONE = re.compile(r"[A-Za-z0-9_.~-]{1,32}")
LOOKS_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
NUMBERS = (
    (re.compile(r"0x([0-9a-f]+)"), 16),
    (re.compile(r"(0[0-7]*)"), 8),
    (re.compile(r"([1-9][0-9]*)"), 10),
)
# IDNA 2003 and 2008 send these letters to different domains, which different people may own.
AMBIGUOUS_LETTERS = frozenset("ßẞς")
# What may stand unescaped in a path or query; an existing escape stays as it is.
SAFE = "!$%&'()*+,/:;=?@[]~"


def parse_networks(text: str) -> Networks:
    """Return the ranges in a comma-separated list of CIDRs and single addresses. Raise Invalid for other text."""
    return tuple(_parse_network(item) for item in map(str.strip, text.split(",")) if item)


def forbidden(address: str, allow: Networks) -> str | None:
    """Return why a numeric address must not be reached, or None if it may. `allow` permits further ranges."""
    try:
        given = ip_address(address)
    except ValueError:
        return "not a numeric address"
    carried = _carried(given) if isinstance(given, IPv6Address) else None
    if any(given in network or (carried is not None and carried in network) for network in allow):
        return None
    if isinstance(given, IPv4Address):
        return _reason_ipv4(given)
    for network, reason in FORBIDDEN_IPV6:
        if given in network:
            return reason
    if carried is not None:
        return _reason_ipv4(carried)
    return None if given in GLOBAL_IPV6 else "not a global address"


def check_url(url: str, allow: Networks) -> str:
    """Return the normal form of a URL. Raise Invalid if it is malformed or names a forbidden address.

    Names are not resolved here: the caller that connects must check the resolved address with `forbidden`.
    """
    if len(url) > LONGEST_URL:
        raise _too_long()
    if not url.isprintable() or " " in url or "\\" in url:
        raise Invalid("The URL contains a space, a control character or a backslash; escape it.", code="url_malformed")
    parts = URL.fullmatch(url)
    if parts is None:
        raise Invalid("The URL must start with http:// or https://.", code="url_scheme")
    scheme, authority, path, query = parts[1].lower(), parts[2], parts[3] or "/", parts[4] or ""
    if "@" in authority:
        raise Invalid("The URL contains a user name or password; send credentials in a header.", code="url_credentials")
    pair = AUTHORITY.fullmatch(authority)
    if pair is None:
        raise _bad_host("an IPv6 address must be in brackets, and a port must follow one colon")
    port = _read_port(pair[2], DEFAULT_PORTS[scheme])
    host, address = _read_host(unicodedata.normalize("NFKC", pair[1]))
    reason = forbidden(address, allow) if address is not None else None
    if reason is not None:
        raise Invalid(
            f"The URL leads to {address}, which may not be reached from here: {reason}. "
            "An operator can permit ranges with WAYPOST_ALLOW_PRIVATE.",
            code="url_address",
        )
    shown_port = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    normal = f"{scheme}://{host}{shown_port}{quote(path, safe=SAFE)}{quote(query, safe=SAFE)}"
    # Percent-encoding of non-ASCII letters makes a URL longer.
    if len(normal) > LONGEST_URL:
        raise _too_long()
    return normal


def _parse_network(item: str) -> IPv4Network | IPv6Network:
    _, slash, prefix = item.partition("/")
    # The library also accepts scope ids and netmasks, which a list of ranges does not allow.
    if "%" not in item and (not slash or (prefix.isascii() and prefix.isdigit())):
        try:
            return ip_network(item)
        except ValueError:
            pass
    try:
        meant = f"; did you mean {ip_network(item, strict=False)}?"
    except ValueError:
        meant = ", such as 10.0.0.0/8, 192.168.1.7 or fd00::/8."
    raise Invalid(f"{item[:80]!r} is not a network or an address{meant}", code="invalid_network")


def _carried(address: IPv6Address) -> IPv4Address | None:
    bits = int(address)
    # Unspecified and loopback lie in the IPv4-compatible block, but embed no address.
    if bits > 1:
        for network, shift in CARRIERS:
            if address in network:
                return IPv4Address(bits >> shift & 0xFFFFFFFF)
    return None


def _reason_ipv4(address: IPv4Address) -> str | None:
    return next((reason for network, reason in FORBIDDEN_IPV4 if address in network), None)


def _too_long() -> Invalid:
    return Invalid(f"The URL is longer than {LONGEST_URL} characters.", code="url_too_long")


def _bad_host(reason: str) -> Invalid:
    return Invalid(f"The URL's host cannot be read: {reason}.", code="url_host")


def _read_port(text: str | None, default: int) -> int:
    if not text:
        return default
    digits = PORT.fullmatch(text)
    port = int(digits[1]) if digits is not None else 0
    if not 1 <= port <= 65535:
        raise Invalid("The URL's port must be a number from 1 to 65535.", code="url_port")
    return port


def _read_host(host: str) -> tuple[str, str | None]:
    """Return the normal form of a host, and its address if no resolver is needed, else None."""
    if host.startswith("["):
        return _read_ipv6(host[1:-1])
    if not host:
        raise _bad_host("there is none")
    if len(host) > LONGEST_NAME:
        raise _bad_host(f"it is longer than {LONGEST_NAME} characters")
    if not AMBIGUOUS_LETTERS.isdisjoint(host):
        raise _bad_host("some programs read ß and ς as other letters; write the name in its xn-- form")
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise _bad_host("it is not a valid internationalised name") from None
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise _bad_host("a name is made of letters, digits, hyphens, underscores and single dots")
    if LOOKS_NUMERIC.fullmatch(name.rpartition(".")[2]):
        literal = str(_read_ipv4(name))
        return literal, literal
    if name == "localhost" or name.endswith(".localhost"):
        return name, "127.0.0.1"
    return name, None


def _read_ipv6(text: str) -> tuple[str, str]:
    text, percent, zone = text.partition("%")
    # RFC 6874 writes the zone after an escaped percent sign; many programs accept a bare one.
    zone = zone.removeprefix("25")
    try:
        address = IPv6Address(text)
    except ValueError:
        raise _bad_host("there is no IPv6 address between the brackets") from None
    if not percent:
        return f"[{address}]", str(address)
    if not ZONE.fullmatch(zone):
        raise _bad_host("the zone of the IPv6 address is not valid")
    return f"[{address}%25{zone}]", str(address)


def _read_ipv4(name: str) -> IPv4Address:
    """Return the address of any spelling that inet_aton of the C library accepts: 127.1, 0x7f000001, 0177.0.0.1."""
    *heads, last = [_read_number(part) for part in name.split(".")]
    # The last number takes all the remaining bytes.
    room = 256 ** max(4 - len(heads), 0)
    if len(heads) > 3 or not 0 <= last < room or any(not 0 <= head <= 255 for head in heads):
        raise _bad_host("a host that ends in a number must be an IPv4 address")
    return IPv4Address(sum(head << 8 * (3 - place) for place, head in enumerate(heads)) + last)


def _read_number(text: str) -> int:
    """Return a number in C notation, or -1 if the text is not one."""
    for pattern, base in NUMBERS:
        digits = pattern.fullmatch(text)
        if digits is not None:
            return int(digits[1], base)
    return -1
