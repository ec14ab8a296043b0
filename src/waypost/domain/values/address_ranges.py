"""Ranges of IP addresses with a fast look-up, and the address of a client behind proxies."""

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

from waypost.errors import Invalid

#: Longer values of X-Forwarded-For are ignored.
LONGEST_FORWARDED = 2048


class AddressRanges:
    """Ranges of IPv4 and IPv6 addresses; a look-up takes the time of one binary search."""

    def __init__(self, networks: Iterable[str]) -> None:
        spans: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for text in networks:
            try:
                network = ip_network(text, strict=False)
            except ValueError as error:
                raise Invalid(
                    f"{text[:80]!r} is not an address or a range such as 192.0.2.0/24.", code="invalid_network"
                ) from error
            spans[network.version].append((int(network.network_address), int(network.broadcast_address)))
        self._bounds = {version: _merge(found) for version, found in spans.items()}
        self._any = any(spans.values())

    def __contains__(self, address: str) -> bool:
        """Return whether a numeric address is in one of the ranges; False for any other text."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        starts, ends = self._bounds[found.version]
        position = bisect_right(starts, int(found)) - 1
        return position >= 0 and int(found) <= ends[position]

    def __bool__(self) -> bool:
        return self._any


def read_ranges(text: str) -> AddressRanges:
    """Return the ranges in a text: separated by commas or line ends; `#` begins a comment."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return AddressRanges(item for line in lines for item in map(str.strip, line.split(",")) if item)


def client_address(peer: str, forwarded_for: str, trusted: AddressRanges) -> str:
    """Return the address of a client: the last in X-Forwarded-For that no trusted proxy has.

    Without a trusted peer the header is ignored: a client can write anything into it.
    """
    address = peer
    if not forwarded_for or len(forwarded_for) > LONGEST_FORWARDED:
        return address
    for part in reversed(forwarded_for.split(",")):
        if address not in trusted:
            break
        given = _without_port(part.strip())
        try:
            address = str(ip_address(given))
        except ValueError:
            break
    return address


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _merge(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return the starts and the ends of ranges that do not overlap, in order."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1] + 1:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
