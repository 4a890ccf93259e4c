"""What every program here shares: its checks, and how it says what became of them."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

_CHECKS: dict[str, Callable[[], Any]] = {}

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.title('Squares')\nplt.show()"
WRITE = "open('/mnt/data/total.csv', 'w').write('a,b\\n1,2\\n')"


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    """Make it when the program is run; it may be a coroutine function."""
    _CHECKS[function.__name__] = function
    return function


def code(source: str) -> str:
    """Return a message that makes the offline model run `source` as it is."""
    return f"Run this:\n```python\n{source}\n```"


def main() -> None:
    """
    Make every check; print one JSON object, name -> null or the traceback.

    A check that fails does not keep the others from being made.
    """
    outcomes: dict[str, str | None] = {}
    with asyncio.Runner() as runner:  # one loop: clients keep connections in it
        for name, function in _CHECKS.items():
            try:
                result = function()
                if inspect.iscoroutine(result):
                    runner.run(result)
            except Exception:  # noqa: BLE001 - told to whoever started this
                outcomes[name] = traceback.format_exc()
            else:
                outcomes[name] = None
    json.dump(outcomes, sys.stdout)
