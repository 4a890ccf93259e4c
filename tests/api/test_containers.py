"""Containers, their files, and code that runs in them without a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.making import Api, memory_api, read_events, until
from tests.doubles.fake_clock import FakeClock

READ = "import pathlib\npathlib.Path('/mnt/data/a.txt').read_text()"
WRITE = (
    "import pathlib\n_ = pathlib.Path('/mnt/data/out.csv').write_text('1')\n"
    "show(b'png', name='chart.png')"
)


async def create(api: Api, **body: Any) -> Any:
    return await api.json("POST", "/v1/containers", {"name": "box", **body})


async def run(api: Api, container_id: str, code: str, **body: Any) -> Any:
    return await api.json(
        "POST", f"/v1/containers/{container_id}/executions", {"code": code, **body}
    )


# ---- containers --------------------------------------------------------------------------------


async def test_container_is_created_retrieved_listed_and_deleted(api: Api):
    container = await create(
        api,
        memory_limit="4g",
        expires_after={"anchor": "last_active_at", "minutes": 5},
        network_policy={"type": "disabled"},
    )

    assert container == {
        "id": container["id"],
        "object": "container",
        "created_at": container["created_at"],
        "status": "running",
        "expires_after": {"anchor": "last_active_at", "minutes": 5},
        "last_active_at": container["created_at"],
        "memory_limit": "4g",
        "name": "box",
        "network_policy": {"type": "disabled", "allowed_domains": None},
        "isolation": "zygote",
        "environment": "default",
    }
    again = await api.json("GET", f"/v1/containers/{container['id']}")
    assert again["id"] == container["id"]
    assert (await api.json("GET", "/v1/containers"))["first_id"] == container["id"]
    assert await api.json("DELETE", f"/v1/containers/{container['id']}") == {
        "id": container["id"],
        "object": "container.deleted",
        "deleted": True,
    }
    assert (await api.http.get(f"/v1/containers/{container['id']}")).status_code == 404
    assert (await api.json("GET", "/v1/containers"))["data"] == []


async def test_containers_are_filtered_by_name(api: Api):
    await create(api)
    other = await create(api, name="other")

    listing = await api.json("GET", "/v1/containers?name=other")

    assert [c["id"] for c in listing["data"]] == [other["id"]]


async def test_containers_are_paged_in_both_directions(api: Api):
    ids = [(await create(api, name="paged"))["id"] for _ in range(5)]
    await create(api)

    async def listed(query: str) -> tuple[list[str], bool]:
        listing = await api.json("GET", f"/v1/containers?name=paged&{query}")
        return [container["id"] for container in listing["data"]], listing["has_more"]

    assert await listed("order=asc&limit=5") == (ids, False)
    assert await listed(f"limit=2&after={ids[3]}") == ([ids[2], ids[1]], True)
    assert await listed(f"limit=2&before={ids[1]}") == ([ids[3], ids[2]], True)
    assert await listed(f"order=asc&limit=2&after={ids[2]}") == (ids[3:], False)
    assert await listed(f"order=asc&limit=3&before={ids[2]}") == (ids[:2], False)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (
            {"skills": [{"type": "skill_reference", "skill_id": "s"}]},
            "skills",
            "Skills are not supported by this server.",
        ),
        (
            {
                "network_policy": {
                    "type": "allowlist",
                    "allowed_domains": ["a.example"],
                    "domain_secrets": [{"domain": "a.example", "name": "n", "value": "v"}],
                }
            },
            "network_policy.domain_secrets",
            "Domain secrets are not supported by this server.",
        ),
    ],
)
async def test_what_containers_do_not_have_here_is_refused_by_name(api: Api, body, param, words):
    status, error = await api.error("POST", "/v1/containers", {"name": "x", **body})

    assert (status, error["param"], error["code"]) == (400, param, "invalid_value")
    assert error["message"] == words
    assert (await api.json("GET", "/v1/containers"))["data"] == []


async def test_defaults_are_the_documented_ones(api: Api):
    container = await create(api)

    assert container["memory_limit"] == "1g"
    assert container["expires_after"] == {"anchor": "last_active_at", "minutes": 20}


async def test_container_that_was_idle_too_long_is_expired_and_cannot_be_used(tmp_path: Path):
    clock = FakeClock()
    async with memory_api(tmp_path, clock=clock) as api:
        container = await create(api)
        path = f"/v1/containers/{container['id']}"
        clock.advance(minutes=19)
        assert (await api.json("GET", path))["last_active_at"] == int(clock.now())
        clock.advance(minutes=19)
        assert (await api.json("GET", path))["status"] == "running"
        clock.advance(minutes=21)

        assert (await api.json("GET", path))["status"] == "expired"
        status, error = await api.error("POST", f"{path}/executions", {"code": "1"})
        assert (status, error["message"]) == (400, "Container is expired.")
        for method, tail in (("POST", "/files"), ("GET", "/files"), ("DELETE", "/files/cfile_x")):
            body = {"file_id": "file-x"} if method == "POST" else None
            reply = await api.http.request(method, path + tail, json=body)
            assert (reply.status_code, reply.json()["error"]) == (
                400,
                {
                    "message": "Container is expired.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                },
            )
        assert (await api.json("DELETE", path))["deleted"] is True


# ---- files -------------------------------------------------------------------------------------


async def test_container_file_is_created_by_its_bytes(api: Api):
    container = await create(api)
    path = f"/v1/containers/{container['id']}/files"

    file = await api.json("POST", path, files={"file": ("sales.csv", b"a,b\n")})

    assert file == {
        "id": file["id"],
        "object": "container.file",
        "bytes": 4,
        "container_id": container["id"],
        "created_at": file["created_at"],
        "path": "/mnt/data/sales.csv",
        "source": "user",
        "mime_type": "text/csv",
    }
    assert await api.json("GET", f"{path}/{file['id']}") == file
    assert (await api.json("GET", path))["data"] == [file]
    assert (await api.http.get(f"{path}/{file['id']}/content")).content == b"a,b\n"
    assert (await api.http.get(f"/v1/files/{file['id']}/content")).content == b"a,b\n"
    assert await api.json("DELETE", f"{path}/{file['id']}") == {
        "id": file["id"],
        "object": "container.file.deleted",
        "deleted": True,
    }
    assert (await api.json("GET", path))["data"] == []


async def test_container_file_is_created_from_a_stored_one_in_both_spellings(api: Api):
    stored = await api.upload(b"abc", "a.txt")
    container = await create(api)
    path = f"/v1/containers/{container['id']}/files"

    by_json = await api.json("POST", path, {"file_id": stored["id"]})
    by_form = await api.json("POST", path, files={"file_id": (None, stored["id"])})

    assert (by_json["path"], by_form["path"]) == ("/mnt/data/a.txt", "/mnt/data/a_1.txt")


async def test_container_begins_with_the_files_it_was_created_with(api: Api):
    stored = await api.upload(b"abc", "a.txt")
    container = await create(api, file_ids=[stored["id"]])

    execution = await run(api, container["id"], READ)

    assert execution["outputs"] == [{"type": "result", "text": "'abc'"}]


@pytest.mark.parametrize(
    ("kwargs", "status", "param", "code"),
    [
        ({"json": {}}, 400, "file_id", "missing_required_parameter"),
        ({"json": {"file_id": 5}}, 400, "file_id", "invalid_type"),
        ({"json": {"file_id": "file-nope"}}, 404, "file_id", None),
        ({"files": {"other": (None, "x")}}, 400, "file", "missing_required_parameter"),
        ({"files": {"file_id": (None, "file-nope")}}, 404, "file_id", None),
        (
            {"files": {"file": ("a", b"x"), "file_id": (None, "file-nope")}},
            400,
            "file_id",
            "invalid_value",
        ),
        ({"content": b"x", "headers": {"content-type": "text/csv"}}, 400, None, None),
    ],
)
async def test_wrong_container_file_is_refused(api: Api, kwargs, status, param, code):
    container = await create(api)

    got, error = await api.error("POST", f"/v1/containers/{container['id']}/files", **kwargs)

    assert (got, error["param"]) == (status, param)
    assert code is None or error["code"] == code


# ---- executions --------------------------------------------------------------------------------


async def test_code_runs_and_its_variables_stay(api: Api):
    container = await create(api)

    await run(api, container["id"], "x = 20")
    execution = await run(api, container["id"], "print('hi')\nx + 1")

    assert execution == {
        "id": execution["id"],
        "object": "container.execution",
        "container_id": container["id"],
        "status": "ok",
        "outputs": [
            {"type": "logs", "stream": "stdout", "logs": "hi\n"},
            {"type": "result", "text": "21"},
        ],
        "files": [],
        "duration_ms": execution["duration_ms"],
    }
    assert execution["id"].startswith("exec_")


async def test_code_that_raises_is_an_execution_and_no_http_error(api: Api):
    container = await create(api)

    execution = await run(api, container["id"], "1/0")

    assert execution["status"] == "error"
    (error,) = execution["outputs"]
    assert (error["type"], error["name"], error["message"]) == (
        "error",
        "ZeroDivisionError",
        "division by zero",
    )
    assert "ZeroDivisionError: division by zero" in error["traceback"]


async def test_files_and_images_that_code_made_are_named_and_can_be_had(api: Api):
    container = await create(api)

    execution = await run(api, container["id"], WRITE)

    image = next(o for o in execution["outputs"] if o["type"] == "image")
    assert image["url"] == "data:image/png;base64,cG5n"
    files = {file["path"]: file for file in execution["files"]}
    assert set(files) == {"/mnt/data/out.csv", "/mnt/data/chart.png"}
    assert files["/mnt/data/chart.png"]["id"] == image["file_id"]
    assert {file["source"] for file in files.values()} == {"assistant"}
    for name, content in (("out.csv", b"1"), ("chart.png", b"png")):
        file = files[f"/mnt/data/{name}"]
        path = f"/v1/containers/{container['id']}/files/{file['id']}"
        assert (file.pop("status"), file.pop("previous_path")) == ("created", None)
        assert await api.json("GET", path) == file
        assert (await api.http.get(f"{path}/content")).content == content


async def test_code_that_takes_too_long_is_stopped_and_says_so(api: Api):
    container = await create(api)

    execution = await run(
        api,
        container["id"],
        "import asyncio\nawait asyncio.Event().wait()",
        timeout_seconds=0.05,
    )

    assert execution["status"] == "timed_out"
    assert "longer than 0.05 s" in execution["outputs"][-1]["logs"]


async def test_stream_tells_the_same_as_the_plain_reply(api: Api):
    container = await create(api)

    events = await api.events(
        "POST",
        f"/v1/containers/{container['id']}/executions",
        {"code": "print('a')\nprint('b')\n3", "stream": True},
    )

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "container.execution.started"
    assert events[-1]["type"] == "container.execution.completed"
    execution = events[-1]["execution"]
    assert events[0]["execution"] == {
        "id": execution["id"],
        "object": "container.execution",
        "container_id": container["id"],
        "status": "in_progress",
    }
    outputs: list[dict[str, Any]] = []
    for event in events[1:-1]:
        assert event["type"] == "container.execution.output"
        assert event["execution_id"] == execution["id"]
        if event["index"] == len(outputs):
            outputs.append(dict(event["output"]))
        else:
            outputs[-1]["logs"] += event["output"]["logs"]
    assert outputs == execution["outputs"]


async def test_running_code_is_cancelled_by_its_id(api: Api):
    container = await create(api)
    path = f"/v1/containers/{container['id']}/executions"
    waiting = "import asyncio\nprint('in')\nawait asyncio.Event().wait()"
    cells = api.services.cells

    async def cancel() -> Any:
        await until(lambda: cells._running)
        (execution_id,) = cells._running
        return await api.json("POST", f"{path}/{execution_id}/cancel")

    cancelling = asyncio.create_task(cancel())
    execution = await run(api, container["id"], waiting)

    assert execution["status"] == "interrupted"
    assert await cancelling == execution
    status, _ = await api.error("POST", f"{path}/{execution['id']}/cancel")
    assert status == 404


async def test_code_that_could_not_run_is_an_error_of_the_server_or_an_event(api: Api):
    container = await create(api)
    path = f"/v1/containers/{container['id']}/executions"
    api.sandbox.go_down()

    status, error = await api.error("POST", path, {"code": "1"})
    assert (status, error["code"]) == (503, "host_unavailable")
    reply = await api.http.post(path, json={"code": "1", "stream": True})
    events = read_events(reply.text)
    assert [event["type"] for event in events] == ["container.execution.started", "error"]
    assert events[-1]["error"]["code"] == "host_unavailable"


async def test_health_says_when_no_code_can_run(api: Api):
    assert (await api.json("GET", "/health"))["sandbox"]["isolation"] == "none"
    api.sandbox.go_down()

    status, error = await api.error("GET", "/health")

    assert (status, error["code"]) == (503, "host_unavailable")
