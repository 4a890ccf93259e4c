"""One table from errors to HTTP; no class without a row."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from sanderling import errors as ours
from sanderling.api import errors
from sanderling.errors import (
    InvalidRequest,
    MachineFull,
    MachineUnfit,
    ModelRefused,
    NotFound,
    RateLimited,
    SanderlingError,
    SpawnFailed,
    Unauthorized,
)


def every_class(base: type[SanderlingError] = SanderlingError) -> Iterator[type[SanderlingError]]:
    yield base
    for cls in base.__subclasses__():
        yield from every_class(cls)


def test_every_error_class_has_a_row():
    missing = [c for c in every_class() if c.__module__ == ours.__name__ and c not in errors.TABLE]

    assert missing == []


def test_a_class_from_elsewhere_is_shown_as_the_nearest_above_it():
    class Elsewhere(NotFound):
        """Gone."""

    assert errors.shape_of(Elsewhere()).status == 404


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (
            InvalidRequest("Bad.", param="x", code="invalid_value"),
            400,
            {
                "message": "Bad.",
                "type": "invalid_request_error",
                "param": "x",
                "code": "invalid_value",
            },
        ),
        (
            NotFound("No such File object: f", param="id"),
            404,
            {
                "message": "No such File object: f",
                "type": "invalid_request_error",
                "param": "id",
                "code": None,
            },
        ),
        (
            Unauthorized("No."),
            401,
            {
                "message": "No.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            },
        ),
        (
            RateLimited(),
            429,
            {
                "message": "Too many requests.",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            },
        ),
        (
            SpawnFailed("No box."),
            500,
            {
                "message": "No box.",
                "type": "server_error",
                "param": None,
                "code": "spawn_failed",
            },
        ),
    ],
)
def test_error_body_is_openais(error: SanderlingError, status: int, body: dict[str, object]):
    reply = errors.reply(error)

    assert reply.status_code == status
    assert orjson.loads(reply.body) == {"error": body}


def test_what_will_pass_says_when_to_ask_again():
    assert errors.headers_of(RateLimited(retry_after_s=2.4)) == {
        "retry-after": "2",
        "retry-after-ms": "2400",
    }
    assert errors.headers_of(MachineFull(retry_after_s=0.2))["retry-after"] == "1"


def test_what_will_not_pass_tells_sdks_not_to_ask_again():
    for error in (MachineUnfit(), ModelRefused()):
        assert errors.headers_of(error) == {"x-should-retry": "false"}
    assert errors.headers_of(SpawnFailed()) == {}
    assert errors.headers_of(InvalidRequest()) == {}


def test_no_conflict_is_409_because_sdks_repeat_those():
    assert all(shape.status != 409 for shape in errors.TABLE.values())
