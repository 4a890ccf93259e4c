"""
Opens one peer, in a process of its own and with the Python it needs, and measures when asked.

Run as `python -m bench.driver KEY PLACE GROUP`; lines of JSON on standard input and output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from bench import memory
from bench.measures import Measures, step
from bench.peers import load
from bench.peers.base import Place


def main(key: str, place: str, group: str) -> None:
    # Libraries print; the answers go where they cannot.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder = Path(group) if group else None
    if folder is not None:
        memory.join(folder)
    peer = load(key)
    measures = Measures(peer, folder)
    with asyncio.Runner() as runner:

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return step(coroutine) if peer.is_blocking else runner.run(coroutine)

        def answer_to(request: dict[str, Any]) -> dict[str, Any]:
            match request.pop("op"):
                case "open":
                    run(peer.open(_place(place)))
                    run(measures.warm_up())
                    return {"version": peer.version()}
                case "measure":
                    return {"values": run(measures.measure(**request))}
                case "scale":
                    return {"values": run(measures.scale(**request))}
                case op:
                    raise ValueError(op)

        for line in sys.stdin:
            try:
                answer = answer_to(json.loads(line))
            except Exception as error:  # noqa: BLE001 - told to whoever conducts
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        run(measures.end())
        run(peer.close())


def _place(text: str) -> Place:
    fields = json.loads(text)
    return Place(
        env=Path(fields["env"]),
        prefixes=tuple(fields["prefixes"]),
        mpl_config=Path(fields["mpl_config"]),
        peers=Path(fields["peers"]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
