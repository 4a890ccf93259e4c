"""
Models: what the model server offers, listed and by name.

Source: OpenAI API reference, "Models".
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

from sanderling.api import shapes
from sanderling.api.auth import organization
from sanderling.api.describing import described
from sanderling.api.replies import json_reply
from sanderling.api.routing import Partners
from sanderling.errors import NotFound

router = APIRouter(dependencies=[Depends(organization)])


def model_object(name: str) -> dict[str, Any]:
    """Return the model as clients see it. When it was made is not known to us: 0."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "sanderling"}


@router.get("/models")
@described(shapes.ModelList, statuses=(502, 504))
async def list_models(services: Partners) -> Response:
    """List the models of the model server; the offline model's own name without one."""
    names = await services.model.names()
    return json_reply({"object": "list", "data": [model_object(name) for name in names]})


@router.get("/models/{name:path}")
@described(shapes.Model, statuses=(502, 504))
async def retrieve_model(name: str, services: Partners) -> Response:
    """Return one model; names may hold slashes."""
    if name not in await services.model.names():
        raise NotFound(
            f"The model `{name}` does not exist or you do not have access to it.",
            param="model",
            code="model_not_found",
        )
    return json_reply(model_object(name))
