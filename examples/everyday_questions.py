"""Four everyday questions in one conversation; the container is made once and kept along it."""

import sys

from openai import OpenAI

QUESTIONS = [
    ("Calculate the ROI: we spent 8,000 and sold for 11,200.", "40"),
    ('Parse this JSON and tell me the average value: {"a": 12, "b": 19, "c": 26}', "19"),
    ("Sort this list and find duplicates: [42, 7, 19, 7, 3, 42, 88]", "7"),
    ("Convert these temperatures from Fahrenheit to Celsius: 32, 68, 212", "100"),
]

client = OpenAI()

previous: str | None = None
containers: set[str] = set()
for question, expected in QUESTIONS:
    response = client.responses.create(
        model="offline",
        tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        input=question,
        previous_response_id=previous,
    )
    print(">", question)
    print(response.output_text, "\n")
    if expected not in response.output_text:
        sys.exit(f"The answer should hold {expected}.")
    previous = response.id
    containers |= {i.container_id for i in response.output if i.type == "code_interpreter_call"}

if len(containers) != 1:
    sys.exit(f"One conversation should use one container, not {containers}.")
