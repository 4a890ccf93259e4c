from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanderling.sandbox.egress import domains

LABEL = st.text("abcxyz019_-", min_size=1, max_size=12).map(lambda t: f"a{t}z")
NAME = st.lists(LABEL, min_size=2, max_size=5).map(
    lambda labels: ".".join([*labels[:-1], "example"])
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        ("API.Example.COM", "api.example.com"),
        ("my_bucket.s3.example", "my_bucket.s3.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｘａｍｐｌｅ.com", "example.com"),
        ("1.2.3.4.nip.example", "1.2.3.4.nip.example"),
    ],
)
def test_a_name_has_one_form(text: str, name: str) -> None:
    assert domains.name(text) == name
    assert domains.name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "com", "localhost", "example.com.", ".example.com", "a..b", "a b.com",
        "a/b.com", "a@b.com", "a:80", "a.com:80", "http://a.com", "a.com/", "a%2e.com", "a\n.com",
        "-a.com", "a-.com", "a.-com", "a.c", "*.com.", "*", "*.example.com", "a.*.com",
        "127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "1.0x7f",
        "１２７.０.０.１", "①②⑦.0.0.1", "[::1]", "::1", "::ffff:1.2.3.4", "1.2.3.4.", "a.0x1",
        "x.local", "x.internal", "x.localhost", "1.in-addr.arpa", "x.onion", "x.home.arpa",
        "straße.example", "a\u200db.example", "\ud800.example", "a" * 64 + ".com",
        "a." * 126 + "com", "xn--.com\0", "a\u3002", "㏂.",
    ],
)  # fmt: skip
def test_what_is_no_public_name_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(domains.NotADomain) as refused:
        domains.name(text)

    said = str(refused.value)
    assert said.isascii()
    assert said.isprintable()
    assert said.endswith(".")


@settings(deadline=None)
@given(st.ip_addresses())
def test_no_address_is_a_name(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    number = int(address)
    spellings = [str(address), f"[{address}]", str(number), hex(number), f"{number:o}"]
    if address.version == 4:
        parts = str(address).split(".")
        spellings += [
            ".".join(hex(int(part)) for part in parts),
            ".".join(f"0{int(part):o}" for part in parts),
            f"{parts[0]}.{number & 0xFFFFFF}",
            f"::ffff:{address}",
        ]
    for text in spellings:
        with pytest.raises(domains.NotADomain):
            domains.name(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_whatever_is_said_a_name_is_plain_or_refused(text: str) -> None:
    try:
        name = domains.name(text)
    except domains.NotADomain:
        return

    assert name == name.lower()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert domains.name(name) == name


@settings(deadline=None)
@given(NAME, NAME)
def test_a_list_admits_its_names_and_what_is_below_its_wildcards(name: str, other: str) -> None:
    assert domains.covers((name,), name)
    assert domains.covers((other,), name) == (name == other)
    assert not domains.covers((f"*.{name}",), name)
    assert domains.covers((f"*.{name}",), f"{other}.{name}")
    assert not domains.covers((f"*.{name}",), f"x{name}")
    assert not domains.covers((name,), f"*.{name}")
    assert domains.covers((f"*.{name}",), f"*.{name}")
    assert domains.covers((f"*.{name}",), f"*.{other}.{name}")
    assert not domains.covers((f"*.{other}.{name}",), f"*.{name}")
    assert domains.covers(("*",), name)
    assert domains.covers(("*",), f"*.{name}")
    assert not domains.covers((), name)


def test_the_operators_list_is_read_between_commas() -> None:
    assert domains.operators_list("") == ()
    assert domains.operators_list(" pypi.org, *.PythonHosted.org,pypi.org ,") == (
        "pypi.org",
        "*.pythonhosted.org",
    )
    assert domains.operators_list("*") == ("*",)


@pytest.mark.parametrize(
    "text", ["*.com", "*.*.example.com", "**", "10.0.0.1", "*.", "a.com b.com"]
)
def test_an_operators_list_with_something_else_in_it_is_refused(text: str) -> None:
    with pytest.raises(domains.NotADomain):
        domains.operators_list(text)
