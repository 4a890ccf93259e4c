"""Growth from month to month in an uploaded table."""

import sys

from openai import OpenAI

REVENUE = b"""\
month,revenue
2026-01,4000
2026-02,5000
2026-03,4500
2026-04,5400
"""

client = OpenAI()

uploaded = client.files.create(file=("revenue.csv", REVENUE), purpose="user_data")
response = client.responses.create(
    model="offline",
    tools=[
        {
            "type": "code_interpreter",
            "container": {"type": "auto", "file_ids": [uploaded.id]},
        }
    ],
    input="What's the month-over-month growth rate in this file?",
)
print(response.output_text)

for rate in ("25", "-10", "20"):
    if rate not in response.output_text:
        sys.exit(f"The answer should hold a growth of {rate} %.")
