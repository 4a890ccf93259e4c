"""The Files API, and how forms are received."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.settings import Settings
from sanderling.store.keys import new_key
from tests.api.making import Api, memory_api
from tests.doubles.fake_clock import FakeClock


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Api]:
    """A server that takes files of at most 100,000 bytes."""
    async with memory_api(tmp_path, settings=Settings(file_bytes_max=100_000)) as api:
        yield api


def form(*parts: tuple[str, bytes], end: bytes = b"--BOUND--\r\n") -> dict[str, object]:
    """A multipart body written by hand: (disposition parameters, content) per part."""
    body = b"".join(
        b"--BOUND\r\nContent-Disposition: form-data; "
        + disposition.encode()
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for disposition, content in parts
    )
    return {
        "content": body + end,
        "headers": {"content-type": "multipart/form-data; boundary=BOUND"},
    }


FILE = ('name="file"; filename="a.csv"', b"a,b\n1,2\n")
PURPOSE = ('name="purpose"', b"user_data")


def blobs(api: Api) -> list[Path]:
    folder = api.services.store.blobs.path("blob_" + "0" * 32).parents[2]
    return [path for path in folder.rglob("blob_*") if path.is_file()]


async def test_file_is_created_listed_retrieved_downloaded_and_deleted(api: Api):
    file = await api.upload(b"a,b\n1,2\n", "sales.csv")

    assert file == {
        "id": file["id"],
        "object": "file",
        "bytes": 8,
        "created_at": file["created_at"],
        "expires_at": None,
        "filename": "sales.csv",
        "purpose": "user_data",
        "status": "processed",
        "status_details": None,
    }
    assert await api.json("GET", f"/v1/files/{file['id']}") == file
    listing = await api.json("GET", "/v1/files")
    assert listing == {
        "object": "list",
        "data": [file],
        "first_id": file["id"],
        "last_id": file["id"],
        "has_more": False,
    }
    reply = await api.http.get(f"/v1/files/{file['id']}/content")
    assert reply.content == b"a,b\n1,2\n"
    assert await api.json("DELETE", f"/v1/files/{file['id']}") == {
        "id": file["id"],
        "object": "file",
        "deleted": True,
    }
    assert (await api.http.get(f"/v1/files/{file['id']}")).status_code == 404
    assert blobs(api) == []


async def test_empty_list_has_null_ids(api: Api):
    assert await api.json("GET", "/v1/files") == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_files_are_paged_filtered_and_ordered(api: Api):
    ids = [(await api.upload(b"x", purpose=p))["id"] for p in ("vision", "user_data", "vision")]

    async def listed(query: str) -> list[str]:
        return [f["id"] for f in (await api.json("GET", f"/v1/files?{query}"))["data"]]

    assert await listed("") == ids[::-1]
    assert await listed("order=asc") == ids
    assert await listed("limit=2") == ids[:0:-1]
    assert await listed(f"limit=2&after={ids[1]}") == [ids[0]]
    assert await listed("purpose=vision") == [ids[2], ids[0]]
    assert (await api.json("GET", "/v1/files?limit=2"))["has_more"] is True
    assert await listed(f"limit=1&before={ids[0]}") == [ids[1]]


@pytest.mark.parametrize("parts", [(FILE, PURPOSE), (PURPOSE, FILE)])
async def test_fields_may_come_in_any_order(api: Api, parts):
    file = await api.json("POST", "/v1/files", **form(*parts))

    assert (file["filename"], file["bytes"], file["purpose"]) == ("a.csv", 8, "user_data")


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\sales.csv", "sales.csv"),
        ("..", "file"),
        ("naïve 数据.csv", "naïve 数据.csv"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("x" * 300 + ".csv", "x" * 251 + ".csv"),
        # As browsers and SDKs write a quote and the ends of lines; no other percent sign is theirs.
        ("say %22hi%22%0D%0A.csv", 'say "hi".csv'),
        ("100%25 %C3%A9.csv", "100%25 %C3%A9.csv"),
    ],
)
async def test_filename_is_made_safe(api: Api, filename: str, safe: str):
    disposition = f'name="file"; filename="{filename}"'.replace("\\", "\\\\")

    file = await api.json("POST", "/v1/files", **form((disposition, b"x"), PURPOSE))

    assert file["filename"] == safe


async def test_latin_1_filename_of_an_old_client_is_read(api: Api):
    request = form(FILE, PURPOSE)
    request["content"] = request["content"].replace(b"a.csv", b"caf\xe9.csv")

    assert (await api.json("POST", "/v1/files", **request))["filename"] == "café.csv"


async def test_file_part_without_a_filename_is_still_the_file(api: Api):
    file = await api.json("POST", "/v1/files", **form(('name="file"', b"x"), PURPOSE))

    assert file["filename"] == "upload"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("filename*=utf-8''na%C3%AFve%20%E6%95%B0.csv", "naïve 数.csv"),
        ("filename*=UTF-8'en'..%2F..%2Fa.csv", "a.csv"),
        ("filename*=utf-8''%00%ff", "ÿ"),
        ('filename="plain.csv"; filename*=utf-8other.csv', "plain.csv"),
        ("filename*=latin-1''a.csv", "upload"),
    ],
)
async def test_filename_in_the_spelling_of_older_clients_is_read(api: Api, written, name):
    file = await api.json("POST", "/v1/files", **form((f'name="file"; {written}', b"x"), PURPOSE))

    assert file["filename"] == name


async def test_container_file_is_found_by_its_id_as_a_file(api: Api):
    container = await api.json("POST", "/v1/containers", {"name": "box"})
    path = f"/v1/containers/{container['id']}/files"
    put = await api.json("POST", path, files={"file": ("a.csv", b"a,b")})
    code = {"code": "from pathlib import Path; Path('/mnt/data/made.txt').write_text('hello')"}
    execution = await api.json("POST", f"/v1/containers/{container['id']}/executions", code)
    made = execution["files"][0]

    file = await api.json("GET", f"/v1/files/{made['id']}")

    assert file == {
        "id": made["id"],
        "object": "file",
        "bytes": 5,
        "created_at": made["created_at"],
        "expires_at": None,
        "filename": "made.txt",
        "purpose": "assistants_output",
        "status": "processed",
        "status_details": None,
    }
    assert (await api.json("GET", f"/v1/files/{put['id']}"))["purpose"] == "user_data"
    assert (await api.http.get(f"/v1/files/{made['id']}/content")).content == b"hello"
    plain, key = new_key("other", "org_other", now=0.0)
    await api.services.store.keys.insert(key)
    others = {"authorization": f"Bearer {plain}"}
    for tail in ("", "/content"):
        reply = await api.http.get(f"/v1/files/{made['id']}{tail}", headers=others)
        assert reply.status_code == 404


async def test_download_cannot_be_taken_for_a_page_and_keeps_its_name(api: Api):
    file = await api.upload(b"<script>", 'sa"les 数.html')

    reply = await api.http.get(f"/v1/files/{file['id']}/content")

    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-length"] == "8"
    disposition = reply.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="sa')
    assert disposition.endswith("%20%E6%95%B0.html")
    assert disposition.isascii()


@pytest.mark.parametrize(
    ("request_", "param", "code"),
    [
        (form(FILE), "purpose", "missing_required_parameter"),
        (form(PURPOSE), "file", "missing_required_parameter"),
        (form(FILE, ('name="purpose"', b"fun")), "purpose", "invalid_value"),
        (form(FILE, ('name="purpose"', b"a\x00b")), "purpose", "invalid_value"),
        (form(FILE, PURPOSE, PURPOSE), "purpose", "duplicate_parameter"),
        (form(FILE, FILE, PURPOSE), "file", "duplicate_parameter"),
        (form(FILE, ('name="purpose"; filename="p"', b"x")), "purpose", "invalid_type"),
        (form(FILE, ('name="purpose"', b"x" * 70_000)), "purpose", "string_above_max_length"),
        (form(FILE, PURPOSE, ("", b"x")), None, "invalid_multipart"),
        (form(FILE, PURPOSE, end=b""), None, "invalid_multipart"),
        (form(*[(f'name="f{n}"', b"") for n in range(65)]), None, "invalid_multipart"),
        (
            form(FILE, PURPOSE, ('name="expires_after[anchor]"', b"created_at")),
            "expires_after[seconds]",
            "missing_required_parameter",
        ),
        (
            form(FILE, PURPOSE, ('name="expires_after[seconds]"', b"3600")),
            "expires_after[anchor]",
            "missing_required_parameter",
        ),
        (
            form(
                FILE,
                PURPOSE,
                ('name="expires_after[anchor]"', b"now"),
                ('name="expires_after[seconds]"', b"3600"),
            ),
            "expires_after[anchor]",
            "invalid_value",
        ),
        (
            form(
                FILE,
                PURPOSE,
                ('name="expires_after[anchor]"', b"created_at"),
                ('name="expires_after[seconds]"', b"3599"),
            ),
            "expires_after[seconds]",
            "invalid_value",
        ),
        (
            form(('name="file"\r\nContent-Transfer-Encoding: base64', b"eA=="), PURPOSE),
            None,
            "invalid_multipart",
        ),
        (
            {"content": b"x", "headers": {"content-encoding": "gzip"}},
            None,
            "unsupported_content_encoding",
        ),
        (
            form((f'name="file"; filename="{"x" * 70_000}"', b"x"), PURPOSE),
            None,
            "invalid_multipart",
        ),
        ({**form(FILE, PURPOSE), "content": b"rubbish"}, None, "invalid_multipart"),
        ({**form(FILE, PURPOSE), "content": b""}, None, "invalid_multipart"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            None,
            "invalid_multipart",
        ),
        (
            {"content": b"x", "headers": {"content-type": "application/octet-stream"}},
            None,
            "unsupported_content_type",
        ),
        ({"content": b"x"}, None, "unsupported_content_type"),
    ],
)
async def test_wrong_form_is_400_and_leaves_nothing_behind(api: Api, request_, param, code):
    status, error = await api.error("POST", "/v1/files", **request_)

    assert (status, error["param"], error["code"]) == (400, param, code)
    assert blobs(api) == []
    assert (await api.json("GET", "/v1/files"))["data"] == []


async def test_file_at_the_limit_is_taken_and_one_byte_more_is_413(small: Api):
    assert (await small.upload(b"x" * 100_000))["bytes"] == 100_000

    status, error = await small.error(
        "POST",
        "/v1/files",
        files={"file": ("a", b"x" * 100_001)},
        data={"purpose": "user_data"},
    )

    assert (status, error["param"], error["code"]) == (413, "file", "file_too_large")
    assert len(blobs(small)) == 1


async def test_file_that_says_it_is_too_large_is_refused_at_once(small: Api):
    status, error = await small.error(
        "POST",
        "/v1/files",
        content=b"--BOUND\r\n",
        headers={
            "content-type": "multipart/form-data; boundary=BOUND",
            "content-length": str(1 << 40),
            "expect": "100-continue",
        },
    )

    assert (status, error["code"]) == (413, "file_too_large")


async def test_large_file_arrives_whole_in_many_chunks(api: Api):
    content = bytes(range(256)) * 12_000 + b"\r\n--BOUN\r\n--"
    file = await api.upload(content, "big.bin")

    assert (await api.http.get(f"/v1/files/{file['id']}/content")).content == content


async def test_file_expires_when_it_was_told_to(tmp_path: Path):
    clock = FakeClock()
    async with memory_api(tmp_path, clock=clock) as api:
        file = await api.json(
            "POST",
            "/v1/files",
            files={"file": ("a.csv", b"x")},
            data={
                "purpose": "user_data",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "3600",
            },
        )
        assert file["expires_at"] == file["created_at"] + 3600

        clock.advance(minutes=61)

        status, _ = await api.error("GET", f"/v1/files/{file['id']}")
        assert status == 404
        kept = await api.upload(b"y")
        listing = await api.json("GET", "/v1/files?limit=1&order=asc")
        assert (listing["data"], listing["has_more"]) == ([kept], False)
