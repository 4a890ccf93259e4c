"""A container of your own: you make it, two requests compute in it, you end it."""

import sys

from openai import OpenAI

client = OpenAI()

container = client.containers.create(name="roots", memory_limit="1g")
print("container:", container.id, container.status)

first = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": container.id}],
    tool_choice="required",  # answer with code, not from memory
    input="Compute 4 * 3.82, then the square root of that, then the square root of that again.",
)
print(first.output_text)

# The fenced code runs as it is. `ratio` is a variable, and it is still there for the next request,
# because both name the same container.
remember = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": container.id}],
    input="Run this:\n```python\nratio = 4 * 3.82\nprint(ratio)\n```",
)
print(remember.output_text)
recall = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": container.id}],
    input="Run this:\n```python\nprint(round(ratio ** 0.25, 4))\n```",
)
print(recall.output_text)

containers_used = {
    item.container_id
    for response in (first, remember, recall)
    for item in response.output
    if item.type == "code_interpreter_call"
}
client.containers.delete(container.id)

if containers_used != {container.id}:
    sys.exit(f"All code should have run in {container.id}, not in {containers_used}.")
for expected in ("15.28", "3.90", "1.97"):
    if expected not in first.output_text:
        sys.exit(f"The first answer should hold {expected}.")
if "1.9771" not in recall.output_text:
    sys.exit("The last answer should be computed from the variable of the one before.")
