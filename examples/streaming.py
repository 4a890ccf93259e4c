"""Watch an answer: the code while it is written, its output while it is printed, the text."""

import sys

from openai import OpenAI

client = OpenAI()

code = ""
live: list[str] = []
text = ""
with client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    input="Run this:\n```python\nfor step in range(5):\n    print('step', step)\n```",
    stream=True,
    # Not part of OpenAI's API, so it has to be asked for: output as the code prints it.
    extra_body={"stream_options": {"include_output_deltas": True}},
) as stream:
    for event in stream:
        # A string, not one of the SDK's own types: the SDK does not know this event.
        kind: str = event.type
        if kind == "response.code_interpreter_call_code.delta":
            print(event.delta, end="", flush=True)
            code += event.delta
        elif kind == "response.code_interpreter_call.interpreting":
            print("\n---- running ----")
        elif kind == "response.code_interpreter_call_output.delta":
            shown = event.output  # {"index": …, "type": "logs", "logs": …}
            print(shown["logs"], end="", flush=True)
            live.append(shown["logs"])
        elif kind == "response.output_text.delta":
            print(event.delta, end="", flush=True)
            text += event.delta
        elif kind in {"response.completed", "response.failed"}:
            print(f"\n---- {kind} ----")
            status = event.response.status

if status != "completed" or "range(5)" not in code or "step 4" not in "".join(live) or not text:
    sys.exit("Code, output and text should all have been streamed.")
