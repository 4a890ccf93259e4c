"""
Whose request it is: the organization of the key, or the one organization of an open server.

A server without keys is open to whoever reaches it, which is why it listens on loopback only. From
the first active key on, every request needs one. Keys are looked up by digest, so the time a
look-up takes says nothing about the key.
"""

from __future__ import annotations

from starlette.requests import Request

from sanderling.errors import Unauthorized
from sanderling.store.keys import digest_of
from sanderling.store.store import Store

# Owns what is made while a server has no keys.
OPEN_ORGANIZATION = "org_default"


async def organization(request: Request) -> str:
    """
    Return the id of the organization that `request` acts for.

    Raises:
        Unauthorized: keys exist, and the request has none or another.
    """
    store: Store = request.app.state.services.store
    token = _token(request)
    key, has_keys = await store.keys.admit(digest_of(token) if token else None)
    if key is not None:
        return key.organization_id
    if not has_keys:
        return OPEN_ORGANIZATION
    if token:
        raise Unauthorized(f"Incorrect API key provided: {_masked(token)}.")
    raise Unauthorized(
        "You didn't provide an API key. Provide it in an Authorization header: "
        "'Authorization: Bearer YOUR_KEY'."
    )


def _token(request: Request) -> str | None:
    """Return the key of `Authorization: Bearer`, or of `api-key`, which Azure's SDKs send."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("api-key") or None


def _masked(token: str) -> str:
    """Show enough of a key to recognize it, never enough to use it."""
    return f"{token[:3]}***{token[-4:]}" if len(token) >= 16 else "***"
