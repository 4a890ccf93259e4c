"""
Run programs that use the SDK, each in a process and a folder of its own; import the SDK only once.

    python run_programs.py [MODULE…] PROGRAM.py…

So are the modules: what the programs use beside the SDK.

The folders are made in the current one and named like the programs; standard output and error of a
program go to `printed` in its folder. Prints one JSON object: program -> exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import openai


def run(program: Path) -> int:
    folder = Path.cwd() / program.name
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        become(program, folder)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(program: Path, folder: Path) -> None:
    """Run `program` as Python would; does not return."""
    status: object = 1
    try:
        os.chdir(folder)
        printed = os.open("printed", os.O_WRONLY | os.O_CREAT)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.argv = [str(program)]
        runpy.run_path(str(program), run_name="__main__")
        status = 0
    except SystemExit as ending:
        status = ending.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:  # noqa: BLE001 (printed, as Python would)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    # Most of the SDK is imported when it is first used.
    openai.OpenAI(api_key="none").responses  # noqa: B018
    programs = [name for name in sys.argv[1:] if name.endswith(".py")]
    for module in set(sys.argv[1:]) - set(programs):
        importlib.import_module(module)
    json.dump({name: run(Path(name)) for name in programs}, sys.stdout)
