"""
Code of your own in a container, with no model: the executions endpoint, through the same SDK.

It is Sanderling's own, for agent builders whose loop is elsewhere, so it goes by the SDK's
untyped `post`.
"""

import sys
from typing import Any

from openai import OpenAI

client = OpenAI()

container = client.containers.create(name="workbench")


def run(code: str) -> dict[str, Any]:
    """Run one cell and return the execution."""
    execution: dict[str, Any] = client.post(
        f"/containers/{container.id}/executions",
        body={"code": code, "timeout_seconds": 30},
        cast_to=dict[str, Any],
    )
    return execution


first = run("import math\nroots = [math.sqrt(n) for n in range(5)]\nroots[4]")
second = run("open('roots.txt', 'w').write(repr(roots))\nprint(len(roots), 'roots')")
third = run("undefined_name")
for execution in (first, second, third):
    print(execution["status"], execution["outputs"])
files = [file["path"] for file in second["files"]]
print("files:", files)
client.containers.delete(container.id)

if first["status"] != "ok" or {"type": "result", "text": "2.0"} not in first["outputs"]:
    sys.exit("The value of the last line should be a result.")
if files != ["/mnt/data/roots.txt"]:
    sys.exit("The second execution should have made one file.")
if third["status"] != "error" or third["outputs"][-1]["name"] != "NameError":
    sys.exit("The third execution should have ended with an error.")
