"""Keys: none means open, one means required, and what is another's is not there."""

from __future__ import annotations

import pytest

from sanderling.store.keys import new_key
from tests.api.making import Api


async def add_key(api: Api, organization_id: str) -> str:
    plain, record = new_key("test", organization_id, now=api.services.clock.now())
    await api.services.store.keys.insert(record)
    return plain


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_without_keys_everybody_may_in_and_any_key_is_taken(api: Api):
    for headers in ({}, bearer("sk-anything")):
        assert (await api.http.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9", "host": "127.0.0.1:8000"},
        {"host": "rebound.example:8000"},
        {"host": "rebound.example:8000", "origin": "http://rebound.example:8000"},
    ],
)
async def test_an_open_server_does_not_do_what_web_pages_say(api: Api, headers: dict[str, str]):
    # No content type: what a page may send anywhere without asking first.
    reply = await api.http.post("/v1/containers", content=b'{"name":"x"}', headers=headers)
    key = await add_key(api, "org_a")
    with_key = await api.http.get("/v1/containers", headers=headers | bearer(key))

    assert (reply.status_code, with_key.status_code) == (401, 200)
    assert with_key.json()["data"] == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "[::1]:8000", "localhost", "box", "host.docker.internal:8000"]
)
async def test_an_open_server_answers_to_the_names_of_its_machine(api: Api, host: str):
    assert (await api.http.get("/v1/models", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "You didn't provide an API key."),
        ({"authorization": "Basic abc"}, "You didn't provide an API key."),
        ({"authorization": "Bearer "}, "You didn't provide an API key."),
        (
            bearer("sk-0123456789abcdef"),
            "Incorrect API key provided: sk-***cdef.",
        ),
        ({"api-key": "short"}, "Incorrect API key provided: ***."),
        ({"authorization": b"Bearer \xff\xfe"}, "Incorrect API key provided: ***."),
    ],
)
async def test_with_a_key_everything_needs_it(api: Api, headers, words):
    await add_key(api, "org_a")

    for path in ("/v1/models", "/v1/files", "/v1/containers", "/v1/responses/resp_x"):
        status, error = await api.error("GET", path, headers=headers)
        assert (status, error["type"], error["code"]) == (
            401,
            "invalid_request_error",
            "invalid_api_key",
        )
        assert error["message"].startswith(words)


async def test_key_is_taken_as_bearer_and_as_azures_header(api: Api):
    key = await add_key(api, "org_a")

    for headers in (bearer(key), {"api-key": key}):
        assert (await api.http.get("/v1/models", headers=headers)).status_code == 200


async def test_revoked_key_is_refused(api: Api):
    key = await add_key(api, "org_a")
    await add_key(api, "org_a")
    (record, _) = await api.services.store.keys.all()
    await api.services.store.keys.revoke(record.id)

    status, _ = await api.error("GET", "/v1/models", headers=bearer(key))
    assert status == 401


async def test_what_another_organization_owns_is_not_there(api: Api):
    mine, theirs = bearer(await add_key(api, "org_a")), bearer(await add_key(api, "org_b"))
    file = await api.json(
        "POST",
        "/v1/files",
        files={"file": ("a.csv", b"a")},
        data={"purpose": "user_data"},
        headers=mine,
    )
    container = await api.json("POST", "/v1/containers", {"name": "x"}, headers=mine)

    for method, path in (
        ("GET", f"/v1/files/{file['id']}"),
        ("GET", f"/v1/files/{file['id']}/content"),
        ("DELETE", f"/v1/files/{file['id']}"),
        ("GET", f"/v1/containers/{container['id']}"),
        ("GET", f"/v1/containers/{container['id']}/files"),
        ("DELETE", f"/v1/containers/{container['id']}"),
    ):
        status, _ = await api.error(method, path, headers=theirs)
        assert status == 404
    for path in ("/v1/files", "/v1/containers"):
        assert (await api.json("GET", path, headers=theirs))["data"] == []
        assert len((await api.json("GET", path, headers=mine))["data"]) == 1


async def test_health_needs_no_key(api: Api):
    await add_key(api, "org_a")

    assert (await api.json("GET", "/health"))["status"] == "ok"
