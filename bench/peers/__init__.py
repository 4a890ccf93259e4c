"""Who is compared. A peer's module is imported only where the peer is wanted."""

from __future__ import annotations

import importlib
from typing import Any

from bench.peers.base import Peer

# In the order of the tables: ours, other people's, the floor.
_PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ours-pool": ("ours", "Sanderling", {"pool": 4}),
    "ours": ("ours", "Sanderling", {}),
    "ours-pool-gvisor": ("ours", "Sanderling", {"pool": 4, "level": "gvisor"}),
    "ours-gvisor": ("ours", "Sanderling", {"level": "gvisor"}),
    "ipykernel": ("jupyter", "IPyKernel", {}),
    "gateway": ("jupyter", "KernelGateway", {}),
    "ipython": ("processes", "BareIPython", {}),
    "codebox": ("processes", "CodeBox", {}),
    "bwrap": ("processes", "Bubblewrap", {}),
    "runsc": ("processes", "GVisor", {}),
    "python": ("processes", "PlainPython", {}),
    "python-c": ("processes", "StatelessPython", {}),
    "smolagents": ("interpreters", "Smolagents", {}),
    "monty": ("interpreters", "Monty", {}),
    "pyodide": ("processes", "Pyodide", {}),
    "fork": ("forked", "RawFork", {}),
}
KEYS = tuple(_PEERS)
OURS = tuple(key for key in KEYS if key.startswith("ours"))


def load(key: str) -> Peer:
    """Return the peer of that key."""
    module, name, arguments = _PEERS[key]
    peer: Peer = getattr(importlib.import_module(f"bench.peers.{module}"), name)(**arguments)
    return peer
