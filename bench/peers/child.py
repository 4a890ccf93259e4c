"""
The inside of sessions that are a process with a pipe: one JSON line in, one out.

The request is the source; the answer is {"output": …} or {"error": …}. Run as
`python child.py ENGINE`; imports nothing but the standard library before its engine does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import IO, Any

Execute = Callable[[str], str]


def plain() -> Execute:
    """Python's own exec in one dict."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def execute(code: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, "<cell>", "exec"), names)  # noqa: S102 - what a session is for
        return out.getvalue()

    return execute


def ipython() -> Execute:
    """A bare InteractiveShell with its output captured, as Cloudflare's executor has it."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()

    def execute(code: str) -> str:
        with capture_output() as captured:
            result = shell.run_cell(code, store_history=False)
        result.raise_error()
        return str(captured.stdout)

    return execute


def codebox() -> Execute:
    """The LocalBox of codeboxapi: one to a process."""
    from codeboxapi.local import LocalBox

    box = LocalBox(codebox_cwd=os.environ["TMPDIR"])

    def execute(code: str) -> str:
        chunks = list(box.stream_exec(code))
        if failed := [chunk.content for chunk in chunks if chunk.type == "err"]:
            raise RuntimeError(failed)
        return "".join(chunk.content for chunk in chunks)

    return execute


ENGINES = {"plain": plain, "ipython": ipython, "codebox": codebox}


def serve(requests: IO[str], answers: IO[str], execute: Execute) -> None:
    """Answer until the other end closes."""
    for line in requests:
        try:
            answer = {"output": execute(json.loads(line))}
        except BaseException:  # noqa: BLE001 - told to whoever measures
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    pipe = os.fdopen(os.dup(1), "w")  # what a library prints by itself must not reach it
    os.dup2(2, 1)
    serve(sys.stdin, pipe, ENGINES[sys.argv[1]]())
