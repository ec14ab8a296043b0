"""Ranges of addresses are found by binary search, and the client behind proxies by those that are trusted."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.address_ranges import AddressRanges, client_address, read_ranges
from waypost.errors import Invalid

networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda pair: f"{pair[0]}/{pair[1]}")


@given(st.lists(networks, max_size=8), st.ip_addresses())
def test_an_address_is_found_as_the_networks_say(texts: list[str], address):
    found = str(address) in AddressRanges(texts)
    given_ = [ip_network(text, strict=False) for text in texts]
    mapped = getattr(address, "ipv4_mapped", None)
    assert found is any((mapped or address) in network for network in given_)


@given(st.lists(networks, min_size=1, max_size=8))
def test_the_ends_of_a_range_belong_to_it(texts: list[str]):
    ranges = AddressRanges(texts)
    for text in texts:
        network = ip_network(text, strict=False)
        for end in network.network_address, network.broadcast_address:
            # One that is an IPv4 address in the form of IPv6 is looked up as that.
            assert getattr(end, "ipv4_mapped", None) is not None or str(end) in ranges


def test_a_file_has_comments_and_commas():
    ranges = read_ranges("# clouds\n192.0.2.0/24, 198.51.100.7 # one\n\n2001:db8::/32\n")
    assert ranges
    for inside in ("192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8::1", "::ffff:192.0.2.9"):
        assert inside in ranges
    for outside in ("192.0.1.255", "192.0.3.0", "198.51.100.8", "2001:db9::", "", "x", "192.0.2"):
        assert outside not in ranges
    assert not read_ranges("\n# nothing\n")
    with pytest.raises(Invalid, match="'x' is not an address or a range") as caught:
        read_ranges("192.0.2.0/24\nx")
    assert caught.value.code == "invalid_network"


TRUSTED = read_ranges("127.0.0.0/8, ::1, 10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        # Whoever is not trusted can write anything.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "[2001:db8::7]:8443", "2001:db8::7"),
        ("127.0.0.1", "198.51.100.7:8443", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", "," * 100, "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7," * 1000, "127.0.0.1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_the_client_is_the_last_address_that_no_proxy_has(peer: str, forwarded_for: str, expected: str):
    assert client_address(peer, forwarded_for, TRUSTED) == expected
