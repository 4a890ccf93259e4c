"""A financial question in plain words."""

import sys

from openai import OpenAI

client = OpenAI()

response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    input="What is the compound interest on $10,000 at 7% for 20 years?",
)
print(response.output_text)

if "38,696.84" not in response.output_text and "38696.84" not in response.output_text:
    sys.exit("The answer should say that it grows to $38,696.84.")
