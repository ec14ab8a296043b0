"""Forbidden addresses and URLs, in every spelling."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.egress_guard import Networks, check_url, forbidden, parse_networks
from waypost.errors import Invalid

CLOSED: Networks = ()
REFUSED_IPV4 = [
    ("0.0.0.0/32", "unspecified address"),
    ("0.0.0.0/8", "address of this network"),
    ("10.0.0.0/8", "private address"),
    ("100.64.0.0/10", "carrier-grade NAT address"),
    ("127.0.0.0/8", "loopback address"),
    ("169.254.0.0/16", "link-local address"),
    ("169.254.169.254/32", "cloud metadata address"),
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
    ("255.255.255.255/32", "broadcast address"),
    ("169.254.170.2/32", "cloud metadata address"),
    ("169.254.170.23/32", "cloud metadata address"),
    ("192.0.0.192/32", "cloud metadata address"),
    ("100.100.100.200/32", "cloud metadata address"),
    ("168.63.129.16/32", "cloud metadata address"),
]
REFUSED_IPV6 = [
    ("::/128", "unspecified address"),
    ("::1/128", "loopback address"),
    ("64:ff9b:1::/48", "local NAT64 address"),
    ("100::/64", "discard address"),
    ("2001::/32", "Teredo address"),
    ("2001:2::/48", "protocol assignment address"),
    ("2001:10::/28", "protocol assignment address"),
    ("2001:db8::/32", "documentation address"),
    ("3fff::/20", "documentation address"),
    ("4000::/16", "not a global address"),
    ("5f00::/16", "segment routing address"),
    ("8000::/1", "not a global address"),
    ("fc00::/7", "private address"),
    ("fd00:ec2::254/128", "cloud metadata address"),
    ("fd00:ec2::23/128", "cloud metadata address"),
    ("fd20:ce::254/128", "cloud metadata address"),
    ("fe80::/10", "link-local address"),
    ("fec0::/10", "site-local address"),
    ("ff00::/8", "multicast address"),
    ("200::/7", "not a global address"),
]
CARRIERS = {
    "mapped": lambda inner: (0xFFFF << 32) | inner,
    "translated": lambda inner: (0xFFFF << 48) | inner,
    "compatible": lambda inner: inner,
    "NAT64": lambda inner: (0x64FF9B << 96) | inner,
    "local NAT64": lambda inner: (0x64FF9B0001 << 80) | inner,
    "6to4": lambda inner: (0x2002 << 112) | (inner << 80),
    "6to4 of a host": lambda inner: (0x2002 << 112) | (inner << 80) | 0x1_0000_0000_0000_0053,
}


def wide(text: str) -> str:
    """Return the text in full-width letters, which NFKC maps to ASCII."""
    return "".join([chr(ord(letter) + 0xFEE0) for letter in text])


ipv4_refused = st.one_of([st.ip_addresses(network=network) for network, _ in REFUSED_IPV4])
ipv6_refused = st.one_of([st.ip_addresses(network=network) for network, _ in REFUSED_IPV6])


def carry(name: str, inner: IPv4Address) -> str:
    return str(IPv6Address(CARRIERS[name](int(inner))))


@pytest.mark.parametrize(("network", "reason"), REFUSED_IPV4 + REFUSED_IPV6)
def test_a_refused_range_is_named(network, reason):
    # The second address, if there is one: the first of 0.0.0.0/8 has its own reason.
    parsed = IPv6Network(network) if ":" in network else IPv4Network(network)
    assert forbidden(str(parsed[min(1, parsed.num_addresses - 1)]), CLOSED) == reason


@pytest.mark.parametrize(("network", "_reason"), REFUSED_IPV4 + REFUSED_IPV6)
def test_a_refused_range_is_refused_to_its_ends(network, _reason):
    parsed = IPv6Network(network) if ":" in network else IPv4Network(network)
    assert forbidden(str(parsed[0]), CLOSED)
    assert forbidden(str(parsed[-1]), CLOSED)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_a_public_address_may_be_reached(address):
    assert forbidden(address, CLOSED) is None


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0177.0.0.1", "2130706433", "1.2.3.4 ", "[::1]", "fe80::1%", "1.2.3.4%eth0"]
)
def test_what_is_not_a_numeric_address_is_refused(text):
    assert forbidden(text, parse_networks("0.0.0.0/0, ::/0")) == "not a numeric address"


def test_a_scope_changes_nothing():
    assert forbidden("fe80::1%eth0", CLOSED) == "link-local address"
    assert forbidden("::1%lo", CLOSED) == "loopback address"
    assert forbidden("2606:4700:4700::1111%2", CLOSED) is None
    assert forbidden("fe80::1%eth0", parse_networks("fe80::/10")) is None


@given(address=ipv4_refused | ipv6_refused)
def test_no_address_of_a_refused_range_may_be_reached(address):
    assert forbidden(str(address), CLOSED)


@given(inner=ipv4_refused, carrier=st.sampled_from(sorted(CARRIERS)))
def test_a_refused_ipv4_address_is_refused_inside_any_ipv6_form(inner, carrier):
    assert forbidden(carry(carrier, inner), CLOSED)


@given(inner=st.ip_addresses(v=4), carrier=st.sampled_from(sorted(set(CARRIERS) - {"local NAT64"})))
def test_a_carried_address_is_judged_as_the_one_inside(inner, carrier):
    # ::0 and ::1 are addresses of IPv6 itself and embed no IPv4 address.
    if carrier != "compatible" or int(inner) > 1:
        assert forbidden(carry(carrier, inner), CLOSED) == forbidden(str(inner), CLOSED)


@given(inner=ipv4_refused, carrier=st.sampled_from(sorted(CARRIERS)))
def test_opening_an_ipv4_address_opens_every_form_of_it(inner, carrier):
    allow = parse_networks(str(inner))
    assert forbidden(str(inner), allow) is None
    if carrier != "compatible" or int(inner) > 1:
        assert forbidden(carry(carrier, inner), allow) is None


@given(address=ipv4_refused | ipv6_refused)
def test_opening_other_ranges_opens_nothing(address):
    assert forbidden(str(address), parse_networks("8.8.8.0/24, 2606:4700::/32"))


@given(address=ipv4_refused | ipv6_refused)
def test_an_operator_can_open_everything(address):
    assert forbidden(str(address), parse_networks("0.0.0.0/0,::/0")) is None


def test_opening_ipv4_does_not_open_ipv6_loopback():
    assert forbidden("::1", parse_networks("0.0.0.0/0")) == "loopback address"
    assert forbidden("::1", parse_networks("127.0.0.0/8,::1")) is None


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        (" , ", ()),
        ("127.0.0.0/8", (IPv4Network("127.0.0.0/8"),)),
        (" 10.1.2.3 ,fd00::/8,", (IPv4Network("10.1.2.3/32"), IPv6Network("fd00::/8"))),
        ("::1", (IPv6Network("::1/128"),)),
    ],
)
def test_networks_are_read(text, networks):
    assert parse_networks(text) == networks


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("10.0.0.0/8,intranet", "'intranet'"),
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("10.0.0.0/255.0.0.0", "did you mean 10.0.0.0/8?"),
        ("10.0.0.0/33", "'10.0.0.0/33'"),
        ("10.0.0.0/", "'10.0.0.0/'"),
        ("127.1", "'127.1'"),
        ("fe80::%eth0/10", "'fe80::%eth0/10'"),
        ("10.0.0.0/8;10.1.0.0/16", "'10.0.0.0/8;10.1.0.0/16'"),
    ],
)
def test_a_wrong_network_is_named(text, named):
    with pytest.raises(Invalid) as refused:
        parse_networks(text)
    assert refused.value.code == "invalid_network"
    assert named in refused.value.detail


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://example.com/hook", "https://example.com/hook"),
        ("HTTPS://EXAMPLE.com", "https://example.com/"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:80", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://example.com:/", "http://example.com/"),
        ("https://example.com:08443/", "https://example.com:8443/"),
        ("https://example.com./a?b=c&d[]=%20e#part", "https://example.com/a?b=c&d[]=%20e"),
        ("https://example.com?b=c", "https://example.com/?b=c"),
        ("https://example.com/a?", "https://example.com/a?"),
        ("https://example.com#@127.0.0.1/", "https://example.com/"),
        ("https://example.com/@127.0.0.1", "https://example.com/@127.0.0.1"),
        ("https://example.com/straße?q=ü", "https://example.com/stra%C3%9Fe?q=%C3%BC"),
        ('https://example.com/{a}"<b>', "https://example.com/%7Ba%7D%22%3Cb%3E"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("https://例え。テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        (f"https://{wide('example.com')}/", "https://example.com/"),
        ("https://my_service-1.example/", "https://my_service-1.example/"),
        ("https://127.example.com/", "https://127.example.com/"),
        ("https://0x.example/", "https://0x.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://8.8.2056/", "https://8.8.8.8/"),
        ("https://0x08080808./", "https://8.8.8.8/"),
        ("https://[2606:4700:4700:0:0:0:0:1111]:8443/", "https://[2606:4700:4700::1111]:8443/"),
        ("https://[::ffff:8.8.8.8]/", "https://[::ffff:808:808]/"),
    ],
)
def test_a_url_is_given_back_in_its_normal_form(url, normal):
    assert check_url(url, CLOSED) == normal
    assert check_url(normal, CLOSED) == normal


@pytest.mark.parametrize(
    ("code", "url"),
    [
        ("url_scheme", ""),
        ("url_scheme", "example.com/hook"),
        ("url_scheme", "//example.com/hook"),
        ("url_scheme", "ftp://example.com/"),
        ("url_scheme", "file:///etc/passwd"),
        ("url_scheme", "gopher://example.com/"),
        ("url_scheme", "http:/example.com"),
        ("url_scheme", "http:example.com"),
        ("url_scheme", "http\u017f://example.com"),
        ("url_scheme", "javascript:alert(1)"),
        ("url_host", "http://"),
        ("url_host", "http:///example.com"),
        ("url_host", "http://?a"),
        ("url_host", "http://:80/"),
        ("url_host", "http://./"),
        ("url_host", "http://a..b/"),
        ("url_host", "http://example.com../"),
        ("url_host", "http://.example.com/"),
        ("url_host", f"http://{'a' * 64}.example/"),
        ("url_host", f"http://{'a.' * 127}com/"),
        ("url_host", f"http://{'.'.join(['üöäé' * 6] * 8)}.example/"),
        ("url_host", "http://ex%61mple.com/"),
        ("url_host", "http://%31%32%37.0.0.1/"),
        ("url_host", "http://a+b/"),
        ("url_host", "http://*.example.com/"),
        ("url_host", f"http://example.com{wide(':')}80/"),
        ("url_host", f"http://example.com{wide('#')}/"),
        ("url_host", f"http://a{wide('/')}b/"),
        ("url_host", f"http://user{wide('@')}example.com/"),
        ("url_host", "http://\u2100.example/"),
        ("url_host", "http://faß.example/"),
        ("url_host", "http://βόλος.example/"),
        ("url_host", "http://\u05d0a.example/"),
        ("url_host", "http://::1/"),
        ("url_host", "http://a:80:80/"),
        ("url_host", "http://[::1/"),
        ("url_host", "http://::1]/"),
        ("url_host", "http://[]/"),
        ("url_host", "http://[::1].example.com/"),
        ("url_host", "http://[::1]x/"),
        ("url_host", "http://[[::1]]/"),
        ("url_host", "http://[127.0.0.1]/"),
        ("url_host", "http://[v1.abc]/"),
        ("url_host", "http://[fe80::1%]/"),
        ("url_host", "http://[fe80::1%25]/"),
        ("url_host", "http://[fe80::1%a%b]/"),
        ("url_host", "http://1.2.3.4.5/"),
        ("url_host", "http://1.2.3.0.0/"),
        ("url_host", "http://256.1.1.1/"),
        ("url_host", "http://1.2.3.256/"),
        ("url_host", "http://1.2.65536/"),
        ("url_host", "http://4294967296/"),
        ("url_host", "http://0x100000000/"),
        ("url_host", "http://127.0.0.09/"),
        ("url_host", "http://127.0.0.0x/"),
        ("url_host", "http://0x/"),
        ("url_host", "http://a.1/"),
        ("url_host", "http://example.0x7f/"),
        ("url_host", "http://0b1.1/"),
        ("url_credentials", "http://user@example.com/"),
        ("url_credentials", "http://user:password@example.com/"),
        ("url_credentials", "http://@example.com/"),
        ("url_credentials", "http://8.8.8.8:80@127.0.0.1/"),
        ("url_port", "http://example.com:0/"),
        ("url_port", "http://example.com:65536/"),
        ("url_port", "http://example.com:100000/"),
        ("url_port", "http://example.com:http/"),
        ("url_port", "http://example.com:+80/"),
        ("url_port", "http://example.com:-1/"),
        ("url_port", f"http://example.com:{wide('80')}/"),
        ("url_port", "http://[2606::1]:x/"),
        ("url_malformed", " http://example.com/"),
        ("url_malformed", "http://example.com/ "),
        ("url_malformed", "http://exa mple.com/"),
        ("url_malformed", "http://example.com/a b"),
        ("url_malformed", "http://example.com/\r\nx-evil: 1"),
        ("url_malformed", "http://example.com\t/"),
        ("url_malformed", "ht\ntp://example.com/"),
        ("url_malformed", "http://example.com\\@127.0.0.1/"),
        ("url_malformed", "http:\\\\example.com/"),
        ("url_malformed", "http://example.com/\x00"),
        ("url_malformed", "http://example.com/\x7f"),
        ("url_malformed", "http://exam\u00adple.com/"),
        ("url_malformed", "http://example.com/\u2028"),
        ("url_malformed", "http://example.com/\u3000"),
        ("url_malformed", "http://example.com/\ud800"),
        ("url_malformed", "http://exam\u200dple.com/"),
        ("url_malformed", "http://\u0378.example/"),
        ("url_too_long", f"http://example.com/{'a' * 2048}"),
        ("url_too_long", f"http://example.com/{'ü' * 1000}"),
    ],
)
def test_a_bad_url_is_refused_for_its_reason(code, url):
    with pytest.raises(Invalid) as refused:
        check_url(url, CLOSED)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0x7f.0x0.0x0.0x1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0000000000177.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.0x1", "127.0.0.1"),
        (f"{wide('127')}.0.0.1", "127.0.0.1"),
        ("①②⑦.0.0.1", "127.0.0.1"),
        ("127。0。0。1", "127.0.0.1"),
        (f"127{wide('.')}0\uff610{wide('.')}1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0.0.0.0", "0.0.0.0"),
        ("169.254.169.254", "169.254.169.254"),
        ("2852039166", "169.254.169.254"),
        ("0xa9fe.0xa9fe", None),
        ("169.254.43518", "169.254.169.254"),
        ("10.1", "10.0.0.1"),
        ("192.168.257", "192.168.1.1"),
        ("255.255.255.255", "255.255.255.255"),
        ("[::]", "[::]"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("[::FFFF:7f00:1]", "[::ffff:7f00:1]"),
        ("[::127.0.0.1]", "[::7f00:1]"),
        ("[::ffff:0:127.0.0.1]", "[::ffff:0:7f00:1]"),
        ("[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]"),
        ("[64:ff9b:1::10.0.0.1]", "[64:ff9b:1::a00:1]"),
        ("[2002:7f00:1::]", "[2002:7f00:1::]"),
        ("[fe80::1%25eth0]", "[fe80::1%25eth0]"),
        ("[fe80::1%eth0]", "[fe80::1%25eth0]"),
        (f"[{wide('::1')}]", "[::1]"),
        ("[fd00:ec2::254]", "[fd00:ec2::254]"),
        ("localhost", "localhost"),
        ("LOCALHOST.", "localhost"),
        (wide("localhost"), "localhost"),
        ("api.localhost", "api.localhost"),
    ],
)
def test_a_private_host_is_known_in_every_spelling(host, normal):
    with pytest.raises(Invalid) as refused:
        check_url(f"http://{host}:8080/hook", CLOSED)
    if normal is None:
        assert refused.value.code == "url_host"
        return
    assert refused.value.code == "url_address"
    everything = parse_networks("0.0.0.0/0,::/0")
    assert check_url(f"http://{host}:8080/hook", everything) == f"http://{normal}:8080/hook"


def test_an_opened_range_is_reachable_and_nothing_else():
    allow = parse_networks("127.0.0.0/8")
    assert check_url("http://127.0.0.1:9/", allow) == "http://127.0.0.1:9/"
    assert check_url("http://localhost/", allow) == "http://localhost/"
    assert check_url("http://[::ffff:127.0.0.1]/", allow) == "http://[::ffff:7f00:1]/"
    for url in ("http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/"):
        with pytest.raises(Invalid, match="WAYPOST_ALLOW_PRIVATE"):
            check_url(url, allow)


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.com/{'a' * (2048 - 19)}",
        f"http://{'a.' * 125}com/",
        f"http://{'a' * 63}.example/",
        "http://example.com:1/",
        "http://example.com:65535/",
    ],
)
def test_the_longest_and_largest_are_taken(url):
    assert check_url(url, CLOSED) == url


def test_a_password_does_not_come_back_in_the_message():
    with pytest.raises(Invalid) as refused:
        check_url("http://user:hunter2@example.com/", CLOSED)
    assert "hunter2" not in refused.value.detail


@st.composite
def spellings(draw: st.DrawFn, address: IPv4Address) -> str:
    """Generate any spelling that inet_aton of the C library accepts."""
    packed = address.packed
    heads = draw(st.integers(0, 3))
    numbers = [*packed[:heads], int.from_bytes(packed[heads:])]
    write = st.sampled_from(["{:d}", "0{:o}", "000{:o}", "0x{:x}", "0X{:X}", "0x00{:x}"])
    dotted = ".".join([draw(write).format(number) for number in numbers])
    dotted += draw(st.sampled_from(["", "."]))
    return wide(dotted) if draw(st.booleans()) else dotted


@given(data=st.data(), address=ipv4_refused)
def test_no_spelling_of_a_refused_address_passes(data, address):
    with pytest.raises(Invalid) as refused:
        check_url(f"http://{data.draw(spellings(address))}/", CLOSED)
    assert refused.value.code == "url_address"


@given(data=st.data(), address=st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_the_same_url(data, address):
    url = f"http://{data.draw(spellings(address))}/"
    assert check_url(url, parse_networks("0.0.0.0/0")) == f"http://{address}/"


def check(text: str) -> str | Invalid:
    try:
        return check_url(text, CLOSED)
    except Invalid as refused:
        return refused


pieces = st.sampled_from(
    [*"/:@?#[].%0178xaü ", "http", "https", "://", "//", "127", "::1", "0x7f", "example.com", "%25", "localhost", "ß"]
)


@given(
    text=st.text()
    | st.lists(pieces).map("".join)
    | st.lists(pieces).map(lambda found: "http://" + "".join(found))
    | st.text().map(lambda host: f"https://{host}/")
)
def test_any_text_is_refused_as_invalid_or_has_one_normal_form(text):
    outcome = check(text)
    if isinstance(outcome, Invalid):
        assert outcome.code.startswith("url_")
        assert outcome.detail.encode()
    else:
        assert outcome.isascii()
        assert check_url(outcome, CLOSED) == outcome
