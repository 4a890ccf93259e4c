"""
Which addresses a box may be connected to: those of the public internet, and nothing else.

Refused are all ranges that the registries of IANA set aside ("IPv4 Special-Purpose Address Space",
"IPv6 Special-Purpose Address Space"), kept here as a list of our own: `ipaddress.is_global` means
different things in different versions of Python. Of IPv6 only global unicast is admitted, so that
what will be set aside tomorrow is refused today.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network

_IPV4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's own network"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "the services of a cloud"),  # Azure's, in a public range
        ("169.254.0.0/16", "link-local"),  # and the metadata of most clouds
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "a relay"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "a test network"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),  # 255.255.255.255 too
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarks
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "an IPv4 address in disguise"),  # 6to4
        ("3fff::/20", "documentation"),
    )
)
# Where a network speaks only IPv6, this is how the rest of the internet is reached (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: str) -> str | None:
    """
    Return what the address belongs to if no box may be connected to it, None if it is public.

    Raises:
        ValueError: it is not an address.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv4Address):
        return next((what for network, what in _IPV4 if found in network), None)
    if found.scope_id is not None:
        return "an address of one interface"
    if found in _NAT64:
        return refusal(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    if found not in _GLOBAL_UNICAST:
        return "not a public network"
    return next((what for network, what in _IPV6 if found in network), None)
