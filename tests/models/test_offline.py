"""The offline model's code really runs, and its answers are what the code printed."""

from __future__ import annotations

import asyncio
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanderling.models.base import (
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.models.offline import OfflineModel
from sanderling.models.offline.model import INTRODUCTION, NAME
from sanderling.records import TextFormat
from tests.models.guest_session import GuestSession, Interpreter

SALES = (
    b"date,region,revenue\n2026-01-01,west,1200\n2026-01-02,west,900\n"
    b"2026-01-01,east,700\n2026-01-02,east,1100\n"
)
MONTHS = "month,product,units,revenue,cost\n" + "".join(
    f"{2024 + n // 12}-{n % 12 + 1:02}-15,{'AB'[n % 2]},{n + 1},"
    f"{1000 + 10 * n + (200 if n % 12 > 9 else 0)},{700 + 5 * n}\n"
    for n in range(30)
)


TWO_ROOTS = """
Use the python tool to do all computations.
Compute 4 * 3.82.
Then take the square root of that result.
Then take the square root again.
Return each intermediate value.
"""


@pytest.fixture(scope="module")
def interpreter(
    guest_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interpreter]:
    started = Interpreter(guest_python, tmp_path_factory.mktemp("home"))
    yield started
    started.close()


@pytest.fixture
def session(interpreter: Interpreter, tmp_path: Path) -> GuestSession:
    folder = tmp_path / "data"
    folder.mkdir()
    return GuestSession(interpreter, folder)


def picture() -> bytes:
    """Return a PNG, 80 wide and 60 high, written without a library; red grows to the right."""
    rows = b"".join(b"\0" + bytes(v for x in range(80) for v in (x * 3, 40, 80)) for _ in range(60))

    def part(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 80, 60, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", header)
        + part(b"IDAT", zlib.compress(rows))
        + part(b"IEND", b"")
    )


# ---- formulas and values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Solve 3x + 11 = 14. Show x.", ["x = 1"]),
        ("I need to solve the equation `3x + 11 = 14`. Can you help me?", ["x = 1"]),
        ("x + y = 10 and x - y = 2", ["x = 6, y = 4"]),
        ("Solve for x: x^2 - 5x + 6 = 0", ["x = 2", "x = 3"]),
        ("Solve 2x = 7", ["x = 7/2 (about 3.5)"]),
        ("Solve cos(x) = x", ["x = 0.73908513"]),
        ("# Calculating 2 + 2\nWhat is 2 + 2?", ["2 + 2 = **4**"]),
        ("What's 12 squared?", ["**144**"]),
        ("what is 17 x 23?", ["**391**"]),
        ("Calculate 15% of 80", ["**12**"]),
        ("What is 2**100?", ["1267650600228229401496703205376"]),
        ("What is 10!", ["3628800"]),
        (
            TWO_ROOTS,
            ["15.28", "3.908964", "1.977110"],
        ),
        (
            "What is the compound interest on $10,000 at 7% for 20 years?",
            ["$38,696.84", "$28,696.84"],
        ),
        ("$1,000 at 5% compounded monthly for 10 years, what does it grow to?", ["$1,647.01"]),
        ("Simple interest on 5000 euros at 3.5% for 2 years?", ["350.00"]),
        ("Calculate the ROI: we spent $5,000 and the revenue was $7,500", ["50.00%"]),
        ("Calculate the ROI on these sales figures: cost 1200, revenue 1800", ["50.00%"]),
        (
            "Compute the standard deviation of [3, 1, 4, 1, 5, 9, 2, 6, 5, 3].",
            ["2.343074903", "2.469817807"],
        ),
        ("Compute the std dev of [3, 1, 4, 1, 5, 9, 2, 6, 5, 3].", ["2.343074903"]),
        ("Mean and median of 1, 2, 3, 10", ["mean: 4", "median: 2.5"]),
        (
            "Sort this list and find duplicates: 5, 3, 5, 1, 3, 9",
            ["sorted: [1, 3, 3, 5, 5, 9]", "{5: 2, 3: 2}"],
        ),
        ("Sort this list and find duplicates: pear, fig, pear, date", ["'pear': 2"]),
        (
            "Convert these temperatures from Fahrenheit to Celsius: 32, 68, 212",
            ["32 °F is 0 °C", "68 °F is 20 °C", "212 °F is 100 °C"],
        ),
        ("Convert 100 and 0 and 37 from Celsius to Fahrenheit", ["37 °C is 98.6 °F"]),
        (
            'Parse this JSON and tell me the average value: {"rows": [{"value": 1}, {"value": 3}]}',
            ["average of value: 2"],
        ),
        ("Integrate x^2 from 0 to 3", ["integral: 9", "by quadrature: 9"]),
        ("What is the derivative of x^3 + 2x?", ["3*x**2 + 2"]),
        ("Factor x^2 - 5x + 6", ["(x - 3)*(x - 2)"]),
        ("prime factors of 360", ["{2: 3, 3: 2, 5: 1}"]),
        ("gcd of 12 and 18", ["gcd: 6"]),
    ],
)
def test_a_question_of_numbers_is_answered_by_code_that_ran(
    session: GuestSession, question: str, expected: list[str]
) -> None:
    answer = session.ask(question)

    assert session.codes
    assert [words for words in expected if words not in answer] == []


