"""What a host of boxes is started with."""

from __future__ import annotations

from dataclasses import dataclass

from sanderling.environments.catalog import DEFAULT
from sanderling.sandbox import levels


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What a host is started with. A server uses a living host only if all of this is the same."""

    env: str
    disk_bytes: int
    logs_bytes_max: int
    pool_size: int
    boxes_max: int
    boxes_per_tenant_max: int = 500
    executions_max: int = 64
    isolation: str = levels.DEFAULT
    min_isolation: str = levels.DEFAULT
    egress_domains: str = ""  # the operator's list; empty: no box has a way out
    preload: str = ""  # as `preloads.parse` reads it
    environments: str = ""  # the folder of the named ones; empty: there are none
    environment: str = DEFAULT  # of whoever names none; the default one is in `env`
    environments_max: int = 4
    environment_idle_s: float = 600.0
