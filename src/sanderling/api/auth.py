"""
Whose request it is: the organization of the key, or the one organization of an open server.

A server without keys is open to whoever reaches it, which is why it listens on loopback only. A web
browser on the machine reaches it too, and does what the pages of strangers say, so those are turned
away. From the first active key on, every request needs one. Keys are looked up by digest, so the
time a look-up takes says nothing about the key.
"""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

from sanderling.errors import Unauthorized
from sanderling.store.keys import digest_of
from sanderling.store.store import Store

# Owns what is made while a server has no keys.
OPEN_ORGANIZATION = "org_default"
# Names nobody can have pointed at us from afar (RFC 6761, 6762, 9476 and Docker's own).
_NEARBY = (".localhost", ".local", ".internal")


async def organization(request: HTTPConnection) -> str:
    """
    Return the id of the organization that `request` acts for, and count the request as its.

    Raises:
        Unauthorized: keys exist, and the request has none or another; or none exist, and it is a
        web page that asks.
        RateLimited: the organization has too many requests at work.
    """
    organization_id = await identify(request)
    request.state.admit(organization_id)  # `middleware.py` counts
    return organization_id


async def identify(request: HTTPConnection) -> str:
    """Return the id of the organization, without counting. Raises Unauthorized: as above."""
    store: Store = request.app.state.services.store
    token = _token(request)
    key, has_keys = await store.keys.admit(digest_of(token) if token else None)
    if key is not None:
        return key.organization_id
    if not has_keys:
        _refuse_web_pages(request)
        return OPEN_ORGANIZATION
    if token:
        raise Unauthorized(f"Incorrect API key provided: {_masked(token)}.")
    raise Unauthorized(
        "You didn't provide an API key. Provide it in an Authorization header: "
        "'Authorization: Bearer YOUR_KEY'."
    )


def _refuse_web_pages(request: HTTPConnection) -> None:
    """
    Raises:
        Unauthorized: a page of another site asks (it has an Origin), or one whose own name was
        made to lead here (DNS rebinding; the browser sends that name as Host).
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    is_foreign = origin is not None and origin.partition("://")[2] != host
    if is_foreign or not _is_nearby(_without_port(host)):
        raise Unauthorized(
            "This server has no API keys and answers programs of its own machine only, not web "
            "pages and not under the name of another machine. Create a key with: sanderling keys "
            "create NAME"
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_nearby(name: str) -> bool:
    """Whether a host is an address, or a name that only this network can have given."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.lower().endswith(_NEARBY)
    return True


def _token(request: HTTPConnection) -> str | None:
    """
    Return the key of `Authorization: Bearer`, or of `api-key`, which Azure's SDKs send, or of
    `X-API-Key`, which clients of `model/response` do.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("api-key") or request.headers.get("x-api-key") or None


def _masked(token: str) -> str:
    """Show enough of a key to recognize it, never enough to use it."""
    return f"{token[:3]}***{token[-4:]}" if len(token) >= 16 else "***"