def test_numbers_come_from_the_question_and_not_from_a_list_of_answers(
    session: GuestSession,
) -> None:
    chance = random.Random()
    a, b, x = chance.randint(2, 99), chance.randint(1, 99), chance.randint(-99, 99)

    assert f"x = {x}" in session.ask(f"Solve {a}x + {b} = {a * x + b}")
    assert f"{a * b}" in session.ask(f"What is {a} * {b}?")


@pytest.mark.parametrize(
    "question",
    [
        "Please run this:\n```python\nx = 20\nprint(x + 1)\n```",
        "run: print(20 + 1)",
        "Execute `print(20 + 1)` please",
    ],
)
def test_code_of_the_users_own_is_run(session: GuestSession, question: str) -> None:
    assert "21" in session.ask(question)


def test_an_error_in_the_users_own_code_is_told(session: GuestSession) -> None:
    answer = session.ask("```python\nprint('before')\n1 / 0\n```")

    assert "before" in answer
    assert "ZeroDivisionError: division by zero" in answer
    assert len(session.codes) == 1


def test_a_second_question_goes_on_with_the_result_of_the_first(session: GuestSession) -> None:
    session.ask("Compute 4 * 5")

    assert "**22**" in session.ask("Now add 2 to that")
    assert "**11**" in session.ask("then divide it by 2")


# ---- tables ------------------------------------------------------------------------------------


