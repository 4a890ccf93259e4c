"""The environment of a container: which may be asked for, what comes back, and who keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import ContainerCreateResponse
from openai.types.responses import Response

from sanderling.models.scripted import code, text
from sanderling.settings import Settings
from tests.api.making import Api, memory_api
from tests.doubles.planted import plant


def tool(environment: Any = None) -> dict[str, Any]:
    container = {"type": "auto"} | ({} if environment is None else {"environment": environment})
    return {"type": "code_interpreter", "container": container}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    folder = tmp_path / "environments"
    for name in ("geo", "text"):
        plant(folder, name)
    turns = [turn for _ in range(3) for turn in (code("1"), text("One."))]
    async with memory_api(tmp_path, *turns, settings=Settings(environments=folder)) as made:
        yield made


async def test_a_container_says_its_environment_and_its_box_gets_it(api: Api) -> None:
    container = await api.json("POST", "/v1/containers", {"name": "x", "environment": "geo"})
    ContainerCreateResponse.model_validate(container, strict=False)
    await api.json("POST", f"/v1/containers/{container['id']}/executions", {"code": "1"})

    assert container["environment"] == "geo"
    assert (await api.json("GET", f"/v1/containers/{container['id']}"))["environment"] == "geo"
    assert api.sandbox.environments == {container["id"]: "geo"}


@pytest.mark.parametrize("body", [{}, {"environment": None}, {"environment": "default"}])
async def test_who_asks_for_none_gets_the_usual_one(api: Api, body: Any) -> None:
    container = await api.json("POST", "/v1/containers", {"name": "x", **body})

    assert container["environment"] == "default"


async def test_the_operator_chooses_the_usual_one(tmp_path: Path) -> None:
    plant(tmp_path / "environments", "geo")
    settings = Settings(environments=tmp_path / "environments", environment="geo")
    async with memory_api(tmp_path, settings=settings) as api:
        usual = await api.json("POST", "/v1/containers", {"name": "x"})
        asked = await api.json("POST", "/v1/containers", {"name": "x", "environment": "default"})

    assert (usual["environment"], asked["environment"]) == ("geo", "default")


@pytest.mark.parametrize("place", ["container", "tool"])
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("nope", "invalid_value", "'nope'. Environments of this server are: 'default', 'geo',"),
        ("../geo", "invalid_value", "'../geo'"),
        ("Geo", "invalid_value", "'Geo'"),
        ("", "string_too_short", ""),
        ("x" * 65, "string_above_max_length", "64"),
        (5, "invalid_type", "a string"),
    ],
)
async def test_what_is_not_there_is_refused_by_its_name(
    api: Api, place: str, name: Any, kind: str, words: str
) -> None:
    if place == "container":
        param = "environment"
        refusal = await api.error("POST", "/v1/containers", {"name": "x", "environment": name})
    else:
        param = "tools[0].container.environment"
        refusal = await api.error("POST", "/v1/responses", {"input": "x", "tools": [tool(name)]})
    status, error = refusal

    assert (status, error["param"]) == (400, param)
    if kind != "string_too_short":
        assert error["code"] == kind
    assert words in error["message"]


async def test_a_response_uses_a_container_again_only_if_it_has_the_environment(api: Api) -> None:
    used = []
    previous = None
    for tools in ([tool("geo")], [tool()], [tool("geo")]):
        body = {"input": "x", "tools": tools, "previous_response_id": previous}
        response = await api.json("POST", "/v1/responses", body)
        Response.model_validate(response, strict=False)
        previous = response["id"]
        used += [i["container_id"] for i in response["output"] if "container_id" in i]
        assert response["tools"][0]["container"].get("environment") == (
            tools[0]["container"].get("environment")
        )

    assert used[0] != used[1]
    assert used[2] == used[0]
