"""The partners of the API room, made by `app.py` and handed to every route."""

from __future__ import annotations

from dataclasses import dataclass, field

from sanderling.api.cells import Cells
from sanderling.clock import Clock
from sanderling.containers.registry import Containers
from sanderling.models.base import Model
from sanderling.runs.runner import Runner
from sanderling.sandbox.base import Sandbox
from sanderling.settings import Settings
from sanderling.store.store import Store


@dataclass(frozen=True)
class Services:
    """Everything a route may ask for. Opened and closed by whoever made it."""

    settings: Settings
    store: Store
    containers: Containers
    runner: Runner
    model: Model
    sandbox: Sandbox
    clock: Clock
    # The cells clients run without a model. `await services.cells.close()` on server stop ends
    # them and their streams; `server.create_app`'s lifespan does so at the latest.
    cells: Cells = field(default_factory=Cells)
