"""
What the model is told in our words: the tool it has, and the few sentences that steer a run.

Short on purpose: it is sent with every turn, and the client's own instructions follow it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_CODE_TOOL = """\
You have a tool called `python`. It runs code in a stateful Python process inside a sealed \
container and returns what the code printed, the value of its last expression, and any error.
- Variables, imports and files stay between calls. A call may take at most {timeout_s:g} seconds.
- /mnt/data is the working directory. The user's files are there under their own names{saving}.
- Matplotlib figures are shown to the user when the cell ends.
- {network}, and no package can be installed.
{giving}\
- Compute with code rather than in your head. When code fails, read the error, \
correct it and try again.\
"""

_SAVING = "; save files meant for the user there"
_GIVING = "- To give the user a file, link it as [name](sandbox:/mnt/data/name) in your answer.\n"
_NO_SAVING = ". No file can be written, there or anywhere else: print what the user is to have"
_NO_NETWORK = "There is no network"
_SOME_NETWORK = "Only these domains can be reached, over http:// and https://: {domains}"

ANSWER_NOW = (
    "[No more calls are possible in this run. Answer the user now with what you have found so far.]"
)
ANSWER_EMPTY = "[Your last answer was empty. Answer the user.]"
ANSWER_WRONG = (
    "[Your last answer was not shown to the user, because it cannot be used: {problem}. Answer "
    "again, with nothing but JSON{schema}.]"
)
SUMMARIZE = (
    "[This conversation is about to be replaced by a summary that you write now. Write what you "
    "need to go on as if nothing had been lost: what is wanted, what was decided and found out, "
    "with every number that still matters, what is in variables and files, and what is left to "
    "do. Write the summary and nothing else.]"
)
CALLS_USED_UP = "This call was not run: the limit on tool calls is reached. Answer without it."
CALLS_OFF = "This call was not run: tools may not be used in this answer."


def system_text(
    *,
    instructions: str | None,
    offers_code: bool,
    execution_timeout_s: float,
    allowed_domains: Sequence[str] = (),
    read_only: bool = False,
    files: Sequence[str] = (),
) -> str | None:
    """
    Return the system message of a run: our part if code is offered, then the client's.

    allowed_domains: what the code may reach; none: no network.
    read_only: the code can write no file.
    files: names below /mnt/data of files that no message tells of.
    """
    network = _NO_NETWORK
    if allowed_domains:
        network = _SOME_NETWORK.format(domains=", ".join(allowed_domains))
    code_tool = _CODE_TOOL.format(
        timeout_s=execution_timeout_s,
        network=network,
        saving=_NO_SAVING if read_only else _SAVING,
        giving="" if read_only else _GIVING,
    )
    if files:
        code_tool += f"\n{files_line(files)}"
    parts = [code_tool] if offers_code else []
    if instructions:
        parts.append(instructions)
    return "\n\n".join(parts) or None


def files_line(names: Sequence[str]) -> str:
    """Return the line that tells the names of files below /mnt/data."""
    return f"[files in /mnt/data: {', '.join(names)}]"


def answer_wrong(problem: str, schema: dict[str, Any] | None) -> str:
    """Return what the model reads when its answer is not in the format that was asked for."""
    wanted = "" if schema is None else " that satisfies " + json.dumps(schema, ensure_ascii=False)
    return ANSWER_WRONG.format(problem=problem, schema=wanted)


def unknown_tool(name: str, known: list[str]) -> str:
    """Return what the model reads when it called a tool that does not exist."""
    tools = ", ".join(known) if known else "none"
    return f"There is no tool called {name!r}. Tools you can call: {tools}."
