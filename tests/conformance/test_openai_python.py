"""The newest openai-python's own tests; `make conformance` runs those of older ones too."""

from __future__ import annotations

from tests.conformance.scope import VERSIONS
from tests.conformance.suite import outcome


def test_what_openai_tests_of_its_own_sdk_passes():
    counts, wrong = outcome(VERSIONS[0])

    assert wrong == []
    assert counts["passed"] > 500
