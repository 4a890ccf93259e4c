"""A kernel of ours, run by the same calls as the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from sanderling.kernel import protocol
from tests.compat.outcome import Normal, Outcome, once
from tests.doubles.kernel_process import KernelProcess

_FRAME = re.compile(r'^[\s|+-]*File "<cell (\d+)>", line (\d+)', re.MULTILINE)


_RICH = ("display", "image")
_TEXTS = {"stdout": ("stdout",), "stderr": ("stderr",), "result": ("result", "display")}


class OurKernel:
    """One of our kernels. Use as a context manager."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._process = KernelProcess(python, folder)
        self._normal = Normal(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def run(self, code: str) -> Outcome:
        shown = self._process.run(code)
        texts = {
            kind: [self._normal.text(p[1]) for p in shown if p[0] in kinds]
            for kind, kinds in _TEXTS.items()
        }
        errors = [piece for piece in shown if piece[0] == "error"]
        lines = [(int(c), int(n)) for e in errors for c, n in _FRAME.findall(e[3])]
        offered = [p[2] if p[0] == "display" else p[1]["parts"] for p in shown if p[0] in _RICH]
        kinds = [tuple(sorted({*parts} - {protocol.CHART_TYPE})) for parts in offered]
        return Outcome(
            stdout="".join(texts["stdout"]),
            stderr="".join(texts["stderr"]),
            results=tuple(texts["result"]),
            kinds=tuple(filter(None, kinds)),
            images=sum(piece[0] == "image" for piece in shown),
            error=self._normal.error(errors[0][1], errors[0][2]) if errors else None,
            lines=once(lines),
        )
