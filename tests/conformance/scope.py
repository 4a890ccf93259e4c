"""Which of openai-python's tests are run, and which of those are not for this server, and why."""

from __future__ import annotations

# The newest, and the last that we tried of each older major version.
VERSIONS = ("3.52.0", "2.8.0", "1.109.1")

# Files and folders below tests/api_resources.
SUITES = (
    "test_files.py",
    "test_uploads.py",
    "uploads",
    "test_containers.py",
    "containers",
    "test_models.py",
)

_LIMIT_0 = "asks for limit=0 after an id that does not exist; OpenAI's API refuses that, as we do"

_SKILL = "test_containers::test_method_create_with_all_params"  # only the newest has skills

# suite::test, without parameters -> reason. Both clients, loose and strict, fail in the same way.
OUT_OF_SCOPE: dict[str, str] = {
    "test_files::test_method_list_with_all_params": _LIMIT_0,
    "test_containers::test_method_list_with_all_params": _LIMIT_0,
    "containers.test_files::test_method_list_with_all_params": _LIMIT_0,
    _SKILL: "asks for a skill; there are none here",
    "containers.test_files::test_method_create": "puts nothing into a container, no file and no id",
    "containers.test_files::test_raw_response_create": "as above",
    "containers.test_files::test_streaming_response_create": "as above",
    "containers.test_files::test_method_create_with_all_params": (
        "gives a file and the id of another at once"
    ),
    "test_uploads::test_method_complete_with_all_params": "the MD5 it expects is the word md5",
    "test_models::test_method_delete": "deletes a fine-tuned model; there are none here",
    "test_models::test_raw_response_delete": "as above",
    "test_models::test_streaming_response_delete": "as above",
}


def out_of_scope(version: str) -> set[str]:
    """Return the tests of that version that are not for this server."""
    return set(OUT_OF_SCOPE) - (set() if version == VERSIONS[0] else {_SKILL})
