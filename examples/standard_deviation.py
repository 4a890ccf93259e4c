"""The standard deviation of a list, checked against Python's own."""

import re
import statistics
import sys

from openai import OpenAI

NUMBERS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]

client = OpenAI()

response = client.responses.create(
    model="offline",
    instructions="You analyse data. Use Python, and show your work.",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    input=f"Compute the standard deviation of {NUMBERS}.",
)
print(response.output_text)

found = [float(number) for number in re.findall(r"\d+\.\d+", response.output_text)]
right = (statistics.stdev(NUMBERS), statistics.pstdev(NUMBERS))
if not any(abs(number - value) < 0.005 for number in found for value in right):
    sys.exit(f"The answer should hold {right[0]:.4f} (sample) or {right[1]:.4f} (population).")