def test_totals_by_group_are_computed_charted_and_explained(session: GuestSession) -> None:
    question = """
Use the python tool.
Read the uploaded CSV.
Compute total revenue by region.
Create a bar chart of revenue by region.
Save the chart as chart.png in the container.
Then explain the result in plain English.
"""

    answer = session.ask(question, {"sales.csv": SALES})

    assert "- west: 2,100\n- east: 1,800" in answer
    assert "The highest is west with 2,100: 53.8% of the total of 3,900." in answer
    assert "[chart.png](sandbox:/mnt/data/chart.png)" in answer
    assert (session.folder / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert len(session.codes) == 1


def test_names_of_groups_may_be_anything(session: GuestSession) -> None:
    names = ["a: b", "x = 1", "[note]", "Größe", "saved: /mnt/data/no.txt", "None"]
    rows = "region,revenue\n" + "".join(f'"{name}",{n}\n' for n, name in enumerate(names, 1))

    answer = session.ask("Total revenue by region", {"odd.csv": rows.encode()})

    assert "- a: b: 1" in answer
    assert "- x = 1: 2" in answer
    assert "- [note]: 3" in answer


def test_a_chart_gets_a_fitting_name_where_none_was_asked_for(session: GuestSession) -> None:
    answer = session.ask("Plot revenue by region", {"sales.csv": SALES})

    assert "(sandbox:/mnt/data/revenue_by_region.png)" in answer
    assert (session.folder / "revenue_by_region.png").exists()


def test_a_question_that_only_varies_the_last_one_is_understood(session: GuestSession) -> None:
    session.ask("Plot revenue by region", {"sales.csv": SALES})

    assert "west: 2,100" in session.ask("Now as a pie chart")
    assert "axes.pie(" in session.codes[-1]


@pytest.mark.parametrize(
    ("file", "error", "expected"),
    [
        (b"Date,Area,Sales\n2026-01-01,west,5\n2026-01-02,east,7\n", "KeyError", "west: 5"),
        (
            "region;revenue\nSüd;1.200,50 €\nNord;700,25 €\n".encode("cp1252"),
            "UnicodeDecodeError",
            "Süd: 1,200.5",
        ),
        (b"region,revenue\nwest,$1.50\nwest,$2.50\n", "ValueError", "west: 4"),
        ("region\trevenue\nwest\t4\n".encode("utf-16"), "UnicodeDecodeError", "west: 4"),
    ],
)
def test_code_that_fails_is_corrected_after_reading_the_error(
    session: GuestSession, file: bytes, error: str, expected: str
) -> None:
    answer = session.ask("Plot revenue by region", {"sales.csv": file})

    assert len(session.codes) == 2
    assert error in session.outputs[0]
    assert expected in answer


def test_a_column_that_cannot_be_found_ends_in_an_honest_answer(session: GuestSession) -> None:
    answer = session.ask("Total weight by colour", {"sales.csv": SALES})

    assert len(session.codes) == 2
    assert "no column for 'colour'" in answer
    assert "revenue" in answer


@pytest.mark.parametrize(
    ("question", "expected", "made"),
    [
        (
            "What's the month-over-month growth rate in this file?",
            ["+1.06%", "2024-11: 1,300 (+19.27%)", "2025-01: 1,120 (-14.50%)"],
            None,
        ),
        (
            "what's the average revenue by month with seasonality removed",
            ["**1,178.3333**", "2024-01: 1,000, adjusted 1,033.3333"],
            "seasonality.png",
        ),
        ("Here is my CSV, tell me what is interesting.", ["30 rows", "units and cost"], None),
        ("Calculate the ROI on these sales figures", ["51.67%"], None),
        ("Shuffle the rows and save them to a new CSV file", ["30 rows"], "shuffled_file.csv"),
        ("How many rows are there?", ["**30**"], None),
        ("What is the average revenue?", ["**1,171.6667**"], None),
        ("average cost per product", ["- B: 775\n- A: 770"], None),
        ("top 2 months by revenue", ["2025-12-15: 1,430"], None),
        ("Plot monthly revenue", ["2024-01: 1,000"], "revenue_by_month.png"),
        ("regression of revenue on units with a scatter plot", ["10.7119 × units"], "scatter.png"),
        ("Convert it to Excel", ["30 rows"], "monthly.xlsx"),
        ("Convert the CSV to JSON", ["30 rows"], "monthly.json"),
        ("sort the rows by revenue descending", ["rows: 30"], "sorted.csv"),
        (
            "Create a CSV with the cleaned data and a PNG chart, then cite the files.",
            ["[cleaned.csv](sandbox:/mnt/data/cleaned.csv)", "rows after: 30"],
            "chart.png",
        ),
        ("histogram of revenue", ["mean: 1,171.6667"], "histogram.png"),
        ("plot revenue over time", ["30 points"], "revenue_over_time.png"),
        ("Can you help me?", ["30 rows"], None),
    ],
)
def test_a_table_is_worked_on_as_asked(
    session: GuestSession, question: str, expected: list[str], made: str | None
) -> None:
    answer = session.ask(question, {"monthly.csv": MONTHS.encode()})

    assert [words for words in expected if words not in answer] == []
    if made is not None:
        assert f"(sandbox:/mnt/data/{made})" in answer
        assert (session.folder / made).stat().st_size > 0


def test_shuffled_rows_are_the_same_rows(session: GuestSession) -> None:
    session.ask("Shuffle the rows and save as mixed.csv", {"monthly.csv": MONTHS.encode()})

    lines = (session.folder / "mixed.csv").read_text().splitlines()
    assert sorted(lines) == sorted(MONTHS.splitlines())


def test_excel_is_read_and_converted(session: GuestSession) -> None:
    session.ask("Convert it to Excel", {"sales.csv": SALES})
    workbook = (session.folder / "sales.xlsx").read_bytes()
    (session.folder / "sales.csv").unlink()

    answer = session.ask("Convert this Excel file to JSON", {"book.xlsx": workbook})

    assert "(sandbox:/mnt/data/book.json)" in answer
    rows = json.loads((session.folder / "book.json").read_text())
    assert rows[0]["region"] == "west"


def test_addresses_that_are_not_valid_are_listed(session: GuestSession) -> None:
    people = b"name,email\nAnn,ann@example.com\nBob,bob@@x\nCy,\nDi,di@example.co.uk\n"

    answer = session.ask(
        "Validate that every row in this CSV has a valid email, list the bad ones.",
        {"people.csv": people},
    )

    assert "Of 4 rows, 2 have no valid address" in answer
    assert "- row 3: bob@@x\n- row 4: (empty)" in answer


def test_json_files_are_measured_and_grouped(session: GuestSession) -> None:
    rows = {"rows": [{"value": 1, "kind": "a"}, {"value": 3, "kind": "b"}]}
    file = {"d.json": json.dumps(rows).encode()}

    assert "average of value: 2" in session.ask("Parse this JSON: what is the average value?", file)
    assert "- b: 3\n- a: 1" in session.ask("total value by kind")


def test_an_equation_is_solved_even_when_a_file_is_attached(session: GuestSession) -> None:
    answer = session.ask(
        "I need to solve the equation `3x + 11 = 14`. Can you help me?", {"mydata.csv": SALES}
    )

    assert "x = 1" in answer


def test_files_that_were_in_the_container_all_along_are_found(session: GuestSession) -> None:
    (session.folder / "sales.csv").write_bytes(SALES)

    answer = session.ask("Compute total revenue by region of the uploaded CSV")

    assert "west: 2,100" in answer
    assert len(session.codes) == 2


def test_the_file_that_is_named_is_the_one_that_is_read(session: GuestSession) -> None:
    other = SALES.replace(b"1200", b"5200")

    answer = session.ask("Total revenue by region in a.csv", {"a.csv": SALES, "b.csv": other})

    assert "in a.csv" in answer
    assert "west: 2,100" in answer


# ---- pictures and documents --------------------------------------------------------------------


def test_a_picture_is_changed_in_the_order_asked_and_saved_as_a_new_file(
    session: GuestSession,
) -> None:
    answer = session.ask(
        "Crop to a region of interest, rotate, enhance contrast, compute statistics, then save the "
        "processed image as a new file.",
        {"photo.png": picture()},
    )

    assert (
        "crop to the middle half, then rotate by 90 degrees clockwise, then set the contrast"
        in (answer)
    )
    assert "The result is 30 × 40 pixels." in answer
    assert "band R: mean" in answer
    assert (session.folder / "processed_photo.png").exists()


def test_a_picture_is_cropped_to_the_box_given(session: GuestSession) -> None:
    answer = session.ask("crop to (10, 10, 50, 40) and save as out.png", {"photo.png": picture()})

    assert "The result is 40 × 30 pixels." in answer
    assert (session.folder / "out.png").exists()


@pytest.mark.parametrize(
    ("question", "made"),
    [
        ("Compute a histogram", "histogram.png"),
        ("convert it to jpg", "processed_photo.jpg"),
        ("make it grayscale and increase the brightness by 20%", "processed_photo.png"),
        ("resize it to 40 x 30, flip it and blur it", "processed_photo.png"),
    ],
)
def test_pictures_are_worked_on(session: GuestSession, question: str, made: str) -> None:
    answer = session.ask(question, {"photo.png": picture()})

    assert "80 × 60 pixels" in answer
    assert f"(sandbox:/mnt/data/{made})" in answer


def test_texts_and_archives_are_counted(session: GuestSession) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("inside.txt", "12345")

    assert "words: 3" in session.ask("Summarize this", {"notes.txt": b"one two three"})
    assert "inside.txt: 5 bytes" in session.ask("What is in it?", {"a.zip": archive.getvalue()})
    assert "size: 2 bytes" in session.ask("What is this file?", {"thing.bin": b"\x00\x01"})


def test_a_pdf_is_read_and_turned_into_a_table(session: GuestSession) -> None:
    session.ask(
        "```python\nimport matplotlib.pyplot as plt\nfigure = plt.figure()\n"
        "for n, row in enumerate(['Item  Price', 'Tea  3.50', 'Cake  4.20']):\n"
        "    figure.text(0.1, 0.9 - n / 10, row)\nfigure.savefig('/mnt/data/menu.pdf')\n```"
    )
    pdf = (session.folder / "menu.pdf").read_bytes()

    assert "pages: 1" in session.ask("What's in this PDF?", {"menu.pdf": pdf})
    assert "(sandbox:/mnt/data/menu.csv)" in session.ask("Convert the PDF to CSV")
    assert (session.folder / "menu.csv").read_text().splitlines()[1] == "Tea,3.50"


# ---- what it is --------------------------------------------------------------------------------


def test_it_says_what_it_is_in_the_first_answer_of_a_conversation_only(
    session: GuestSession,
) -> None:
    assert session.ask("What is 2 + 2?").startswith(INTRODUCTION)
    assert INTRODUCTION not in session.ask("What is 3 + 3?")


def test_it_says_what_it_cannot_do(session: GuestSession) -> None:
    answer = session.ask("Write me a poem about the sea")

    assert "I found no rule for that." in answer
    assert session.codes == []


async def turn(question: str, **given: Any) -> tuple[str, list[CallFinished], TurnFinished]:
    """Return text, calls and end of one turn."""
    message = {"role": "user", "content": question}
    request = TurnRequest(model="gpt-4.1", messages=(message,), **given)
    events = [event async for event in OfflineModel().stream(request)]
    end = events[-1]
    assert isinstance(end, TurnFinished)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if isinstance(event, CallFinished)], end


