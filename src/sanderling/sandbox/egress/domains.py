"""
Names of domains, and which of them a list admits.

A name is compared in one form only: lower-case ASCII, as DNS has it. Whatever could be read as
something else is no name here: an address in any notation, a single label (this machine's, or the
next one's, by a search list), a trailing dot, a name that by its ending is not of the public DNS.

A list holds names, each admitting itself; `*.example.com`, which admits every name below
example.com at any depth and not example.com itself; and, in the operator's list alone, `*`, which
admits every name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAME_CHARS_MAX = 253  # RFC 1035, 2.3.4, as text
ANY = "*"
_BELOW = "*."

# Underscores are in use, if not by the letter of RFC 952.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Begins with a letter: neither 127.1, nor 0177.0.0.1, nor 0x7f.1 is a name.
_TOP_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])")
# RFC 6761, 6762, 7686, 8375, 9476 and ICANN's reservation of .internal.
_NOT_PUBLIC = frozenset({"alt", "arpa", "internal", "invalid", "local", "localhost", "onion"})
# Python's codec writes these as IDNA 2003 would, which is another domain than today's.
_DEVIATIONS = frozenset("ßẞς\u200c\u200d")
# Other dots of Unicode (RFC 3490, 3.1), and what looks like a part of a URL once normalised.
_LABEL_ENDS = re.compile(r"[\u3002\uff0e\uff61]")


class NotADomain(ValueError):
    """Its text is a whole sentence that says why."""


def name(text: str) -> str:
    """
    Return the name in the form it is compared in.

    Raises:
        NotADomain: it is none, or none that could be public.
    """
    given = text.lower()
    if not given.isascii():
        given = _ascii(text)
    labels = given.split(".")
    if given.endswith("."):
        raise NotADomain(f"{_shown(text)} ends with a dot; write the domain without it.")
    if len(given) > NAME_CHARS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise NotADomain(f"{_shown(text)} is not a domain name.")
    if len(labels) < 2 or not _TOP_LABEL.fullmatch(labels[-1]):
        raise NotADomain(
            f"{_shown(text)} is not the full name of a public domain. Addresses are never allowed."
        )
    if labels[-1] in _NOT_PUBLIC:
        raise NotADomain(f"{_shown(text)} is not a public domain: .{labels[-1]} is reserved.")
    return given


def pattern(text: str) -> str:
    """Return an entry of a list in the form it is compared in. Raises NotADomain."""
    if text.startswith(_BELOW):
        return _BELOW + name(text.removeprefix(_BELOW))
    return name(text)


def operators_list(text: str) -> tuple[str, ...]:
    """
    Read the operator's list: entries between commas; empty: none.

    Raises:
        NotADomain: an entry is neither a domain, nor `*.` and a domain, nor `*`.
    """
    entries = [entry.strip() for entry in text.split(",")]
    return tuple(dict.fromkeys(e if e == ANY else pattern(e) for e in entries if e))


def covers(entries: Iterable[str], wanted: str) -> bool:
    """Whether a list admits `wanted`: a name, or all that an entry of another list admits."""
    return any(_covers(entry, wanted) for entry in entries)


def _covers(entry: str, wanted: str) -> bool:
    if entry in (ANY, wanted):
        return True
    return entry.startswith(_BELOW) and wanted.removeprefix(_BELOW).endswith(entry[1:])


def _ascii(text: str) -> str:
    if _DEVIATIONS & set(text):
        raise NotADomain(f"{_shown(text)} can be written in two ways; write its ASCII form (xn--).")
    try:
        # Label by label: the codec would take an empty one at the end for a dot that is meant.
        labels = _LABEL_ENDS.sub(".", text).split(".")
        return ".".join(label.encode("idna").decode("ascii") for label in labels).lower()
    except UnicodeError as error:
        raise NotADomain(f"{_shown(text)} is not a domain name.") from error


def _shown(text: str) -> str:
    """The text as it may stand in an answer or a log: short, ASCII, on one line."""
    return ascii(text if len(text) <= 80 else text[:79] + "…")
