"""
The states of a container and the only ways between them.

    running ──idle too long──► expired ──deleted by its owner──► deleted
       └───────────────────────deleted by its owner──────────────►┘

There is no way back: an expired container's data is gone, as the API documents, and the owner
makes a new one. A container that runs code is in use, however long ago it was touched. The store
makes the changes, each in one conditional update, so that two who see a deadline pass cannot
disagree; a deleted container behaves as absent from then on.
"""

from __future__ import annotations

from sanderling.errors import Expired, NotFound
from sanderling.records import Container


def deadline(container: Container) -> float:
    """Return the Unix second at which the container expires unless something touches it."""
    return container.last_active_at + container.expires_after_minutes * 60


def is_overdue(container: Container, now: float) -> bool:
    """Return whether a running container has been idle for too long at `now`."""
    return container.status == "running" and now >= deadline(container)


def refuse_unless_running(container_id: str, container: Container | None) -> Container:
    """
    Return the container if it can be used.

    Raises:
        NotFound: there is none, or its owner deleted it.
        Expired: its time is over.
    """
    if container is None:
        raise NotFound(f"Container with id '{container_id}' not found.")
    if container.status == "expired":
        raise Expired("Container is expired.")
    return container
