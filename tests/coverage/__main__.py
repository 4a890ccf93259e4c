"""`make coverage-page`: write docs/coverage.md."""

from __future__ import annotations

import sys

from tests.coverage import page


def main() -> int:
    page.PAGE.write_text(page.render())
    print(page.PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
