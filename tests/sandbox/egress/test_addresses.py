from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanderling.sandbox.egress.addresses import refusal


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1",
     "223.255.255.255", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001::1",
     "64:ff9b::808:808"],
)  # fmt: skip
def test_a_public_address_is_not_refused(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1",
     "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
     "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
     "240.0.0.1", "255.255.255.255",
     "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
     "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:db8::1", "2001:10::1",
     "2002:7f00:1::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
     "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2a00::1%eth0"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_with_what_it_is(address: str) -> None:
    assert refusal(address)


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_is_public_here_that_python_calls_private_or_special(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    is_special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    if is_special and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert refusal(str(address))


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_address_behind_a_translator_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    behind = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))

    assert refusal(behind) == refusal(str(address))


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="site"):
        refusal("site.example")
