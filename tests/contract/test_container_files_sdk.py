"""What code does to files, and what files are called: through the official SDK, there and back."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import openai
import pytest
from openai import OpenAI

from tests.contract.conftest import Play
from tests.doubles.model_server import Turn

OWN_NAMES = [
    "my file.csv",
    "naïve.csv",
    "nai\u0308ve.csv",
    "日本語 データ.csv",
    "עברית.txt",
    "👩\u200d👩\u200d👧 family 🎉.csv",
    "می\u200cخواهم.txt",
    ".hidden",
    "-rf",
    'it\'s "quoted".csv',
    "100% sure%20.csv",
    "#a?b&c=d;e,.csv",
    "no_extension",
    "..a..csv",
    "x" * 251 + ".csv",
    "é" * 125 + ".csv",
]
MENDED_NAMES = [
    ("../../etc/passwd", "passwd"),
    ("C:\\me\\b.csv", "b.csv"),
    ("..", "file"),
    ("new\nline.csv", "newline.csv"),
    ("\u202egpj.exe", "gpj.exe"),
    ("y" * 300 + ".csv", "y" * 251 + ".csv"),
]
# (what is written, what changes: status, path, bytes, path before, MIME type)
STEPS: list[tuple[str, list[tuple[str, str, int, str | None, str]]]] = [
    (
        "P('a b/ü').mkdir(parents=True)\nP('a b/ü/😀.csv').write_text('1')",
        [("created", "a b/ü/😀.csv", 1, None, "text/csv")],
    ),
    (
        "import subprocess\nsubprocess.run(['sh', '-c', f'printf %s %PDF-1.4 > \"{P(0)}/made\"'])",
        [("created", "made", 8, None, "application/pdf")],
    ),
    (
        "f = P('made').open('ab')\nf.write(b'!')\nf.close()",
        [("changed", "made", 9, None, "application/pdf")],
    ),
    ("os.truncate(P('made'), 5)", [("changed", "made", 5, None, "application/pdf")]),
    (
        "os.rename(P('made'), P('a b/made.bin'))",
        [("renamed", "a b/made.bin", 5, "made", "application/pdf")],
    ),
    (
        "os.rename(P('a b'), P('c'))",
        [
            ("renamed", "c/made.bin", 5, "a b/made.bin", "application/pdf"),
            ("renamed", "c/ü/😀.csv", 1, "a b/ü/😀.csv", "text/csv"),
        ],
    ),
    (
        "P('new').write_text('22')\nos.replace(P('new'), P('c/ü/😀.csv'))",
        [("changed", "c/ü/😀.csv", 2, None, "text/csv")],
    ),
    (
        "os.rename(P('c/made.bin'), P('d.bin'))\n_ = P('d.bin').write_text('other')",
        [
            ("created", "d.bin", 5, None, "text/plain"),
            ("deleted", "c/made.bin", 5, None, "application/pdf"),
        ],
    ),
    ("os.chmod(P('d.bin'), 0o600)", []),
    ("os.utime(P('d.bin'))", [("changed", "d.bin", 5, None, "text/plain")]),
    ("P('gone').write_text('x')\nos.unlink(P('gone'))", []),
    ("os.symlink('d.bin', P('link'))", []),
    (
        "import shutil\nshutil.rmtree(P('c'))",
        [("deleted", "c/ü/😀.csv", 2, None, "text/csv")],
    ),
]
PREPARE = (
    "import os\nfrom pathlib import Path\n"
    "def P(name):\n    return Path('/mnt/data') / name if name else Path('/mnt/data')\n"
)

CAT = "def cat(path):\n    with open(path) as file: return file.read()\n"


def run(client: OpenAI, container_id: str, code: str) -> Any:
    path = f"/containers/{container_id}/executions"
    execution: Any = client.post(path, body={"code": code}, cast_to=object)
    assert execution["status"] == "ok", execution
    return execution


def content(client: OpenAI, container_id: str, file_id: str) -> bytes:
    return client.containers.files.content.retrieve(file_id, container_id=container_id).read()


@pytest.fixture(scope="module")
def own_container(live_server: str) -> str:
    with OpenAI(base_url=live_server, api_key="sk-any", max_retries=0) as client:
        return client.containers.create(name="names").id


# ---- what code does ----------------------------------------------------------------------------


def test_every_change_of_a_file_is_told_after_the_cell_that_made_it(client: OpenAI):
    container_id = client.containers.create(name="changes").id
    run(client, container_id, PREPARE)
    known: dict[str, str] = {}
    for code, expected in STEPS:
        execution = run(client, container_id, code)
        told = [
            (
                file["status"],
                file["path"].removeprefix("/mnt/data/"),
                file["bytes"],
                file["previous_path"] and file["previous_path"].removeprefix("/mnt/data/"),
                file["mime_type"],
            )
            for file in execution["files"]
        ]
        assert told == expected, code
        for file in execution["files"]:
            assert known.get(file["previous_path"] or file["path"], file["id"]) == file["id"], code
        for file in execution["files"]:
            known.pop(file["previous_path"] or file["path"], None)
            if file["status"] != "deleted":
                known[file["path"]] = file["id"]

        listed = list(client.containers.files.list(container_id))
        assert {file.path: file.id for file in listed} == known, code

    kept = {path: content(client, container_id, known[path]) for path in known}
    assert kept == {"/mnt/data/d.bin": b"other"}


def test_a_file_that_comes_back_under_the_time_of_another_is_not_taken_for_it(client: OpenAI):
    # Same inode, size and time of writing; other bytes. Only who compares them finds out.
    container_id = client.containers.create(name="forged").id
    run(client, container_id, PREPARE + "_ = P('a').write_text('first')")
    code = (
        "times = os.stat(P('a'))\nos.rename(P('a'), P('b'))\n_ = P('b').write_text('other')\n"
        "os.utime(P('b'), ns=(times.st_atime_ns, times.st_mtime_ns))"
    )
    made, gone = run(client, container_id, code)["files"]
    again = run(
        client,
        container_id,
        "times = os.stat(P('b'))\n_ = P('b').write_text('third')\n"
        "os.utime(P('b'), ns=(times.st_atime_ns, times.st_mtime_ns))",
    )["files"]

    assert (made["status"], gone["status"]) == ("created", "deleted")
    assert [(file["status"], file["id"]) for file in again] == [("changed", made["id"])]
    assert content(client, container_id, made["id"]) == b"third"


def test_a_name_that_cannot_be_shown_is_told_once_and_escaped(client: OpenAI, live_server: str):
    container_id = client.containers.create(name="odd").id
    if _is_memory(client, container_id):
        pytest.skip("without boxes there is nobody who looks at names")
    code = (
        "import os\nfor name in (b'bad\\xff.csv', b'esc\\x1b.csv', b'bidi\\xe2\\x80\\xae.csv'):\n"
        "    os.close(os.open(b'/mnt/data/' + name, os.O_CREAT | os.O_WRONLY))\n"
    )
    first = run(client, container_id, code)
    second = run(client, container_id, "os.rename(b'/mnt/data/bad\\xff.csv', '/mnt/data/good.csv')")

    assert first["files"] == []
    (told,) = first["outputs"]
    assert told["logs"] == (
        "Cannot be downloaded because of their names: /mnt/data/bad\\xff.csv, "
        "/mnt/data/bidi\\u202e.csv, /mnt/data/esc\\x1b.csv. Names must be UTF-8 without control "
        "characters; rename them.\n"
    )
    assert second["outputs"] == []
    assert [file["path"] for file in second["files"]] == ["/mnt/data/good.csv"]


def _is_memory(client: OpenAI, container_id: str) -> bool:
    code = "import os\nos.path.isdir('/mnt/data/../../proc/self')"
    return run(client, container_id, code)["outputs"] == [{"type": "result", "text": "False"}]


# ---- what files are called ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN_NAMES)
def test_name_is_kept_from_upload_to_download(client: OpenAI, own_container: str, name: str):
    data = f"bytes of {name}".encode()
    uploaded = client.files.create(file=(name, data), purpose="user_data")
    copy = client.containers.files.create(own_container, file_id=uploaded.id)
    code = f"with open('/mnt/data/' + {name!r}, 'rb') as f: print(ascii(f.read()))"
    read = run(client, own_container, code)["outputs"]
    raw = client.containers.files.content.with_raw_response.retrieve(
        copy.id, container_id=own_container
    )
    disposition = raw.headers["content-disposition"]
    plain, extended = re.fullmatch(
        r'attachment; filename="([ -!#-\[\]-~]*)"; filename\*=UTF-8\'\'([\w.~%-]+)', disposition
    ).groups()  # type: ignore[union-attr]

    assert (uploaded.filename, copy.path) == (name, f"/mnt/data/{name}")
    assert read == [{"type": "logs", "stream": "stdout", "logs": f"{data!r}\n"}]
    assert raw.content == data
    assert unquote(extended) == name
    assert len(plain) == len(name)
    assert client.files.content(uploaded.id).read() == data


@pytest.mark.parametrize(("name", "mended"), MENDED_NAMES)
def test_name_that_is_no_name_is_mended(client: OpenAI, name: str, mended: str):
    assert client.files.create(file=(name, b"x"), purpose="user_data").filename == mended


def test_files_of_one_name_are_told_apart_by_a_number(client: OpenAI):
    stored = [client.files.create(file=("sales.csv", b"x"), purpose="user_data") for _ in "ab"]
    container = client.containers.create(name="twins", file_ids=[file.id for file in stored])
    third = client.containers.files.create(container.id, file=("sales.csv", b"y"))

    listed = run(client, container.id, "import os\nsorted(os.listdir('/mnt/data'))")
    assert listed["outputs"][0]["text"] == "['sales.csv', 'sales_1.csv', 'sales_2.csv']"
    assert third.path == "/mnt/data/sales_2.csv"


def test_upload_does_not_take_the_place_of_a_file_that_runs_code_is_writing(client: OpenAI):
    container_id = client.containers.create(name="writing").id
    stream: Any = client.post(
        f"/containers/{container_id}/executions",
        body={
            "code": "import asyncio, pathlib\npathlib.Path('/mnt/data/a.csv').write_text('mine')\n"
            "print('in', flush=True)\n"
            "while not pathlib.Path('/mnt/data/a_1.csv').exists(): await asyncio.sleep(0.01)",
            "stream": True,
        },
        cast_to=object,
        stream=True,
        stream_cls=openai.Stream[object],
    )
    events = iter(stream)
    while next(events)["type"] != "container.execution.output":
        pass
    uploaded = client.containers.files.create(container_id, file=("a.csv", b"yours"))
    ended = list(events)[-1]["execution"]

    assert uploaded.path == "/mnt/data/a_1.csv"
    assert [file["path"] for file in ended["files"]] == ["/mnt/data/a.csv"]
    assert content(client, container_id, ended["files"][0]["id"]) == b"mine"


# ---- ids ---------------------------------------------------------------------------------------


def test_id_of_a_file_leads_to_it_and_is_nobodys_second_file(client: OpenAI):
    stored = client.files.create(file=("up load.csv", b"a,b\n1,2\n"), purpose="user_data")
    container_id = client.containers.create(name="ids", file_ids=[stored.id]).id
    direct = client.containers.files.create(container_id, file=("note.txt", b"direct"))
    before = run(client, container_id, "import os\nsorted(os.listdir('/mnt/data'))")
    code = (
        f"{CAT}import subprocess\n"
        f"path = '/mnt/data/{stored.id}'\n"
        "print(os.path.exists(path), cat(path).split(), os.path.exists(path + '.csv'))\n"
        "print(subprocess.run(['cat', path + '.csv'], capture_output=True).stdout)\n"
        f"print(cat('/mnt/data/{direct.id}'))"
    )
    read = run(client, container_id, code)
    later = run(client, container_id, "with open(path, 'a') as f: f.write('3,4\\n')")
    run(client, container_id, "os.rename('/mnt/data/up load.csv', '/mnt/data/b.csv')")
    moved = run(client, container_id, f"print(cat('/mnt/data/{stored.id}').split())")

    assert before["outputs"][0]["text"] == "['note.txt', 'up load.csv']"
    assert read["outputs"][0]["logs"] == ("True ['a,b', '1,2'] True\nb'a,b\\n1,2\\n'\ndirect\n")
    assert read["files"] == []
    assert [(f["path"], f["status"]) for f in later["files"]] == [
        ("/mnt/data/up load.csv", "changed")
    ]
    assert moved["outputs"][0]["logs"] == "['a,b', '1,2', '3,4']\n"
    paths = sorted(file.path for file in client.containers.files.list(container_id))
    assert paths == ["/mnt/data/b.csv", "/mnt/data/note.txt"]


def test_code_that_puts_something_else_in_the_place_of_an_id_changes_nothing_but_its_own(
    client: OpenAI,
):
    stored = client.files.create(file=("data.csv", b"true"), purpose="user_data")
    container_id = client.containers.create(name="hostile", file_ids=[stored.id]).id
    path = f"/mnt/data/{stored.id}"
    run(client, container_id, f"{CAT}import os\nassert cat('{path}') == 'true'")
    made = run(
        client, container_id, f"os.unlink('{path}')\nwith open('{path}', 'w') as f: f.write('lie')"
    )
    kept = run(client, container_id, f"print(cat('{path}'))")
    run(client, container_id, f"os.unlink('{path}')\nos.symlink('/etc/passwd', '{path}')")
    again = run(client, container_id, f"print(cat('{path}'))")

    assert [(f["path"], f["status"]) for f in made["files"]] == [(path, "created")]
    assert kept["outputs"][0]["logs"] == "lie\n"
    assert again["outputs"][0]["logs"] == "true\n"
    assert client.files.content(stored.id).read() == b"true"
    assert [file.path for file in client.containers.files.list(container_id)] == [
        "/mnt/data/data.csv"
    ]


def test_id_leads_to_the_file_after_the_kernel_died(client: OpenAI):
    stored = client.files.create(file=("data.csv", b"true"), purpose="user_data")
    container_id = client.containers.create(name="dies", file_ids=[stored.id]).id
    read = f"{CAT}print(cat('/mnt/data/{stored.id}.csv'))"
    run(client, container_id, read)
    die = "die()" if _is_memory(client, container_id) else "import os\nos._exit(1)"
    path = f"/containers/{container_id}/executions"
    died: Any = client.post(path, body={"code": die}, cast_to=object)

    assert died["status"] == "died"
    assert run(client, container_id, read)["outputs"][-1]["logs"] == "true\n"


# ---- in responses ------------------------------------------------------------------------------


def test_files_are_cited_by_any_spelling_of_their_names_and_after_they_were_renamed(
    client: OpenAI, play: Play
):
    stored = client.files.create(file=("given é.csv", b"1"), purpose="user_data")
    tool: Any = {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [stored.id]}}
    make = "from pathlib import Path\n_ = Path('/mnt/data/my first 😀.csv').write_text('a')"
    last = 'the "last" 100%.csv'
    rename = f"import os\nos.rename('/mnt/data/my first 😀.csv', '/mnt/data/{last}')"
    links = [
        f"sandbox:/mnt/data/{quote(last)}",
        f"sandbox:/mnt/data/{last}",
        "sandbox:/mnt/data/given%20e\u0301.csv",
        f"sandbox:/mnt/data/{stored.id}.csv",
    ]
    text = "😀 " + " and ".join(f"[x](<{link}>)" for link in links)
    model = play(Turn(code=make), Turn(code=rename), Turn(text=text))

    response = client.responses.create(model="m", input="Go", tools=[tool])

    first = model.requests[0]["messages"]
    told = [message["content"] for message in model.requests[2]["messages"]]
    assert first[0]["content"].endswith("\n[files in /mnt/data: given é.csv]")
    assert told[-2:] == [
        None,
        f"[files renamed: /mnt/data/my first 😀.csv -> /mnt/data/{last}]",
    ]
    assert "[files created: /mnt/data/my first 😀.csv]" in told
    message: Any = response.output[-1]
    cited = [
        (text[a.start_index : a.end_index], a.filename) for a in message.content[0].annotations
    ]
    assert cited == list(zip(links, [last, last, "given é.csv", "given é.csv"], strict=True))
    container_id = message.content[0].annotations[0].container_id
    assert content(client, container_id, message.content[0].annotations[0].file_id) == b"a"


def test_model_is_told_what_a_client_put_into_its_own_container(client: OpenAI, play: Play):
    container_id = client.containers.create(name="own").id
    client.containers.files.create(container_id, file=("before.csv", b"1"))
    stored = client.files.create(file=("with it.csv", b"2"), purpose="user_data")
    tool: Any = {"type": "code_interpreter", "container": container_id}
    file: Any = {"type": "input_file", "file_id": stored.id}
    model = play(Turn(text="Yes."))

    client.responses.create(
        model="m",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Both there?"}, file]}],
        tools=[tool],
    )

    system, user = model.requests[0]["messages"]
    assert system["content"].endswith("\n[files in /mnt/data: before.csv]")
    assert user["content"] == "Both there?\n[files in /mnt/data: with it.csv]"
