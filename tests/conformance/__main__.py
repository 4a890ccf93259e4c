"""Run the tests of every version, or of those and of the suites that are named."""

from __future__ import annotations

import sys

from tests.conformance.scope import SUITES, VERSIONS
from tests.conformance.suite import outcome


def main() -> int:
    """Return 1 if a test in scope failed, or one out of scope passed."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    versions = [version for version in VERSIONS if version in words] or VERSIONS
    words = [word for word in words if word not in VERSIONS]
    suites = [suite for suite in SUITES if not words or any(word in suite for word in words)]
    status = 0
    for version in versions:
        counts, wrong = outcome(version, suites)
        print(*wrong, sep="\n", end="\n" if wrong else "")
        print(f"openai-python {version}: " + ", ".join(f"{n} {how}" for how, n in counts.items()))
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