async def test_code_and_text_are_streamed_in_small_pieces() -> None:
    message = {"role": "user", "content": "Plot revenue by region\n[files in /mnt/data: sales.csv]"}
    request = TurnRequest(model="m", messages=(message,), offers_code=True)

    events = [event async for event in OfflineModel().stream(request)]

    deltas = [event.text for event in events if isinstance(event, CallDelta)]
    finished = next(event for event in events if isinstance(event, CallFinished))
    assert isinstance(events[0], CallStarted)
    assert len(deltas) > 10
    assert max(map(len, deltas)) < 100
    assert "".join(deltas) == finished.text
    assert "/mnt/data/sales.csv" in finished.text
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].finish == "tool_calls"
    assert events[-1].usage.output_tokens > 0


@pytest.mark.parametrize("choice", ["required", "python"])
async def test_a_call_that_is_demanded_is_made(choice: str) -> None:
    _, calls, _ = await turn("hello", offers_code=True, tool_choice=choice)

    assert [call.name for call in calls] == ["python"]


def test_a_demand_with_no_rule_ends_in_an_honest_answer(session: GuestSession) -> None:
    answer = session.ask("hello", tool_choice="required")

    assert len(session.codes) == 1
    assert "There are no files in /mnt/data." in answer
    assert "I found no rule for that." in answer


