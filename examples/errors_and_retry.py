"""
What raises and what does not.

A wrong request raises the SDK's typed exception, with the parameter that is wrong. Code that fails
raises nothing: its traceback is an output, the model reads it, and the answer goes on. Only a
server that is busy or away is worth asking again, and the SDK does that by itself.
"""

import sys

import openai
from openai import OpenAI

client = OpenAI(max_retries=4)  # 408, 409, 429 and 5xx, with growing pauses

# Wrong requests: asking again would not help, so nothing was retried.
try:
    client.containers.create(name="too much", memory_limit="3g")  # type: ignore[arg-type]
except openai.BadRequestError as error:
    print("bad request:", error.param, "-", error.body)
    if error.param != "memory_limit":
        sys.exit("The error should name the parameter.")
else:
    sys.exit("A memory limit that does not exist should be refused.")
try:
    client.containers.retrieve("cntr_" + "0" * 48)
except openai.NotFoundError as error:
    print("not found:", error.body)
else:
    sys.exit("A container that does not exist should be refused.")

# Code that fails: no exception here, and the server goes on.
response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    include=["code_interpreter_call.outputs"],
    input="Run this:\n```python\nprint('before')\n1 / 0\n```",
)
logs = "".join(
    output.logs
    for item in response.output
    if item.type == "code_interpreter_call"
    for output in item.outputs or []
    if output.type == "logs"
)
print("status:", response.status)
print(logs)
if response.status != "completed" or "before" not in logs or "ZeroDivisionError" not in logs:
    sys.exit("The response should be complete and its outputs should hold the traceback.")
