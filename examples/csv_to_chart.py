"""A table goes in, a chart comes out: upload, ask, find the chart by its citation, download it."""

import sys
from pathlib import Path

from openai import OpenAI

SALES = """\
date,region,revenue
2026-03-02,north,1250
2026-03-03,north,1475
2026-03-02,south,980
2026-03-03,south,1120
2026-03-02,coast,640
2026-03-03,coast,1310
"""

client = OpenAI()

table = Path("sales.csv")
table.write_text(SALES)
with table.open("rb") as source:
    uploaded = client.files.create(file=source, purpose="user_data")

response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1g"}}],
    input=[
        {
            "role": "user",
            "content": [
                {
                    "type": "input_text",
                    "text": "Compute the total revenue by region and save a bar chart of it as "
                    "chart.png.",
                },
                {"type": "input_file", "file_id": uploaded.id},
            ],
        }
    ],
)
print(response.output_text)

citations = [
    annotation
    for item in response.output
    if item.type == "message"
    for part in item.content
    if part.type == "output_text"
    for annotation in part.annotations
    if annotation.type == "container_file_citation"
]
charts = [citation for citation in citations if citation.filename.endswith(".png")]
if not charts:
    sys.exit("The answer should cite a chart.")

chart = client.containers.files.content.retrieve(
    charts[0].file_id, container_id=charts[0].container_id
)
target = Path(charts[0].filename).name
chart.write_to_file(target)
print("saved:", Path(target).resolve())

if not Path(target).read_bytes().startswith(b"\x89PNG"):
    sys.exit("The chart should be a PNG picture.")
for total in ("2725", "2100", "1950"):
    if total not in response.output_text.replace(",", ""):
        sys.exit(f"The answer should hold the total {total}.")