@pytest.mark.parametrize("given", [{"offers_code": True, "tool_choice": "none"}, {}])
async def test_without_the_tool_it_says_that_it_cannot_compute(given: dict[str, Any]) -> None:
    text, calls, _ = await turn("What is 2 + 2?", **given)

    assert calls == []
    assert "I can only compute with the python tool" in text
    assert "4" not in text


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}


@pytest.mark.parametrize(
    ("question", "given"),
    [
        ("Get weather for Oslo, 3 days, in fahrenheit", {"offers_code": True}),
        ("It is about Oslo: 3 days, fahrenheit", {"tool_choice": "required"}),
        ("Oslo! city: Oslo, 3 days, fahrenheit", {"tool_choice": "get_weather"}),
    ],
)
async def test_a_clients_function_is_called_with_arguments_that_fit_its_schema(
    question: str, given: dict[str, Any]
) -> None:
    _, calls, _ = await turn(question, functions=(WEATHER,), **given)

    assert [(call.name, call.is_code) for call in calls] == [("get_weather", False)]
    assert json.loads(calls[0].text) == {"city": "Oslo", "days": 3, "unit": "fahrenheit"}


async def test_what_a_function_answered_is_told() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = (
        {"role": "user", "content": "Get weather for Oslo"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny, 21 degrees"},
    )
    request = TurnRequest(model="m", messages=messages, functions=(WEATHER,))

    events = [event async for event in OfflineModel().stream(request)]

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert "get_weather answered: sunny, 21 degrees" in text


async def test_an_answer_past_the_token_limit_is_cut_and_says_so() -> None:
    text, _, end = await turn("hello", max_output_tokens=5)

    assert len(text) == 20
    assert end.finish == "length"


async def test_code_past_the_token_limit_is_cut_and_not_to_be_run() -> None:
    _, calls, end = await turn("Solve 3x = 6", offers_code=True, max_output_tokens=5)

    assert calls[0].problem is not None
    assert end.finish == "length"


async def test_an_answer_as_json_is_json_that_fits_the_schema() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    for text_format in (TextFormat("json_object"), TextFormat("json_schema", schema=schema)):
        text, _, _ = await turn("hello", text_format=text_format)

        assert isinstance(json.loads(text)["answer"], str)


async def test_when_no_more_calls_are_possible_it_answers_with_what_it_has() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "python"}}
    call["function"] = {"name": "python", "arguments": '{"code": "names = 1"}'}
    messages = (
        {"role": "user", "content": "Total sales by area\n[files in /mnt/data: sales.csv]"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "KeyError: 'sales'"},
        {"role": "user", "content": "[No more calls are possible in this run. Answer now.]"},
    )
    request = TurnRequest(model="m", messages=messages, offers_code=True, tool_choice="none")

    events = [event async for event in OfflineModel().stream(request)]

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert "KeyError: 'sales'" in text


