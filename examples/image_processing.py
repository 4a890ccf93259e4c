"""Python as a picture workbench: upload a picture, have it turned, download the result."""

import struct
import sys
import zlib
from pathlib import Path

from openai import OpenAI

WIDTH, HEIGHT = 96, 64


def png(width: int, height: int) -> bytes:
    """Return a picture that fades from blue (left) to red (right)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    shades = [round(255 * x / (width - 1)) for x in range(width)]
    row = b"\0" + b"".join(bytes((shade, 40, 255 - shade)) for shade in shades)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * height))
        + chunk(b"IEND", b"")
    )


client = OpenAI()

uploaded = client.files.create(file=("fade.png", png(WIDTH, HEIGHT)), purpose="vision")

response = client.responses.create(
    model="offline",
    tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    include=["code_interpreter_call.outputs"],
    input=[
        {
            "role": "user",
            "content": [
                {
                    "type": "input_text",
                    "text": "Rotate the picture by 90 degrees, raise its contrast, tell its size "
                    "and save the result as a new PNG file.",
                },
                {"type": "input_image", "file_id": uploaded.id, "detail": "auto"},
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
    if annotation.type == "container_file_citation" and annotation.filename.endswith(".png")
]
if not made:
    sys.exit("The answer should cite the new picture.")

body = client.containers.files.content.retrieve(made[0].file_id, container_id=made[0].container_id)
picture = body.read()
target = Path(Path(made[0].filename).name)
target.write_bytes(picture)
print("saved:", target.resolve())

width, height = struct.unpack(">II", picture[16:24])
print(f"{WIDTH} x {HEIGHT} became {width} x {height}")
if (width, height) != (HEIGHT, WIDTH):
    sys.exit("The picture should have been turned on its side.")
