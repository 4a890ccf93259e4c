"""A file goes in, another comes out: the rows of a table, shuffled."""

import sys
from pathlib import Path

from openai import OpenAI

ROWS = [f"guest {number:02d},table {number % 7}" for number in range(1, 41)]

client = OpenAI()

content = "\n".join(["name,seat", *ROWS, ""]).encode()
uploaded = client.files.create(file=("guests.csv", content), purpose="assistants")
response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    input=[
        {
            "role": "user",
            "content": [
                {
                    "type": "input_text",
                    "text": "Shuffle the rows of this CSV file and save them to a new CSV file.",
                },
                {"type": "input_file", "file_id": uploaded.id},
            ],
        }
    ],
)
print(response.output_text)

made = [
    annotation
    for item in response.output
    if item.type == "message"
    for part in item.content
    if part.type == "output_text"
    for annotation in part.annotations
    if annotation.type == "container_file_citation" and annotation.filename.endswith(".csv")
]
if not made:
    sys.exit("The answer should cite the new file.")
body = client.containers.files.content.retrieve(made[0].file_id, container_id=made[0].container_id)
target = Path(Path(made[0].filename).name)
target.write_bytes(body.read())
print("saved:", target.resolve())

header, *shuffled = target.read_text().splitlines()
if header != "name,seat" or sorted(shuffled) != ROWS or shuffled == ROWS:
    sys.exit("The new file should hold the same rows in another order.")