WORDS = (
    "solve compute 3x = + - * / ( ) ^ 14 0.5 2 x y and then the square root of that result plot "
    "revenue by region month total average top 5 sort convert to csv excel json pdf crop rotate 90 "
    'histogram of [3, 1, 4] [ ] { } {"a": 1} $1,000 at 7% for 20 years interest roi cost 5 ; : . , '
    "integrate from 0 to 1 derivative factor prime fahrenheit celsius 32 email valid shuffle clean "
    "seasonality growth correlation between a and b ```python `x` run: save as chart.png now "
    "instead 10! 2**9 % of sqrt 00012 1e999 ' \" \\ @path@ {value} {0} é 😀"
).split()


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), max_size=14),
    files=st.sampled_from(["", "a.csv", "a.png", "b.json, a.pdf", "odd'name.csv", "noext"]),
    failure=st.sampled_from(["KeyError: 'a'", "[no output]", "x: 1", ""]),
)
def test_no_question_whatever_breaks_it(words: list[str], files: str, failure: str) -> None:
    line = f"\n[files in /mnt/data: {files}]" if files else ""
    messages: list[dict[str, Any]] = [{"role": "user", "content": " ".join(words) + line}]
    for _ in range(4):
        request = TurnRequest(model="m", messages=tuple(messages), offers_code=True)
        events = asyncio.run(collect(request))
        assert isinstance(events[-1], TurnFinished)
        call = next((event for event in events if isinstance(event, CallFinished)), None)
        if call is None:
            return
        if "```" not in words and "run:" not in words and "`x`" not in words:
            compile(call.text, "<cell>", "exec")
        function = {"name": "python", "arguments": json.dumps({"code": call.text})}
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "function": function}],
            },
            {"role": "tool", "tool_call_id": "a", "content": failure},
        ]
    raise AssertionError("it never comes to an end")


async def collect(request: TurnRequest) -> list[ModelEvent]:
    return [event async for event in OfflineModel().stream(request)]


async def test_pictures_shown_to_the_model_do_not_disturb_it() -> None:
    content = [
        {"type": "text", "text": "What is 2 + 2?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    message = {"role": "user", "content": content}
    request = TurnRequest(model="m", messages=(message,), offers_code=True)

    events = [event async for event in OfflineModel().stream(request)]

    assert any(isinstance(event, CallFinished) and "2 + 2" in event.text for event in events)


async def test_it_goes_by_one_name_and_answers_to_any() -> None:
    model = OfflineModel()

    assert await model.names() == [NAME] == ["sanderling-offline"]
    await model.aclose()


@pytest.mark.parametrize(
    "question",
    [
        "plot [1" + ",1" * 50_000 + "]",
        "9" * 50_000 + "!",
        "{ x " * 50_000,
        "run " * 50_000,
        "[" * 50_000,
        '{"a":' * 50_000,
    ],
    ids=["a list", "a number", "braces", "words", "brackets", "nested JSON"],
)
async def test_a_question_as_long_as_a_book_holds_up_nobody(question: str) -> None:
    request = TurnRequest("x", ({"role": "user", "content": question},), offers_code=True)

    async def answer() -> list[ModelEvent]:
        return [event async for event in OfflineModel().stream(request)]

    # In a thread, so that the deadline, far off as it is, can be met.
    async with asyncio.timeout(60):
        events = await asyncio.to_thread(lambda: asyncio.run(answer()))

    assert isinstance(events[-1], TurnFinished)
