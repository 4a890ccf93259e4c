"""
Identifiers in the shapes clients know: a prefix that names the kind, then random characters.

Shapes are OpenAI's (`file-` has a dash, the others an underscore); lengths stay at or below 64
characters because gateways refuse longer ones. Randomness is `secrets`, so an id cannot be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
import string

_ALNUM = string.ascii_letters + string.digits

_HEX_CHARS = {  # prefix -> hex characters after it
    "resp": 50,
    "msg": 50,
    "rs": 50,
    "ci": 50,
    "fc": 50,
    "fco": 50,
    "cmp": 50,
    "cntr": 48,
    "conv": 48,
    "cfile": 32,
    "exec": 32,
    "upload": 32,
    "part": 32,
    "req": 32,
    "blob": 32,
    "key": 24,
}
_ALNUM_CHARS = {"file": 22, "call": 24}


def new_id(prefix: str) -> str:
    """
    Return a fresh id of the kind `prefix` names.

    Raises:
        KeyError: no kind has that prefix; a programmer's error.
    """
    if prefix in _HEX_CHARS:
        return f"{prefix}_{secrets.token_hex(_HEX_CHARS[prefix] // 2)}"
    separator = "-" if prefix == "file" else "_"
    return prefix + separator + "".join(secrets.choice(_ALNUM) for _ in range(_ALNUM_CHARS[prefix]))


def file_id_of(*parts: bytes) -> str:
    """Return the id of a file that these parts always have: a digest in place of chance."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    number = int.from_bytes(digest.digest(), "big")
    return "file-" + "".join(
        _ALNUM[number // len(_ALNUM) ** place % len(_ALNUM)]
        for place in range(_ALNUM_CHARS["file"])
    )
