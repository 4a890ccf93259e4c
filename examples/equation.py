"""An equation, with what happened behind the answer: the code that ran, and what it printed."""

import sys

from openai import OpenAI

client = OpenAI()

response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    include=["code_interpreter_call.outputs"],  # without this the outputs are left out
    input="I need to solve the equation `3x + 11 = 14`. Can you help me?",
)

logs = ""
for item in response.output:
    if item.type == "code_interpreter_call":
        print("---- code ----", item.code, sep="\n")
        for output in item.outputs or []:
            if output.type == "logs":
                logs += output.logs
print("---- output ----", logs.rstrip(), sep="\n")
print("---- answer ----", response.output_text, sep="\n")

if "x = 1" not in logs or "x = 1" not in response.output_text:
    sys.exit("Output and answer should both say that x is 1.")
