"""The smallest useful request: one question, computed by code in a container made for it."""

import sys

from openai import OpenAI

client = OpenAI()

response = client.responses.create(
    model="offline",
    instructions="You teach arithmetic. Compute with the python tool, then explain briefly.",
    input="Solve 3x + 11 = 14 for x.",
    tools=[{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1g"}}],
)

print(response.output_text)

if "x = 1" not in response.output_text:
    sys.exit("The answer should say that x is 1.")
