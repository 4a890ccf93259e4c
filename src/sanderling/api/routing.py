"""What every route takes from a request: the partners, and whose request it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from sanderling.api.auth import organization
from sanderling.api.services import Services


async def _services(request: Request) -> Services:
    # `async`, though it waits for nothing: FastAPI would call a plain function in a thread.
    services: Services = request.app.state.services
    return services


Partners = Annotated[Services, Depends(_services)]
Organization = Annotated[str, Depends(organization)]
