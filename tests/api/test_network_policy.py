"""The network policy of a container: what may be asked for, what comes back, and who keeps it."""

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

VALUE, MISSING = "invalid_value", "missing_required_parameter"
NONE = {"type": "disabled", "allowed_domains": None}


def allowlist(*domains: Any, **more: Any) -> dict[str, Any]:
    return {"type": "allowlist", "allowed_domains": list(domains), **more}


def tool(policy: dict[str, Any] | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {"type": "auto"}
    if policy is not None:
        container["network_policy"] = policy
    return {"type": "code_interpreter", "container": container}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    settings = Settings(egress_domains="site.example, *.many.example")
    turns = [code("1"), text("One."), code("2"), text("Two."), code("3"), text("Three.")]
    async with memory_api(tmp_path, *turns, settings=settings) as made:
        yield made


async def test_a_container_is_created_listed_and_kept_with_its_domains(api: Api) -> None:
    body = {
        "name": "x",
        "network_policy": allowlist("Site.Example", "a.many.example", "site.example"),
    }
    container = await api.json("POST", "/v1/containers", body)
    ContainerCreateResponse.model_validate(container, strict=False)

    assert container["network_policy"] == allowlist("site.example", "a.many.example")
    assert await api.json("GET", f"/v1/containers/{container['id']}") == container
    assert (await api.json("GET", "/v1/containers"))["data"] == [container]


async def test_the_box_of_a_container_gets_its_domains_and_so_does_the_next(api: Api) -> None:
    body = {"name": "x", "network_policy": allowlist("site.example")}
    container = await api.json("POST", "/v1/containers", body)
    path = f"/v1/containers/{container['id']}/executions"
    for _ in range(2):
        await api.json("POST", path, {"code": "1"})
        [box] = api.sandbox._boxes.values()
        assert box.limits.allowed_domains == ("site.example",)
        await api.sandbox.close(container["id"])


@pytest.mark.parametrize(
    "policy", [None, {"type": "disabled"}, {"type": "disabled", "allowed_domains": ["a.b"]}]
)
async def test_without_an_allowlist_there_is_no_network(api: Api, policy: Any) -> None:
    body = {"name": "x"} | ({} if policy is None else {"network_policy": policy})

    assert (await api.json("POST", "/v1/containers", body))["network_policy"] == NONE


SECRETS = [{"domain": "site.example", "name": "k", "value": "v"}]
NOT_ON_THE_LIST = (
    "'other.example'. Containers of this server may reach at most: site.example, *.many.example."
)


@pytest.mark.parametrize(
    ("policy", "where", "kind", "words"),
    [
        (allowlist("other.example"), ".allowed_domains", VALUE, NOT_ON_THE_LIST),
        (allowlist("many.example"), ".allowed_domains", VALUE, "'many.example'"),
        (allowlist("*.site.example"), ".allowed_domains", VALUE, "'*.site.example'"),
        (allowlist("*"), ".allowed_domains", VALUE, "not a domain name"),
        (allowlist("10.0.0.1"), ".allowed_domains", VALUE, "Addresses are never allowed"),
        (allowlist("site.example."), ".allowed_domains", VALUE, "ends with a dot"),
        (allowlist("http://site.example"), ".allowed_domains", VALUE, "not a domain name"),
        (allowlist(), ".allowed_domains", MISSING, "allowed_domains"),
        ({"type": "allowlist"}, ".allowed_domains", MISSING, "allowed_domains"),
        (allowlist(*["x.y"] * 101), ".allowed_domains", "array_above_max_length", "100"),
        (allowlist(5), ".allowed_domains[0]", "invalid_type", "a string"),
        (allowlist("x.y", domain_secrets=SECRETS), ".domain_secrets", VALUE, "not supported"),
        ({"type": "open"}, ".type", VALUE, "'disabled'"),
    ],
)
@pytest.mark.parametrize("place", ["container", "tool"])
async def test_what_cannot_be_had_is_refused_by_its_name(
    api: Api, place: str, policy: Any, where: str, kind: str, words: str
) -> None:
    if place == "container":
        prefix = "network_policy"
        refusal = await api.error("POST", "/v1/containers", {"name": "x", "network_policy": policy})
    else:
        prefix = "tools[0].container.network_policy"
        refusal = await api.error("POST", "/v1/responses", {"input": "x", "tools": [tool(policy)]})
    status, error = refusal

    assert (status, error["param"], error["code"]) == (400, prefix + where, kind)
    assert words in error["message"]


async def test_an_operator_who_says_nothing_allows_nothing(tmp_path: Path) -> None:
    async with memory_api(tmp_path) as api:
        policy = allowlist("site.example")
        for path, body, param in (
            ("/v1/containers", {"name": "x", "network_policy": policy}, "network_policy.type"),
            ("/v1/responses", {"tools": [tool(policy)]}, "tools[0].container.network_policy.type"),
        ):
            status, error = await api.error("POST", path, body)

            assert (status, error["param"], error["code"]) == (400, param, VALUE)
            assert "no network" in error["message"]


async def test_the_container_of_a_response_gets_the_domains_and_the_model_is_told(
    api: Api,
) -> None:
    body = {"input": "x", "tools": [tool(allowlist("site.example"))]}
    response = await api.json("POST", "/v1/responses", body)
    Response.model_validate(response, strict=False)
    [container] = (await api.json("GET", "/v1/containers"))["data"]
    system = api.services.model.requests[0].messages[0]["content"]  # type: ignore[attr-defined]

    assert container["network_policy"] == allowlist("site.example")
    assert response["tools"][0]["container"]["network_policy"] == allowlist("site.example")
    assert "Only these domains can be reached, over http:// and https://: site.example," in system


async def test_a_response_does_not_inherit_a_network_that_it_did_not_ask_for(api: Api) -> None:
    policy = allowlist("site.example")
    used = []
    previous = None
    for tools in ([tool(policy)], [tool()], [tool(policy)]):
        body = {"input": "x", "tools": tools, "previous_response_id": previous}
        response = await api.json("POST", "/v1/responses", body)
        previous = response["id"]
        used += [i["container_id"] for i in response["output"] if "container_id" in i]

    assert used[0] != used[1]
    assert used[2] == used[0]


async def test_an_explicit_container_keeps_its_own_policy(api: Api) -> None:
    body = {"name": "x", "network_policy": allowlist("site.example")}
    container = await api.json("POST", "/v1/containers", body)
    tools = [{"type": "code_interpreter", "container": container["id"]}]
    await api.json("POST", "/v1/responses", {"input": "x", "tools": tools})
    system = api.services.model.requests[0].messages[0]["content"]  # type: ignore[attr-defined]

    assert "site.example" in system
