"""The questions of `sanderling demo`: what is asked, with which files, and what must come out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a question. `as_image`: given as a picture, not as a document."""

    filename: str
    content: bytes
    as_image: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """
    One question and how it is asked.

    expects: texts that must stand in the output or the answer; what makes the demo a check.
    makes: suffix of a file that must be cited and downloaded, or None.
    is_explicit: in a container that the client makes, and with the tool forced.
    """

    title: str
    question: str
    expects: tuple[str, ...]
    instructions: str | None = None
    attach: Callable[[], Attachment] | None = None
    makes: str | None = None
    is_explicit: bool = False


def _sales() -> Attachment:
    rows = ["date,region,revenue"]
    figures = {"north": (1250, 1475, 1390), "south": (980, 1120, 1045), "coast": (640, 1310, 905)}
    for region, values in figures.items():
        rows += [f"2026-03-{day:02d},{region},{value}" for day, value in enumerate(values, 2)]
    return Attachment("sales.csv", ("\n".join(rows) + "\n").encode())


def _months() -> Attachment:
    rows = ["month,revenue", "2026-01,4000", "2026-02,5000", "2026-03,4500", "2026-04,5400"]
    return Attachment("revenue.csv", ("\n".join(rows) + "\n").encode())


def _guests() -> Attachment:
    rows = ["name,table"] + [f"guest {number:02d},{number % 7}" for number in range(1, 31)]
    return Attachment("guests.csv", ("\n".join(rows) + "\n").encode())


def _picture(width: int = 160, height: int = 100) -> Attachment:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    # A dull gradient, so that raising the contrast shows.
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            level = 90 + 60 * x // width
            rows += bytes((level, 100 + 30 * y // height, 200 - level // 2))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return Attachment("harbour.png", content, as_image=True)


SCENES: tuple[Scene, ...] = (
    Scene(
        "The smallest call",
        "Solve 3x + 11 = 14. Show x.",
        expects=("x = 1",),
        instructions="You teach arithmetic. Compute with the python tool, then explain briefly.",
    ),
    Scene(
        "A container of one's own, and the tool forced",
        "Compute 4 * 3.82, then the square root of that, then the square root of that again. "
        "Show every value on the way.",
        expects=("15.28", "3.90", "1.97"),
        is_explicit=True,
    ),
    Scene(
        "A table in, a chart out",
        "Compute the total revenue by region and save a bar chart of it as chart.png.",
        expects=("4115", "3145", "2855"),
        attach=_sales,
        makes=".png",
    ),
    Scene(
        "A picture in, a picture out",
        "Rotate the picture by 90 degrees, raise its contrast, tell its size and save the result "
        "as a new PNG file.",
        expects=("160", "100"),
        attach=_picture,
        makes=".png",
    ),
    Scene(
        "An equation",
        "I need to solve the equation `3x + 11 = 14`. Can you help me?",
        expects=("x = 1",),
    ),
    Scene(
        "A file in, another file out",
        "Shuffle the rows of this CSV file and save them to a new CSV file.",
        expects=("30",),
        attach=_guests,
        makes=".csv",
    ),
    Scene(
        "Compound interest",
        "What is the compound interest on $10,000 at 7% for 20 years?",
        expects=("38,696.84",),
    ),
    Scene(
        "Return on investment",
        "Calculate the ROI: we spent 8,000 and sold for 11,200.",
        expects=("40",),
    ),
    Scene(
        "JSON in the question",
        'Parse this JSON and tell me the average value: {"a": 12, "b": 19, "c": 26}',
        expects=("19",),
    ),
    Scene(
        "A list",
        "Sort this list and find duplicates: [42, 7, 19, 7, 3, 42, 88]",
        expects=("7", "42"),
    ),
    Scene(
        "Temperatures",
        "Convert these temperatures from Fahrenheit to Celsius: 32, 68, 212",
        expects=("0", "20", "100"),
    ),
    Scene(
        "A standard deviation",
        "Compute the standard deviation of [3, 1, 4, 1, 5, 9, 2, 6, 5, 3].",
        expects=("2.4698",),
        instructions="You analyse data. Use Python, and show your work.",
    ),
    Scene(
        "Growth from month to month",
        "What's the month-over-month growth rate in this file?",
        expects=("25", "-10", "20"),
        attach=_months,
    ),
)
