"""
JSON bodies: read with a limit, decoded strictly, returned as plain values.

Whatever bytes a client sends as JSON, the answer is a value or one clear error.
"""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import Request

from sanderling.api.validation import check
from sanderling.errors import InvalidRequest, TooLarge

_Model = TypeVar("_Model", bound=BaseModel)

# Files belong into multipart uploads; inline base64 up to 24 MB fits.
JSON_BYTES_MAX = 32 << 20
# No API object is deeper than 10; stored JSON must be writable again, and orjson stops at 254.
DEPTH_MAX = 64
# Arrays and objects of one body, brackets in its texts counted too. Ten million empty arrays fit
# into JSON_BYTES_MAX and would hold up everybody else for ten seconds; these take half a second.
NESTED_MAX = 500_000


async def json_model(request: Request, model: type[_Model]) -> _Model:
    """
    Return the body of `request` as a checked `model`. An empty body counts as `{}`.

    Raises:
        InvalidRequest: not JSON, or not what `model` says.
        TooLarge: more than JSON_BYTES_MAX bytes.
    """
    return check(model, decode(await _read(request)))


async def json_value(request: Request) -> Any:
    """
    Return the body of `request` as it is, for who passes on what it does not know.

    Raises:
        InvalidRequest, TooLarge: as `json_model`.
    """
    return decode(await _read(request))


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > JSON_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > JSON_BYTES_MAX:
            raise _too_large()
    if body:
        check_content_encoding(request)
        _check_content_type(request)
    return bytes(body)


def is_json(request: Request) -> bool:
    """Return whether the request says its body is JSON. Saying nothing counts."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in {"", "application/json"} or kind.endswith("+json")


def check_content_encoding(request: Request) -> None:
    """
    Raises:
        InvalidRequest: the body is compressed. Unpacking would need limits of its own, and no SDK
        compresses what it sends.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise InvalidRequest(
            f"Unsupported content encoding: '{encoding[:100]}'. Send the body as it is, without a "
            "'Content-Encoding'.",
            code="unsupported_content_encoding",
        )


def _check_content_type(request: Request) -> None:
    if not is_json(request):
        raise InvalidRequest(
            f"Unsupported content type: '{request.headers['content-type'][:100]}'. "
            "This API method only accepts 'application/json' requests.",
            code="unsupported_content_type",
        )


def decode(body: bytes) -> Any:
    """
    Return the value of a JSON text.

    Raises:
        InvalidRequest: it is not UTF-8, not JSON, or has too many values in values.
    """
    if not body.strip():
        return {}
    if body.count(b"[") + body.count(b"{") > NESTED_MAX:
        raise InvalidRequest(
            f"The JSON body of your request has more than {NESTED_MAX} arrays and objects.",
            code="invalid_json",
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}.", code="invalid_json"
        ) from error
    if _is_too_deep(value):
        raise InvalidRequest(
            f"The JSON body of your request is nested deeper than {DEPTH_MAX} levels.",
            code="invalid_json",
        )
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        if not level:
            return False
        following: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                following.extend(v for v in each.values() if isinstance(v, dict | list))
            elif isinstance(each, list):
                following.extend(v for v in each if isinstance(v, dict | list))
        level = following
    return True


def _too_large() -> TooLarge:
    return TooLarge(
        f"The JSON body of your request is larger than {JSON_BYTES_MAX >> 20} MB. "
        "Upload large content with the Files API and refer to it by id."
    )
