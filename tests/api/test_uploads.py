"""The Uploads API: files that come in parts, and what is left when they do not become one."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sanderling.api import upload_routes
from sanderling.settings import Settings
from sanderling.store import blobs as store_blobs
from sanderling.store.joining import join
from tests.api.making import Api, memory_api
from tests.doubles.fake_clock import FakeClock

MISSING, VALUE = "missing_required_parameter", "invalid_value"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def api(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Api]:
    """A server that takes a million bytes in parts."""
    async with memory_api(
        tmp_path, settings=Settings(upload_bytes_max=1_000_000), clock=clock
    ) as api:
        yield api


def blobs(api: Api) -> list[Path]:
    """Every file of the blob store, finished or not."""
    folder = api.services.store.blobs.path("blob_" + "0" * 32).parents[1]
    return [path for path in folder.rglob("*") if path.is_file()]


async def create(api: Api, size: int = 6, **values: Any) -> Any:
    body = {"filename": "a.csv", "purpose": "user_data", "bytes": size, "mime_type": "text/csv"}
    return await api.json("POST", "/v1/uploads", {**body, **values})


async def add(api: Api, upload: Any, content: bytes) -> str:
    part = await api.json(
        "POST", f"/v1/uploads/{upload['id']}/parts", files={"data": ("upload", content)}
    )
    return str(part["id"])


async def complete(api: Api, upload: Any, part_ids: list[str], **values: Any) -> Any:
    return await api.json(
        "POST", f"/v1/uploads/{upload['id']}/complete", {"part_ids": part_ids, **values}
    )


async def test_parts_become_a_file_in_the_order_that_is_given(api: Api, clock: FakeClock):
    upload = await create(api)
    assert upload == {
        "id": upload["id"],
        "object": "upload",
        "bytes": 6,
        "created_at": 1_000_000,
        "filename": "a.csv",
        "purpose": "user_data",
        "status": "pending",
        "expires_at": 1_003_600,
        "file": None,
    }
    last, first = await add(api, upload, b"456"), await add(api, upload, b"123")
    clock.advance(seconds=10)

    md5 = hashlib.md5(b"123456").hexdigest().upper()
    completed = await complete(api, upload, [first, last], md5=md5)

    file = completed["file"]
    assert completed == {**upload, "status": "completed", "file": file}
    assert (file["filename"], file["bytes"], file["created_at"]) == ("a.csv", 6, 1_000_010)
    assert await api.json("GET", f"/v1/files/{file['id']}") == file
    reply = await api.http.get(f"/v1/files/{file['id']}/content")
    assert reply.content == b"123456"
    assert len(blobs(api)) == 1


async def test_one_part_is_the_file_without_a_copy(api: Api):
    upload = await create(api)
    part = await add(api, upload, b"123456")
    before = blobs(api)

    file = (await complete(api, upload, [part]))["file"]

    assert blobs(api) == before
    await api.json("DELETE", f"/v1/files/{file['id']}")
    assert blobs(api) == []


async def test_names_of_uploads_are_made_safe_as_those_of_files_are(api: Api):
    assert (await create(api, filename="../..\\etc/pass\0wd"))["filename"] == "passwd"


async def test_parts_that_are_not_named_are_let_go(api: Api):
    upload = await create(api, size=3)
    await add(api, upload, b"123")
    again = await add(api, upload, b"123")

    await complete(api, upload, [again])

    assert len(blobs(api)) == 1


async def test_file_of_no_bytes_needs_no_part(api: Api):
    upload = await create(api, size=0)

    file = (await complete(api, upload, []))["file"]

    assert (await api.http.get(f"/v1/files/{file['id']}/content")).content == b""


async def test_file_of_an_upload_lives_as_long_as_was_asked(api: Api):
    expires_after = {"anchor": "created_at", "seconds": 3600}
    upload = await create(api, size=0, expires_after=expires_after)
    batch = await create(api, size=0, purpose="batch")

    assert (await complete(api, upload, []))["file"]["expires_at"] == 1_003_600
    assert (await complete(api, batch, []))["file"]["expires_at"] == 1_000_000 + 30 * 86400


async def test_cancelling_lets_the_parts_go_and_may_be_repeated(api: Api):
    upload = await create(api)
    await add(api, upload, b"123")

    for _ in range(2):
        cancelled = await api.json("POST", f"/v1/uploads/{upload['id']}/cancel")
        assert cancelled == {**upload, "status": "cancelled"}

    assert blobs(api) == []


async def test_upload_expires_after_an_hour_and_its_bytes_are_freed(api: Api, clock: FakeClock):
    store = api.services.store
    upload = await create(api)
    part = await add(api, upload, b"123456")
    clock.advance(seconds=3600)

    for action, body in (("complete", {"part_ids": [part]}), ("cancel", None)):
        status, error = await api.error("POST", f"/v1/uploads/{upload['id']}/{action}", body)
        assert (status, error["param"]) == (400, "upload_id")
        assert "has expired" in error["message"]
    assert await store.forget_expired_uploads() == 0  # it might be being completed right now
    clock.advance(seconds=600)
    assert await store.forget_expired_uploads() == 1

    assert blobs(api) == []
    assert (await api.error("POST", f"/v1/uploads/{upload['id']}/cancel"))[0] == 400
    clock.advance(seconds=86400)
    await store.forget_expired_uploads()
    assert (await api.error("POST", f"/v1/uploads/{upload['id']}/cancel"))[0] == 404


@pytest.mark.parametrize("end", ["complete", "cancel"])
async def test_upload_that_is_over_takes_nothing_more(api: Api, end: str):
    upload = await create(api, size=0)
    path = f"/v1/uploads/{upload['id']}"
    ended = await api.json("POST", f"{path}/{end}", {"part_ids": []})

    answers = [
        await api.error("POST", f"{path}/parts", files={"data": b"123"}),
        await api.error("POST", f"{path}/complete", {"part_ids": []}),
    ]

    said = "was cancelled" if end == "cancel" else f"its file is {ended['file']['id']}"
    for status, error in answers:
        assert (status, error["type"]) == (400, "invalid_request_error")
        assert said in error["message"]
    if end == "complete":
        assert (await api.error("POST", f"{path}/cancel"))[0] == 400


async def test_of_those_who_complete_and_cancel_at_once_one_is_first(api: Api):
    upload = await create(api)
    parts = [await add(api, upload, b"123"), await add(api, upload, b"456")]
    path = f"/v1/uploads/{upload['id']}"

    replies = await asyncio.gather(
        *(api.http.post(f"{path}/complete", json={"part_ids": parts}) for _ in range(3)),
        api.http.post(f"{path}/cancel"),
    )

    done = [reply for reply in replies if reply.status_code == 200]
    assert len(done) == 1
    assert {reply.status_code for reply in replies} == {200, 400}
    is_file = done[0].json()["status"] == "completed"
    assert len(blobs(api)) == len((await api.json("GET", "/v1/files"))["data"]) == int(is_file)


async def test_parts_are_joined_once_however_many_ask_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    upload = await create(api)
    parts = [await add(api, upload, b"abc"), await add(api, upload, b"def")]
    joined: list[str] = []

    async def join_and_note(*arguments: Any, **options: Any) -> str:
        joined.append(await join(*arguments, **options))
        return joined[-1]

    monkeypatch.setattr(upload_routes, "join", join_and_note)
    path = f"/v1/uploads/{upload['id']}/complete"
    replies = await asyncio.gather(
        *(api.http.post(path, json={"part_ids": parts}) for _ in range(5))
    )

    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400, 400]
    assert len(joined) == 1


async def test_uploads_of_others_are_just_unknown(api: Api):
    upload = await create(api)
    store = api.services.store

    assert await store.uploads.get("org_other", upload["id"]) is None
    status, error = await api.error("POST", "/v1/uploads/upload_nope/cancel")
    assert (status, error["param"]) == (404, "upload_id")
    assert error["message"] == "No such Upload object: upload_nope"


@pytest.mark.parametrize(
    ("part_ids", "more", "status", "param", "words"),
    [
        (["part_nope"], {}, 404, "part_ids[0]", "No such Upload Part object: part_nope"),
        (["0", "0"], {}, 400, "part_ids[1]", "stands there twice"),
        (["0"], {}, 400, "part_ids", "are 3 bytes in all"),
        (["0", "1"], {"md5": "0" * 32}, 400, "md5", hashlib.md5(b"123456").hexdigest()),
        (["0", "1"], {"md5": "zz"}, 400, "md5", "pattern"),
    ],
)
async def test_wrong_completion_leaves_the_upload_as_it_was(
    api: Api, part_ids, more, status, param, words
):
    upload = await create(api)
    parts = {"0": await add(api, upload, b"123"), "1": await add(api, upload, b"456")}
    before = sorted(blobs(api))
    body = {"part_ids": [parts.get(p, p) for p in part_ids], **more}

    got, error = await api.error("POST", f"/v1/uploads/{upload['id']}/complete", body)

    assert (got, error["param"]) == (status, param)
    assert words in error["message"]
    assert sorted(blobs(api)) == before
    assert (await complete(api, upload, list(parts.values())))["status"] == "completed"


async def test_what_lies_of_one_upload_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload_routes, "PART_BYTES_MAX", 4)
    upload = await create(api, size=3)
    path = f"/v1/uploads/{upload['id']}/parts"
    too_long = await api.error("POST", path, files={"data": b"12345"})
    await add(api, upload, b"1234")
    await add(api, upload, b"1234")
    too_many = await api.error("POST", path, files={"data": b"123"})

    for status, error in (too_long, too_many):
        assert (status, error["param"], error["code"]) == (413, "data", "file_too_large")
    assert len(blobs(api)) == 2


async def test_uploads_at_once_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload_routes, "PENDING_MAX", 1)
    upload = await create(api, size=0)
    body = {"filename": "b", "purpose": "vision", "bytes": 1, "mime_type": "image/png"}

    status, error = await api.error("POST", "/v1/uploads", body)

    assert (status, error["code"]) == (429, "rate_limit_exceeded")
    await complete(api, upload, [])
    await create(api)


async def test_full_disk_leaves_the_upload_to_be_completed_later(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    upload = await create(api)
    parts = [await add(api, upload, b"123"), await add(api, upload, b"456")]
    before = sorted(blobs(api))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store_blobs.os, "fsync", full)
        status, error = await api.error(
            "POST", f"/v1/uploads/{upload['id']}/complete", {"part_ids": parts}
        )

    assert (status, error["code"]) == (507, "storage_full")
    assert sorted(blobs(api)) == before
    assert (await complete(api, upload, parts))["status"] == "completed"
