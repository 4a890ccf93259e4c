"""
Wrong requests to objects that are there: each is refused by status, parameter and code, and leaves
no row, no blob and no unfinished file behind.

More bodies, of what is refused before any object is looked for, are in test_wrong_requests.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
import pytest
import pytest_asyncio

from sanderling.api.server import create_app
from sanderling.models.scripted import text
from sanderling.settings import Settings
from tests.api.leftovers import kept_by
from tests.api.making import Api, memory_api

# One server for all: a wrong request changes nothing, which is what is tested.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPE, VALUE, MISSING = "invalid_type", "invalid_value", "missing_required_parameter"
BELOW, ABOVE = "integer_below_min_value", "integer_above_max_value"
BROKEN, TWICE, LARGE = "invalid_multipart", "duplicate_parameter", "file_too_large"
NO_JSON, KIND = "invalid_json", "unsupported_content_type"
SHORT, LONG, MANY = "string_below_min_length", "string_above_max_length", "array_above_max_length"
FILE_BYTES_MAX, UPLOAD_BYTES_MAX = 100_000, 1_000_000


class World(NamedTuple):
    """A server, and the ids of what it has."""

    api: Api
    ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    root = tmp_path_factory.mktemp("wrong")
    settings = Settings(file_bytes_max=FILE_BYTES_MAX, upload_bytes_max=UPLOAD_BYTES_MAX)
    async with memory_api(root, text("Hello."), settings=settings) as api:
        container = await api.json("POST", "/v1/containers", {"name": "box"})
        path = f"/v1/containers/{container['id']}/files"
        cfile = await api.json("POST", path, files={"file": ("a.csv", b"abc")})
        upload = await api.json("POST", "/v1/uploads", upload_body())
        part = await api.json("POST", f"/v1/uploads/{upload['id']}/parts", files={"data": b"123"})
        gone = await api.json("POST", "/v1/uploads", upload_body())
        await api.json("POST", f"/v1/uploads/{gone['id']}/cancel")
        response = await api.json("POST", "/v1/responses", {"input": "hi"})
        file = await api.upload(b"abc")
        yield World(
            api,
            {
                "CNTR": container["id"],
                "CFILE": cfile["id"],
                "UPLOAD": upload["id"],
                "PART": part["id"],
                "GONE": gone["id"],
                "RESP": response["id"],
                "FILE": file["id"],
            },
        )


def upload_body(**values: Any) -> dict[str, Any]:
    body = {"filename": "a.csv", "purpose": "vision", "bytes": 6, "mime_type": "text/csv"}
    return {name: value for name, value in {**body, **values}.items() if value is not ...}


class Raw(NamedTuple):
    """A body byte for byte."""

    content: bytes
    type: str | None = "application/json"
    more: tuple[tuple[str, str], ...] = ()


def form(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> Raw:
    body = b"".join(
        b"--B\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return Raw(body + end, "multipart/form-data; boundary=B")


FILE, PURPOSE = ('name="file"; filename="a.csv"', b"a,b"), ('name="purpose"', b"vision")
DATA, LARGE_FILE = (
    ('name="data"; filename="p"', b"1"),
    ('name="file"; filename="a"', b"x" * 100_001),
)
FORM = "multipart/form-data; boundary=B"


def field(name: str, value: str | bytes) -> tuple[str, bytes]:
    return f'name="{name}"', value.encode() if isinstance(value, str) else value


def expiry(seconds: str, anchor: str = "created_at") -> Raw:
    fields = (field("expires_after[anchor]", anchor), field("expires_after[seconds]", seconds))
    return form(FILE, PURPOSE, *fields)


def policy(**values: Any) -> dict[str, Any]:
    return {"name": "x", "network_policy": values}


def idle(**values: Any) -> dict[str, Any]:
    return {"name": "x", "expires_after": values}


def completion(*part_ids: Any, **values: Any) -> dict[str, Any]:
    return {"part_ids": list(part_ids), **values}


CONTAINERS, FILES, UPLOADS = "/v1/containers", "/v1/files", "/v1/uploads"
INTO, RUN = "/v1/containers/CNTR/files", "/v1/containers/CNTR/executions"
PARTS, COMPLETE = "/v1/uploads/UPLOAD/parts", "/v1/uploads/UPLOAD/complete"
RESPONSE = "/v1/responses/RESP"
LAST = "last_active_at"
SECONDS = "expires_after[seconds]"

# method and path, body -> status, param, code. Words in capitals stand for ids of what is there.
ROWS: list[tuple[str, Any, int, str | None, str | None]] = [
    # ---- containers: types, ranges, what is missing
    (f"POST {CONTAINERS}", [], 400, None, TYPE),
    (f"POST {CONTAINERS}", {"name": None}, 400, "name", TYPE),
    (f"POST {CONTAINERS}", {"name": ["x"]}, 400, "name", TYPE),
    (f"POST {CONTAINERS}", {"name": "x", "memory_limit": 1}, 400, "memory_limit", TYPE),
    (f"POST {CONTAINERS}", {"name": "x", "memory_limit": "1G"}, 400, "memory_limit", VALUE),
    (f"POST {CONTAINERS}", {"name": "x", "expires_after": "soon"}, 400, "expires_after", TYPE),
    (f"POST {CONTAINERS}", idle(anchor=LAST), 400, "expires_after.minutes", MISSING),
    (f"POST {CONTAINERS}", idle(anchor="x", minutes=5), 400, "expires_after.anchor", VALUE),
    (f"POST {CONTAINERS}", idle(anchor=5, minutes=5), 400, "expires_after.anchor", TYPE),
    (f"POST {CONTAINERS}", idle(anchor=LAST, minutes="5"), 400, "expires_after.minutes", TYPE),
    (f"POST {CONTAINERS}", idle(anchor=LAST, minutes=5.5), 400, "expires_after.minutes", TYPE),
    (f"POST {CONTAINERS}", idle(anchor=LAST, minutes=True), 400, "expires_after.minutes", TYPE),
    (f"POST {CONTAINERS}", idle(anchor=LAST, minutes=10081), 400, "expires_after.minutes", ABOVE),
    (f"POST {CONTAINERS}", {"name": "x", "file_ids": "FILE"}, 400, "file_ids", TYPE),
    (f"POST {CONTAINERS}", {"name": "x", "file_ids": [1]}, 400, "file_ids[0]", TYPE),
    (f"POST {CONTAINERS}", {"name": "x", "file_ids": ["FILE"] * 51}, 400, "file_ids", MANY),
    (f"POST {CONTAINERS}", {"name": "x", "file_ids": ["FILE", "f"]}, 404, "file_ids", None),
    (f"POST {CONTAINERS}", {"name": "x", "file_ids": ["../blobs"]}, 404, "file_ids", None),
    (f"POST {CONTAINERS}", {"name": "x", "network_policy": "no"}, 400, "network_policy", TYPE),
    (f"POST {CONTAINERS}", policy(), 400, "network_policy.type", MISSING),
    (f"POST {CONTAINERS}", policy(type="open"), 400, "network_policy.type", VALUE),
    (
        f"POST {CONTAINERS}",
        policy(type="allowlist"),
        400,
        "network_policy.allowed_domains",
        MISSING,
    ),
    (
        f"POST {CONTAINERS}",
        policy(type="allowlist", allowed_domains=[1]),
        400,
        "network_policy.allowed_domains[0]",
        TYPE,
    ),
    (
        f"POST {CONTAINERS}",
        policy(type="allowlist", allowed_domains=["a.example"] * 101),
        400,
        "network_policy.allowed_domains",
        MANY,
    ),
    (
        f"POST {CONTAINERS}",
        policy(type="allowlist", allowed_domains=["a.example"], domain_secrets=[{}]),
        400,
        "network_policy.domain_secrets",
        VALUE,
    ),
    (f"POST {CONTAINERS}", {"name": "x", "skills": "x"}, 400, "skills", TYPE),
    (f"POST {CONTAINERS}", {"name": "x", "skills": [{}]}, 400, "skills", VALUE),
    (f"POST {CONTAINERS}", {"name": "x", "environment": ""}, 400, "environment", SHORT),
    (f"POST {CONTAINERS}", {"name": "x", "environment": "../x"}, 400, "environment", VALUE),
    (f"POST {CONTAINERS}", form(field("name", "x")), 400, None, KIND),
    (f"GET {CONTAINERS}?limit=-1", None, 400, "limit", BELOW),
    (f"GET {CONTAINERS}?limit=1.5", None, 400, "limit", TYPE),
    (f"GET {CONTAINERS}?limit=%00", None, 400, "limit", TYPE),
    (f"GET {CONTAINERS}?limit=%D9%A3", None, 400, "limit", TYPE),
    (f"GET {CONTAINERS}?order=DESC", None, 400, "order", VALUE),
    (f"GET {CONTAINERS}?before=cntr_nope", None, 400, "before", None),
    (f"GET {CONTAINERS}?after=FILE", None, 400, "after", None),
    (f"GET {CONTAINERS}/CNTR%00", None, 404, None, None),
    (f"GET {CONTAINERS}/..%2FCNTR", None, 404, None, None),
    (f"GET {CONTAINERS}/%2e%2e/files", None, 404, None, None),
    (f"GET {CONTAINERS}/FILE", None, 404, None, None),
    (f"DELETE {CONTAINERS}/RESP", None, 404, None, None),
    (f"PATCH {CONTAINERS}/CNTR", {}, 405, None, "method_not_supported"),
    (f"POST {CONTAINERS}/CNTR", {"name": "y"}, 405, None, "method_not_supported"),
    # ---- container files
    (f"POST {INTO}", {}, 400, "file_id", MISSING),
    (f"POST {INTO}", {"file_id": None}, 400, "file_id", MISSING),
    (f"POST {INTO}", {"file_id": ["FILE"]}, 400, "file_id", TYPE),
    (f"POST {INTO}", {"file_id": "/etc/passwd"}, 404, "file_id", None),
    (f"POST {INTO}", {"file_id": "CNTR"}, 404, "file_id", None),
    (f"POST {INTO}", form(), 400, "file", MISSING),
    (f"POST {INTO}", form(field("file_id", "")), 400, "file", MISSING),
    (f"POST {INTO}", form(field("file_id", "file-x")), 404, "file_id", None),
    (f"POST {INTO}", form(field("file_id", b"\xff\x00")), 404, "file_id", None),
    (f"POST {INTO}", form(FILE, field("file_id", "FILE")), 400, "file_id", VALUE),
    (f"POST {INTO}", form(FILE, FILE), 400, "file", TWICE),
    (f"POST {INTO}", form(LARGE_FILE), 413, "file", LARGE),
    (f"POST {INTO}", form(FILE, end=b""), 400, None, BROKEN),
    (f"POST {INTO}", Raw(b"x", "text/csv"), 400, None, KIND),
    (f"POST {CONTAINERS}/cntr_x/files", form(FILE), 404, None, None),
    (f"GET {INTO}?limit=101", None, 400, "limit", ABOVE),
    (f"GET {INTO}?order=asc,desc", None, 400, "order", VALUE),
    (f"GET {INTO}?after=cfile_nope", None, 400, "after", None),
    (f"GET {INTO}/..%2F..%2Fetc%2Fpasswd", None, 404, None, None),
    (f"GET {INTO}/cfile_nope/content", None, 404, None, None),
    (f"GET {INTO}/FILE", None, 404, None, None),
    (f"DELETE {INTO}/cfile_nope", None, 404, None, None),
    (f"DELETE {INTO}", None, 405, None, "method_not_supported"),
    # ---- executions
    (f"POST {RUN}", {"code": None}, 400, "code", TYPE),
    (f"POST {RUN}", {"code": ["1"]}, 400, "code", TYPE),
    (f"POST {RUN}", {"code": "x" * ((1 << 20) + 1)}, 400, "code", LONG),
    (f"POST {RUN}", {"code": "1", "timeout_seconds": "1"}, 400, "timeout_seconds", TYPE),
    (
        f"POST {RUN}",
        {"code": "1", "timeout_seconds": -1},
        400,
        "timeout_seconds",
        "decimal_below_min_value",
    ),
    (f"POST {RUN}", {"code": "1", "stream": "true"}, 400, "stream", TYPE),
    (f"POST {RUN}", Raw(b'{"code": "\\udc00"}'), 400, None, NO_JSON),
    (f"POST {RUN}", Raw(b'{"code": "1", "timeout_seconds": Infinity}'), 400, None, NO_JSON),
    (f"POST {RUN}/exec_nope/cancel", None, 404, "execution_id", None),
    (f"GET {RUN}", None, 405, None, "method_not_supported"),
    # ---- files
    (f"POST {FILES}", form(FILE), 400, "purpose", MISSING),
    (f"POST {FILES}", form(PURPOSE), 400, "file", MISSING),
    (f"POST {FILES}", form(FILE, field("purpose", "")), 400, "purpose", VALUE),
    (f"POST {FILES}", form(FILE, field("purpose", "assistants_output")), 400, "purpose", VALUE),
    (f"POST {FILES}", form(FILE, field("purpose", b"\xff\xfe")), 400, "purpose", VALUE),
    (f"POST {FILES}", form(FILE, PURPOSE, PURPOSE), 400, "purpose", TWICE),
    (f"POST {FILES}", form(PURPOSE, FILE, FILE), 400, "file", TWICE),
    (f"POST {FILES}", form(PURPOSE, ('name="other"; filename="a"', b"")), 400, "other", TYPE),
    (f"POST {FILES}", form(FILE, field("purpose", "x" * 70_000)), 400, "purpose", LONG),
    (f"POST {FILES}", form(PURPOSE, LARGE_FILE), 413, "file", LARGE),
    (f"POST {FILES}", form(PURPOSE, ("", b"x")), 400, None, BROKEN),
    (f"POST {FILES}", form(PURPOSE, ('filename="a"', b"x")), 400, None, BROKEN),
    (f"POST {FILES}", form(FILE, PURPOSE, end=b""), 400, None, BROKEN),
    (f"POST {FILES}", form(FILE, PURPOSE, end=b"--B-"), 400, None, BROKEN),
    (f"POST {FILES}", form(*[field(f"f{n}", "") for n in range(65)]), 400, None, BROKEN),
    (f"POST {FILES}", form(('name="file"\r\nno colon', b"x")), 400, None, BROKEN),
    (f"POST {FILES}", form(('name="file"\r\nA: ' + "x" * 70_000, b"x")), 400, None, BROKEN),
    (f"POST {FILES}", form(('name="file"' + "\r\nA: b" * 100, b"x")), 400, None, BROKEN),
    (
        f"POST {FILES}",
        form(PURPOSE, ('name="file"\r\nContent-Transfer-Encoding: base64', b"eA==")),
        400,
        None,
        BROKEN,
    ),
    (f"POST {FILES}", Raw(b"", FORM), 400, None, BROKEN),
    (f"POST {FILES}", Raw(b"\x00" * 1000, FORM), 400, None, BROKEN),
    (f"POST {FILES}", Raw(b"--B\r\n", "multipart/form-data"), 400, None, BROKEN),
    (f"POST {FILES}", Raw(b"x", "multipart/form-data; boundary=" + "b" * 71), 400, None, BROKEN),
    (f"POST {FILES}", Raw(b"x", "multipart/mixed; boundary=B"), 400, None, KIND),
    (f"POST {FILES}", Raw(b"x", None), 400, None, KIND),
    (f"POST {FILES}", Raw(b"file=x", "application/x-www-form-urlencoded"), 400, None, KIND),
    (f"POST {FILES}", {"purpose": "vision", "file": "abc"}, 400, None, KIND),
    (
        f"POST {FILES}",
        Raw(b"x", FORM, (("content-encoding", "gzip"),)),
        400,
        None,
        "unsupported_content_encoding",
    ),
    (f"POST {FILES}", expiry("3599"), 400, SECONDS, VALUE),
    (f"POST {FILES}", expiry("2592001"), 400, SECONDS, VALUE),
    (f"POST {FILES}", expiry("1e4"), 400, SECONDS, VALUE),
    (f"POST {FILES}", expiry("٣٦٠٠"), 400, SECONDS, VALUE),
    (f"POST {FILES}", expiry("9" * 5000), 400, SECONDS, VALUE),
    (f"POST {FILES}", expiry("3600", "now"), 400, "expires_after[anchor]", VALUE),
    (
        f"POST {FILES}",
        form(FILE, PURPOSE, field(SECONDS, "1")),
        400,
        "expires_after[anchor]",
        MISSING,
    ),
    (
        f"POST {FILES}",
        form(FILE, PURPOSE, field("expires_after[anchor]", "created_at")),
        400,
        SECONDS,
        MISSING,
    ),
    (f"GET {FILES}?limit=0", None, 400, "limit", BELOW),
    (f"GET {FILES}?limit=10001", None, 400, "limit", ABOVE),
    (f"GET {FILES}?limit=0x10", None, 400, "limit", TYPE),
    (f"GET {FILES}?order=newest", None, 400, "order", VALUE),
    (f"GET {FILES}?after=file-nope", None, 400, "after", None),
    (f"GET {FILES}?after=CNTR", None, 400, "after", None),
    (f"GET {FILES}/FILE%20", None, 404, "id", None),
    (f"GET {FILES}/..%2F..%2Fsanderling.db/content", None, 404, None, None),
    (f"GET {FILES}/..%5C..%5Csanderling.db/content", None, 404, "id", None),
    (f"GET {FILES}/%FF%FE/content", None, 404, "id", None),
    (f"GET {FILES}/blob_{'0' * 32}/content", None, 404, "id", None),
    (f"GET {FILES}/cfile_nope", None, 404, "id", None),
    (f"GET {FILES}/{'f' * 5000}", None, 404, "id", None),
    (f"DELETE {FILES}/CFILE", None, 404, "id", None),
    (f"DELETE {FILES}/file-nope", None, 404, "id", None),
    (f"GET {FILES}/FILE/contents", None, 404, None, None),
    (f"POST {FILES}/FILE", {}, 405, None, "method_not_supported"),
    # ---- uploads
    (f"POST {UPLOADS}", {}, 400, "bytes", MISSING),
    (f"POST {UPLOADS}", upload_body(bytes=-1), 400, "bytes", BELOW),
    (f"POST {UPLOADS}", upload_body(bytes="6"), 400, "bytes", TYPE),
    (f"POST {UPLOADS}", upload_body(bytes=6.5), 400, "bytes", TYPE),
    (f"POST {UPLOADS}", upload_body(bytes=UPLOAD_BYTES_MAX + 1), 413, "bytes", LARGE),
    (f"POST {UPLOADS}", Raw(b'{"bytes": 1' + b"0" * 80 + b"}"), 400, "bytes", TYPE),
    (f"POST {UPLOADS}", upload_body(filename=...), 400, "filename", MISSING),
    (f"POST {UPLOADS}", upload_body(filename=""), 400, "filename", SHORT),
    (f"POST {UPLOADS}", upload_body(filename="x" * 5000), 400, "filename", LONG),
    (f"POST {UPLOADS}", upload_body(filename=5), 400, "filename", TYPE),
    (f"POST {UPLOADS}", upload_body(mime_type=...), 400, "mime_type", MISSING),
    (f"POST {UPLOADS}", upload_body(mime_type=None), 400, "mime_type", TYPE),
    (f"POST {UPLOADS}", upload_body(mime_type="x" * 256), 400, "mime_type", LONG),
    (f"POST {UPLOADS}", upload_body(mime_type="text/csv\0"), 400, "mime_type", VALUE),
    (f"POST {UPLOADS}", upload_body(purpose=...), 400, "purpose", MISSING),
    (f"POST {UPLOADS}", upload_body(purpose="fun"), 400, "purpose", VALUE),
    (f"POST {UPLOADS}", upload_body(expires_after={}), 400, "expires_after.anchor", MISSING),
    (
        f"POST {UPLOADS}",
        upload_body(expires_after={"anchor": "created_at", "seconds": 60}),
        400,
        "expires_after.seconds",
        BELOW,
    ),
    (
        f"POST {UPLOADS}",
        upload_body(expires_after={"anchor": LAST, "seconds": 3600}),
        400,
        "expires_after.anchor",
        VALUE,
    ),
    (f"POST {UPLOADS}", form(field("bytes", "6")), 400, None, KIND),
    (f"POST {UPLOADS}", Raw(b'{"bytes": 6'), 400, None, NO_JSON),
    (f"POST {PARTS}", form(), 400, "data", MISSING),
    (f"POST {PARTS}", form(FILE), 400, "file", TYPE),
    (f"POST {PARTS}", form(DATA, DATA), 400, "data", TWICE),
    (f"POST {PARTS}", form(DATA, end=b"--B"), 400, None, BROKEN),
    (f"POST {PARTS}", {"data": "x"}, 400, None, KIND),
    (f"POST {PARTS}", Raw(b"123", "application/octet-stream"), 400, None, KIND),
    (f"POST {UPLOADS}/upload_nope/parts", form(DATA), 404, "upload_id", None),
    (f"POST {UPLOADS}/GONE/parts", form(DATA), 400, "upload_id", None),
    (f"POST {COMPLETE}", {}, 400, "part_ids", MISSING),
    (f"POST {COMPLETE}", {"part_ids": "PART"}, 400, "part_ids", TYPE),
    (f"POST {COMPLETE}", completion(1), 400, "part_ids[0]", TYPE),
    (f"POST {COMPLETE}", completion("part_nope"), 404, "part_ids[0]", None),
    (f"POST {COMPLETE}", completion("PART", "../PART"), 404, "part_ids[1]", None),
    (f"POST {COMPLETE}", completion("PART", "PART"), 400, "part_ids[1]", VALUE),
    (f"POST {COMPLETE}", completion("PART"), 400, "part_ids", VALUE),
    (f"POST {COMPLETE}", completion(*["PART"] * 10_001), 400, "part_ids", MANY),
    (f"POST {COMPLETE}", completion("PART", md5=5), 400, "md5", TYPE),
    (f"POST {COMPLETE}", completion("PART", md5="abc"), 400, "md5", VALUE),
    (f"POST {UPLOADS}/upload_nope/complete", completion("PART"), 404, "upload_id", None),
    (f"POST {UPLOADS}/GONE/complete", completion("PART"), 400, "upload_id", None),
    (f"POST {UPLOADS}/upload_nope/cancel", None, 404, "upload_id", None),
    (f"POST {UPLOADS}/CNTR/cancel", None, 404, "upload_id", None),
    (f"GET {UPLOADS}/UPLOAD", None, 404, None, None),
    (f"GET {UPLOADS}", None, 405, None, "method_not_supported"),
    # ---- responses that are there
    (f"GET {RESPONSE}?stream=maybe", None, 400, "stream", TYPE),
    (f"GET {RESPONSE}?stream=true&starting_after=x", None, 400, "starting_after", TYPE),
    (f"GET {RESPONSE}?starting_after=-1", None, 400, "starting_after", BELOW),
    (f"GET {RESPONSE}?starting_after={1 << 60}", None, 400, "starting_after", ABOVE),
    (f"GET {RESPONSE}/input_items?limit=0", None, 400, "limit", BELOW),
    (f"GET {RESPONSE}/input_items?order=up", None, 400, "order", VALUE),
    (f"GET {RESPONSE}/input_items?after=msg_nope", None, 400, "after", None),
    (f"GET {RESPONSE}/output_items", None, 404, None, None),
    ("GET /v1/responses/..%2F..%2Fetc", None, 404, None, None),
    # ---- models
    ("GET /v1/models/..%2F..%2Fetc%2Fpasswd", None, 404, "model", "model_not_found"),
    ("GET /v1/models/%00", None, 404, "model", "model_not_found"),
    ("DELETE /v1/models/x", None, 405, None, "method_not_supported"),
    # ---- JSON in other encodings
    (f"POST {CONTAINERS}", Raw('{"name": "x"}'.encode("utf-16")), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw(b'\xef\xbb\xbf{"name": "x"}'), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw('{"name": "é"}'.encode("latin-1")), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw(b"{'name': 'x'}"), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw(b'{"name": "x",}'), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw(b'{"name": "x"}//'), 400, None, NO_JSON),
    (f"POST {CONTAINERS}", Raw(b"null"), 400, None, TYPE),
    (
        f"POST {CONTAINERS}",
        Raw(b"\x1f\x8b\x08", more=(("content-encoding", "gzip"),)),
        400,
        None,
        "unsupported_content_encoding",
    ),
]


def with_ids(value: Any, ids: dict[str, str]) -> Any:
    """Put ids in the place of the words that stand for them."""
    match value:
        case str():
            for word, id in ids.items():
                value = value.replace(word, id)
            return value
        case list():
            return [with_ids(item, ids) for item in value]
        case dict():
            return {name: with_ids(item, ids) for name, item in value.items()}
    return value


@pytest.mark.parametrize(("asked", "body", "status", "param", "code"), ROWS)
async def test_wrong_request_says_what_is_wrong_and_leaves_nothing_behind(
    world: World, asked: str, body: Any, status: int, param: str | None, code: str | None
):
    api, ids = world
    before = await kept_by(api)
    method, path = asked.split(" ", 1)
    headers: dict[str, str] = {}
    if isinstance(body, Raw):
        content: bytes | None = body.content
        headers = dict(body.more) | ({"content-type": body.type} if body.type else {})
    else:
        content = None if body is None else orjson.dumps(with_ids(body, ids))
        headers = {"content-type": "application/json"}

    got, error = await api.error(method, with_ids(path, ids), content=content, headers=headers)

    assert (got, error["param"]) == (status, param), error
    assert code is None or error["code"] == code, error
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 10
    assert await kept_by(api) == before


@pytest.mark.parametrize(
    ("path", "whole"),
    [(FILES, form(PURPOSE, FILE)), (INTO, form(FILE)), (PARTS, form(DATA))],
)
async def test_client_that_leaves_in_the_middle_leaves_nothing_behind(
    world: World, path: str, whole: Raw
):
    api, ids = world
    before = await kept_by(api)
    # All but the last boundary's end, then a client that is gone.
    messages = [
        {"type": "http.request", "body": whole.content[:-6], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(api.services)(
        {
            "type": "http",
            "method": "POST",
            "path": with_ids(path, ids),
            "query_string": b"",
            "headers": [(b"content-type", FORM.encode()), (b"host", b"test")],
        },
        receive,
        send,
    )

    assert messages == []
    assert sent == []
    assert await kept_by(api) == before
